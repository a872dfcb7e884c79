"""A report from result files alone: tables, statistics and figures in one folder.

    benchmarl-reciprocator report <folder>

The folder is a suite's, or any that BenchMARL's own commands filled (``benchmarl.run -m ...``). The report is written
to ``<folder>/report``: ``report.md``, ``report.html`` (one file, needs no network), tables as CSV and LaTeX, figures as
PNG and PDF, and the data behind them.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import re
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import markdown as markdown_renderer
import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.figures import plot_curves, plot_intervals, plot_profiles
from benchmarl_reciprocator.evaluation.layout import runs_folder
from benchmarl_reciprocator.evaluation.records import slug
from benchmarl_reciprocator.evaluation.result_files import RUN, Results, final_rows, read_results
from benchmarl_reciprocator.evaluation.statistics import (
    FEW_SEEDS,
    interquartile_mean,
    performance_profiles,
    probability_of_improvement,
    show,
)
from benchmarl_reciprocator.evaluation.tables import markdown

# The first of these that a task measures is its measure of cooperation.
COOPERATION = {
    "p_cooperate": "P(cooperate)",
    "own_coin_share": "own-coin share",
    "cleaning_rate": "cleaning rate",
    "restraint": "restraint",
}
OUTCOMES = {"equality": "equality", "sustainability": "sustainability", "peace": "peace"}
DIAGNOSTICS = {
    "influence": "value influence (reward)",
    "balance": "influence balance (reward)",
    "intrinsic_reward_share": "intrinsic share of reward",
}
GROUP_MEAN = ("qmix", "vdn")
# What other commands of this package write into a suite's folder
BESIDE = ("crossplay", "exploitability", "tournament")
MARK = " †"
STYLE = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;line-height:1.4}"
    "table{border-collapse:collapse;font-size:.85em;margin:1em 0}th,td{border-bottom:1px solid #ccc;"
    "padding:.25em .7em;text-align:left}img{max-width:100%}code{background:#f3f3f3}"
)


def write_report(folder: Path, output: Path | None = None, failures: Sequence[str] = ()) -> str:
    """Read all results in ``folder`` and write the report on them.

    Args:
        folder (Path): of results.
        output (Path, optional): where the report goes; default: ``folder / "report"``.
        failures (sequence of str): runs that failed, a line each, to be listed.

    Returns:
        str: the table of final scores, as markdown.
    """
    output = output or folder / "report"
    output.mkdir(parents=True, exist_ok=True)
    results = read_results(folder)
    lines = ["# Benchmark report", ""]
    if results.runs.empty:
        table = "no run has finished"
        lines += [table, ""]
    else:
        _write_data(results, folder, output)
        final, labels = _final(results), _labels(results)
        table = _scores(final, results.runs, labels, output, lines)
        _aggregates(final, labels, output, lines)
        _curves(results.evaluations, labels, output, lines)
        _diagnostics(results.diagnostics, labels, output, lines)
        _beside(folder, output, lines)
        _setting(results, lines)
    for title, entries in (("Failed runs", failures), ("Files that could not be read", results.skipped)):
        if entries:
            lines += [f"## {title}", "", *(f"- {entry}" for entry in entries), ""]
    text = "\n".join(lines)
    (output / "report.md").write_text(text)
    (output / "report.html").write_text(_html(text, output))
    return table


def _write_data(results: Results, folder: Path, output: Path) -> None:
    compression = {"method": "gzip", "mtime": 0}
    for name in ("evaluations", "diagnostics"):
        table: pd.DataFrame = getattr(results, name)
        if not table.empty:
            file = output / f"{name}.csv.gz"
            table.to_csv(file, index=False, float_format="%.5g", compression=compression)
    runs = results.runs.copy()
    for column in runs:
        if runs[column].map(lambda value: isinstance(value, (list, dict))).any():
            runs[column] = runs[column].map(json.dumps)
    runs.to_csv(output / "runs.csv", index=False)
    configs = output / "configs"
    shutil.rmtree(configs, ignore_errors=True)
    for config in sorted(folder.glob("runs/*/*/seed_*/.hydra/config.yaml")):
        task, population = config.parts[-5:-3]
        file = configs / f"{task}-{population}.yaml"
        if not file.exists():
            configs.mkdir(exist_ok=True)
            shutil.copyfile(config, file)


def _labels(results: Results) -> dict[str, str]:
    """Populations as tables name them: those that optimise something else than their own reward are marked."""
    labels = {}
    for population, runs in results.runs.groupby("population", sort=False):
        agents = {agent for row in runs["agents"] for agent in row}
        labels[str(population)] = str(population).replace("_", " ") + (MARK if agents & set(GROUP_MEAN) else "")
    return labels


def _final(results: Results) -> pd.DataFrame:
    """A row for each run: all measures at the end of training, with ``score`` and ``worst_off``."""
    final = final_rows(results.evaluations, by=RUN)
    scores = final["return"]
    final["score"] = final["utilitarian"].fillna(scores) if "utilitarian" in final else scores
    seats = [column for column in final if re.fullmatch(r"agent_\d+_return", column)]
    final["worst_off"] = final[seats].min(axis=1) if seats else math.nan
    greedy = [column for column in final if re.fullmatch(r"all_(?!cooperate)\w+_return", column)]
    if "all_cooperate_return" in final and greedy:
        worst, best = final[greedy].bfill(axis=1).iloc[:, 0], final["all_cooperate_return"]
        final["normalised"] = ((final["score"] - worst) / (best - worst)).where((best - worst).abs() > 1e-9)
    return final


def _cooperation(rows: pd.DataFrame) -> str | None:
    return next((measure for measure in COOPERATION if measure in rows and rows[measure].notna().any()), None)


def _scores(
    final: pd.DataFrame, all_runs: pd.DataFrame, labels: Mapping[str, str], output: Path, lines: list[str]
) -> str:
    """The tables of final scores, one for each task; returns all of them as markdown."""
    texts = []
    for task, of_task in final.groupby("task", sort=False):
        runs = all_runs[all_runs["task"] == task]
        measure = _cooperation(of_task)
        rows = []
        for population, ends in of_task.groupby("population", sort=False):
            own = runs[runs["population"] == population]
            row = {"population": labels[population], "return": _interval(ends["score"])}
            row["by role"] = _by_role(ends, own["agents"].iloc[0])
            if ends["worst_off"].notna().any():
                row["worst-off agent"] = _interval(ends["worst_off"])
            if measure is not None:
                row[COOPERATION[measure]] = _interval(ends[measure])
            row.update({name: _interval(ends[key]) for key, name in OUTCOMES.items() if key in ends})
            row["seeds"] = len(ends)
            row["million frames"] = f"{own['frames'].mean() / 1e6:.2f}"
            if "seconds" in own:
                row["seconds"] = f"{own['seconds'].mean():.0f}"
            rows.append(row)
        table = pd.DataFrame(rows)
        # Columns that say nothing on this task
        table = table.loc[:, [not (table[column].isin(["", "-"])).all() for column in table]]
        name = f"scores_{slug(str(task))}"
        _write_table(table, output / name)
        bounds = ", ".join(f"{play} {value:.2f}" for play, value in _bounds(of_task).items())
        texts += [f"### {task}", "", markdown(table), ""]
        texts += [f"Returns of scripted play: {bounds}.", ""] if bounds else []
    few = final.groupby(["task", "population"]).size().min() < FEW_SEEDS
    note = (
        "Interquartile mean over seeds with its 95% stratified bootstrap interval (rliable), of the last fifth of "
        "training, by evaluation episodes with the actions that the experiment's config says. *return*: of an episode, "
        "mean over agents (utilitarian). *worst-off agent*: the lowest of its agents' returns."
        + (
            f" {MARK.strip()}: optimises the group's mean reward, a cooperative reference."
            if MARK in "".join(labels.values())
            else ""
        )
        + (f" **Fewer than {FEW_SEEDS} seeds: no conclusion should be drawn.**" if few else "")
    )
    lines += ["## Final scores", "", note, "", *texts]
    return "\n".join([*texts, note])


def _bounds(rows: pd.DataFrame) -> dict[str, float]:
    """Returns of scripted play on a task, by what is played."""
    return {
        re.sub(r"_return$", "", column).replace("_", " "): rows[column].mean()
        for column in rows
        if re.fullmatch(r"all_\w+_return", column) and rows[column].notna().any()
    }


def _by_role(ends: pd.DataFrame, agents: Sequence[str]) -> str:
    """Mean return of the agents of each algorithm, where there are several."""
    roles = dict.fromkeys(agents)
    if len(roles) < 2:
        return ""
    texts = []
    for role in roles:
        seats = [f"agent_{seat}_return" for seat, agent in enumerate(agents) if agent == role]
        if set(seats) <= set(ends.columns):
            texts.append(f"{role} {_interval(ends[seats].mean(axis=1))}")
    return "; ".join(texts)


def _interval(values: pd.Series) -> str:
    values = values.dropna()
    return show(*interquartile_mean(values.to_numpy()[:, None])) if len(values) else "-"


def _aggregates(final: pd.DataFrame, labels: Mapping[str, str], output: Path, lines: list[str]) -> None:
    """Over all tasks that have bounds: normalised scores, probability of improvement, performance profiles."""
    if "normalised" not in final or final["normalised"].isna().all():
        return
    scored = final[final["normalised"].notna()]
    tasks = list(dict.fromkeys(scored["task"]))
    matrices = {}
    for population, rows in scored.groupby("population", sort=False):
        matrix = rows.pivot_table(index="seed", columns="task", values="normalised").reindex(columns=tasks).dropna()
        if len(matrix):
            matrices[labels[population]] = matrix.to_numpy()
    if not matrices:
        return
    intervals = {name: interquartile_mean(matrix) for name, matrix in matrices.items()}
    table = pd.DataFrame(
        {
            "population": list(intervals),
            "normalised return": [show(*interval) for interval in intervals.values()],
            "tasks": len(tasks),
            "seeds": [len(matrix) for matrix in matrices.values()],
        }
    )
    _write_table(table, output / "normalised")
    populations = list(labels.values())
    plot_intervals(intervals, populations, "normalised return (IQM)", output / "normalised")
    values = np.concatenate([matrix.ravel() for matrix in matrices.values()])
    thresholds = np.linspace(min(0.0, values.min()) - 0.05, max(1.0, values.max()) + 0.05, 81)
    label = "normalised return"
    plot_profiles(performance_profiles(matrices, thresholds), populations, thresholds, label, output / "profiles")
    improvement = pd.DataFrame(
        [
            {
                "population": one,
                **{
                    f"over {other}": "" if one == other else show(*probability_of_improvement(matrices[one], matrix))
                    for other, matrix in matrices.items()
                },
            }
            for one in matrices
        ]
    )
    _write_table(improvement, output / "improvement")
    lines += [
        "## Over all tasks",
        "",
        f"Returns normalised by scripted play: 0 where all defect (or are greedy), 1 where all cooperate. Tasks: "
        f"{', '.join(tasks)}. Only seeds that were run on all of them count.",
        "",
        markdown(table),
        "",
        "![Normalised returns](normalised.png)",
        "",
        "![Performance profiles](profiles.png)",
        "",
        "Probability that a run of the row's population scores higher than one of the column's:",
        "",
        markdown(improvement),
        "",
    ]


def _curves(evaluations: pd.DataFrame, labels: Mapping[str, str], output: Path, lines: list[str]) -> None:
    lines += ["## Over training", ""]
    for task, rows in evaluations.groupby("task", sort=False):
        rows = rows.assign(population=rows["population"].map(labels))
        score = "utilitarian" if rows.get("utilitarian", pd.Series(dtype=float)).notna().any() else "return"
        measures = {score: "return (mean of agents)"}
        measure = _cooperation(rows)
        if measure is not None:
            measures[measure] = COOPERATION[measure]
        measures.update(
            {key: name for key, name in OUTCOMES.items() if key in rows and rows[key].nunique(dropna=True) > 1}
        )
        file = output / f"curves_{slug(str(task))}"
        plot_curves(rows, measures, list(labels.values()), "frames", file, str(task), {score: _bounds(rows)})
        lines += [f"![{task} over training]({file.name}.png)", ""]


def _diagnostics(diagnostics: pd.DataFrame, labels: Mapping[str, str], output: Path, lines: list[str]) -> None:
    """What the Reciprocators logged: the size of influence and balance over pairs, and the intrinsic share."""
    if diagnostics.empty:
        return
    lines += ["## Inside the Reciprocator", "", "Means over pairs of agents, of sizes (influence, balance).", ""]
    for task, rows in diagnostics.groupby("task", sort=False):
        shown = rows[RUN[1:]].assign(iteration=rows["iteration"], population=rows["population"].map(labels))
        for measure in DIAGNOSTICS:
            columns = [column for column in rows if re.search(rf"(^|_){measure}(_\d+_on_\d+)?$", column)]
            shown[measure] = rows[columns].abs().mean(axis=1) if columns else math.nan
        # A point for every twentieth of training is all that the eye can use.
        shown = shown[shown["iteration"] % max(1, int(shown["iteration"].max()) // 40) == 0]
        file = output / f"diagnostics_{slug(str(task))}"
        plot_curves(shown, DIAGNOSTICS, list(labels.values()), "iteration", file, str(task))
        lines += [f"![Diagnostics of {task}]({file.name}.png)", ""]


def _beside(folder: Path, output: Path, lines: list[str]) -> None:
    """Cross-play, exploitability and tournaments that lie in the suite's folder, beside its runs."""
    for name in BESIDE:
        for file in sorted(folder.glob(f"*/**/{name}.md")):
            if runs_folder(folder) in file.parents or output in file.parents:
                continue
            prefix = "_".join(file.parent.relative_to(folder).parts)
            for image in re.findall(r"\]\((\S+\.png)\)", file.read_text()):
                shutil.copyfile(file.parent / image, output / f"{prefix}_{image}")
            text = re.sub(r"\]\((\S+\.png)\)", rf"]({prefix}_\1)", file.read_text())
            lines += [re.sub(r"^#", "##", text, flags=re.MULTILINE), ""]


def _setting(results: Results, lines: list[str]) -> None:
    runs = results.runs
    lines += ["## Setting", ""]
    for column, name in (("machine", "hardware"), ("python", "Python"), ("commit", "git commit")):
        if column in runs:
            lines.append(f"- {name}: {', '.join(sorted(set(runs[column].dropna())))}")
    if "versions" in runs:
        versions = {f"{package} {v}" for row in runs["versions"].dropna() for package, v in row.items()}
        lines.append(f"- versions: {', '.join(sorted(versions))}")
    if "seconds" in runs:
        lines.append(f"- {len(runs)} runs, {runs['seconds'].sum() / 3600:.1f} hours of run time in all")
    seeds = sorted({int(seed) for seed in runs["seed"]})
    lines += [f"- seeds: {', '.join(map(str, seeds))}", ""]
    if "overrides" in runs:
        lines += ["| task | population | overrides |", "|---|---|---|"]
        for (task, population), rows in runs.groupby(["task", "population"], sort=False):
            overrides = rows["overrides"].iloc[0]
            if isinstance(overrides, list):
                lines.append(f"| {task} | {population} | `{' '.join(overrides)}` |")
        lines += ["", "The full config of every row is in `configs/`.", ""]


def _write_table(table: pd.DataFrame, file: Path) -> None:
    table.to_csv(file.with_suffix(".csv"), index=False)
    style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    file.with_suffix(".tex").write_text(style.to_latex(hrules=True).replace("†", r"\dag"))


def _html(text: str, output: Path) -> str:
    body = markdown_renderer.markdown(text, extensions=["tables"])

    def embedded(match: re.Match) -> str:
        image = output / match.group(1)
        return f'src="data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"'

    body = re.sub(r'src="([^"]+\.png)"', embedded, body)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmark report</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, write the report and print its first table."""
    parser = argparse.ArgumentParser(
        prog="benchmarl-reciprocator report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="results of a suite or of BenchMARL's own commands")
    parser.add_argument("--output", type=Path, default=None, help="where the report goes; default: <folder>/report")
    arguments = parser.parse_args(command_line)
    if not arguments.folder.is_dir():
        parser.error(f"folder={str(arguments.folder)!r} is not allowed, allowed: a folder of results")
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    sys.stdout.write(write_report(arguments.folder, arguments.output) + "\n")
    return 0
