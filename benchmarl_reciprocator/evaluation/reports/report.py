"""Writes the report on a folder of results: page, markdown, tables, figures and the data behind them."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from benchmarl_reciprocator.evaluation.reports.aggregates import aggregate_sections
from benchmarl_reciprocator.evaluation.reports.beside import sections_beside, worst_cases_beside
from benchmarl_reciprocator.evaluation.reports.curves import curve_sections, diagnostic_sections
from benchmarl_reciprocator.evaluation.reports.efficiency import efficiency_sections
from benchmarl_reciprocator.evaluation.reports.headline import TOO_EARLY, headline, overview
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults, in_order
from benchmarl_reciprocator.evaluation.reports.paired import paired_sections
from benchmarl_reciprocator.evaluation.reports.scores import score_sections
from benchmarl_reciprocator.evaluation.reports.setting import setting_sections
from benchmarl_reciprocator.evaluation.reports.study_sections import study_sections
from benchmarl_reciprocator.evaluation.result_files import Results, evaluated_too_early, read_results
from benchmarl_reciprocator.evaluation.sections import (
    Bullets,
    Paragraph,
    Section,
    Table,
    literal,
    render_html,
    render_markdown,
)
from benchmarl_reciprocator.evaluation.tables import write_table
from benchmarl_reciprocator.plugin.tuning import resolved

TITLE = "Benchmark report"


def write_report(folder: Path, output: Path | None = None, failures: Sequence[str] = ()) -> str:
    """Read all results in ``folder`` and write the report on them.

    Args:
        folder (Path): of results.
        output (Path, optional): where the report goes; default: ``folder / "report"``.
        failures (sequence of str): runs that failed, a line each, to be listed.

    Returns:
        str: its head and the tables of final scores, as markdown.
    """
    output = output or folder / "report"
    output.mkdir(parents=True, exist_ok=True)
    results = read_results(folder)
    sections, of_scores = [Section(TITLE, [Paragraph("no run has finished")], level=1)], []
    left_out: list[str] = []
    early: list[str] = []
    if not results.runs.empty:
        of = in_order(results)
        left_out, early = of.left_out, evaluated_too_early(of.results)
        of_scores = score_sections(of, worst_cases_beside(folder, _registered(of)))
        sections = _sections(of, of_scores, len(failures), output)
        _write_data(of, folder, output)
        studies, unread_studies = study_sections(of, folder, output)
        sections[1:1] = studies
        results.skipped += unread_studies
    further, unread = sections_beside(folder, output)
    sections[-1:-1] = further if len(sections) > 1 else []
    for title, entries in (
        ("Failed runs", failures),
        (TOO_EARLY, early),
        ("Left out: other versions of a task", left_out),
        ("Files that could not be read", [*results.skipped, *unread]),
    ):
        if entries:
            sections.append(Section(title, [Bullets([literal(entry) for entry in entries])]))
    for table in (block for section in sections for block in section.blocks if isinstance(block, Table)):
        if table.name:
            write_table(table, output / table.name)
    (output / "report.md").write_text(render_markdown(sections), encoding="utf-8")
    (output / "report.html").write_text(render_html(sections, output), encoding="utf-8")
    return render_markdown([sections[0], *of_scores])


def _sections(of: OrderedResults, of_scores: Sequence[Section], failed: int, output: Path) -> list[Section]:
    """All that is told of the runs; how they came about is last."""
    table = overview(of)
    cooperation = [Section("Cooperation", [Paragraph("At the end of training:"), table])] if table is not None else []
    return [
        Section(TITLE, headline(of, failed), level=1),
        *cooperation,
        *of_scores,
        *aggregate_sections(of, output),
        *efficiency_sections(of, output),
        *paired_sections(of),
        *curve_sections(of, output),
        *diagnostic_sections(of, output),
        *setting_sections(of),
    ]


def _registered(of: OrderedResults) -> dict[str, str]:
    """The name of every task without that of its collection, as BenchMARL knows it."""
    return {task: of.runs_of(task)["registered"].iloc[0].rpartition("/")[2] for task in of.tasks}


def _write_data(of: OrderedResults, folder: Path, output: Path) -> None:
    results: Results = of.results
    compression = {"method": "gzip", "mtime": 0}
    for name in ("evaluations", "diagnostics"):
        table: pd.DataFrame = getattr(results, name)
        if not table.empty:
            file = output / f"{name}.csv.gz"
            table.to_csv(file, index=False, float_format="%.5g", compression=compression)
    of.final.dropna(axis=1, how="all").to_csv(output / "final.csv", index=False, float_format="%.5g")
    runs = results.runs.assign(cooperation=[measure and measure.metric for measure in results.runs["cooperation"]])
    for column in runs:
        if runs[column].map(lambda value: isinstance(value, (list, dict))).any():
            runs[column] = runs[column].map(json.dumps)
    runs.to_csv(output / "runs.csv", index=False)
    write_configs(folder, output / "configs")


def write_configs(folder: Path, output: Path) -> None:
    """The composed config of every population of a suite, as a yaml of plain values each.

    Of runs that another version of a package made, options may be unknown here: these are left out with a warning.

    Args:
        folder (Path): the suite's.
        output (Path): the folder of the yamls, which is made anew.
    """
    shutil.rmtree(output, ignore_errors=True)
    for config in sorted(folder.glob("runs/*/*/seed_*/.hydra/config.yaml")):
        task, population = config.parts[-5:-3]
        file = output / f"{task}-{population}.yaml"
        if file.exists():
            continue
        try:
            text = resolved(config)
        except OmegaConfBaseException as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"{config} is left out of {output}: {reason}", RuntimeWarning, stacklevel=2)
            continue
        output.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
