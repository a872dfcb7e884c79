"""What a study found: its outcomes against what is varied, with what the data exclude."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarl_reciprocator.evaluation.figures import Line, plot_against, population_styles
from benchmarl_reciprocator.evaluation.paired_tests import PairedTest, holm, paired_test
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults, measured
from benchmarl_reciprocator.evaluation.reports.study import DIAGNOSTIC, MEASURE, Study, Varied, kept_studies
from benchmarl_reciprocator.evaluation.reports.words import listed, plain
from benchmarl_reciprocator.evaluation.result_files import RUN
from benchmarl_reciprocator.evaluation.sections import (
    Block,
    Cell,
    Figure,
    Measured,
    Paragraph,
    Section,
    Table,
    literal,
    render_markdown,
)
from benchmarl_reciprocator.evaluation.statistics import Interval

# The share of an iteration's diagnostics that counts as the end of training, as of evaluations
END = 0.2
# Of significance
LEVEL = 0.05


class Difference(NamedTuple):
    """A point of a study against another of the same seeds.

    Args:
        varied (Varied): what is varied.
        point (tuple of str): task and population.
        outcome (str): what differs.
        against (tuple of str): task and population.
        test (PairedTest): seed by seed.
    """

    varied: Varied
    point: tuple[str, str]
    outcome: str
    against: tuple[str, str]
    test: PairedTest


def study_sections(ordered: OrderedResults, folder: Path, output: Path) -> tuple[list[Section], list[str]]:
    """Report the studies whose results are in ``folder``: into ``output`` go, by the name of the suite, the section as
    ``<suite>.md``, the figure, the numbers as ``<suite>.csv`` and the differences as ``<suite>_differences.csv``.

    Returns:
        tuple[list, list]: a section for each study, and what could not be read.
    """
    studies, skipped = kept_studies(folder)
    sections = [_section(ordered, study, output, name) for name, study in studies.items()]
    return sections, skipped


def outcome_values(ordered: OrderedResults, outcome: str) -> pd.Series:
    """A study's outcome of every run, by task, population and seed; ``nan`` where it is not known.

    Args:
        ordered (OrderedResults): of at least one run.
        outcome (str): one of :data:`~benchmarl_reciprocator.evaluation.reports.study.OUTCOMES`, or with one of the
            ``PREFIXES``.
    """
    final = ordered.final.set_index(RUN)
    if outcome == "cooperation":
        columns = [ordered.measures[task].metric if task in ordered.measures else None for task, *_ in final.index]
        values = [math.nan if name is None else final[name].iloc[row] for row, name in enumerate(columns)]
        return pd.Series(values, final.index, dtype=float)
    if outcome in ("seconds", "cpu_seconds"):
        runs = ordered.results.runs.set_index(RUN)
        # Of a run that was resumed, only what came after is known.
        whole = ~runs["resumed"].fillna(False).astype(bool) if "resumed" in runs else True
        return (runs[outcome].where(whole) if outcome in runs else pd.Series(dtype=float)).reindex(final.index)
    if outcome.startswith(DIAGNOSTIC):
        return _diagnostic(ordered.results.diagnostics, outcome.removeprefix(DIAGNOSTIC)).reindex(final.index)
    column = {"return": "score"}.get(outcome, outcome.removeprefix(MEASURE))
    return final[column] if column in final else pd.Series(math.nan, final.index)


def _diagnostic(diagnostics: pd.DataFrame, name: str) -> pd.Series:
    """The mean over groups and pairs of agents, and over the last iterations, of what was logged under a name."""
    columns = [one for one in diagnostics if re.search(rf"(^|_){re.escape(name)}(_\d+_on_\d+)?$", one)]
    if not columns:
        return pd.Series(dtype=float)
    last = diagnostics.groupby(RUN)["iteration"].transform("max")
    ends = diagnostics[diagnostics["iteration"] >= (1 - END) * last]
    return ends[columns].mean(axis=1).groupby([ends[name] for name in RUN]).mean()


def verdict(test: PairedTest, p: float, margin: float | None) -> str:
    """What the data exclude, in words.

    Args:
        test (PairedTest): of a difference.
        p (float): corrected for all comparisons of a study; only up to :data:`LEVEL` there is said to be a difference.
        margin (float, optional): the largest difference that counts as none; there is said to be none where the whole
            interval is smaller.
    """
    difference, low, high = test.difference
    if math.isnan(low):
        return "too few seeds"
    direction = "" if p > LEVEL else "higher" if difference > 0 else "lower"
    if margin is None or max(abs(low), abs(high)) >= margin:
        return direction or "not told apart"
    return f"{direction}, by less than {margin:g}" if direction else f"no effect: less than {margin:g}"


def _section(ordered: OrderedResults, study: Study, output: Path, name: str) -> Section:
    values = {outcome: outcome_values(ordered, outcome) for outcome in study.outcomes}
    missing = [outcome for outcome, of in values.items() if of.isna().all()]
    values = {outcome: of for outcome, of in values.items() if outcome not in missing}
    blocks: list[Block] = [Paragraph(f"**{literal(study.question)}**", lead=True)]
    if missing:
        blocks.append(Paragraph(f"Not measured: {listed(literal(_label(ordered, one)) for one in missing)}."))
    if values:
        blocks += _figure(ordered, study, values, output, name)
        blocks += [_table(ordered, one, values) for one in study.varied]
        blocks += _differences(ordered, study, values, output, name)
        _numbers(ordered, study, values).to_csv(output / f"{name}.csv", index=False, float_format="%.5g")
    section = Section(f"Study: {plain(name.removeprefix('study_'))}", blocks)
    (output / f"{name}.md").write_text(render_markdown([replace(section, level=1)]), encoding="utf-8")
    return section


def _points(ordered: OrderedResults, varied: Varied) -> list[tuple[str, str, str]]:
    """Those that were run."""
    runs = set(ordered.final[RUN[:2]].itertuples(index=False, name=None))
    return [point for point in varied.points(ordered.tasks, ordered.populations) if point[:2] in runs]


def _at(values: pd.Series, task: str, population: str) -> dict[int, float]:
    """The value of every seed of a point that has one."""
    seeds = values.xs((task, population), level=tuple(RUN[:2])).dropna()
    return {int(seed): float(value) for seed, value in seeds.items()}


def _line(ordered: OrderedResults, varied: Varied, task: str, population: str) -> str:
    """The name of the line of the figure on which a point is."""
    return ordered.label(population) if varied.of_tasks else ordered.title(task)


def _label(ordered: OrderedResults, outcome: str) -> str:
    """What tables and axes call an outcome."""
    labels = {measure.label for measure in ordered.measures.values()}
    if outcome == "cooperation" and len(labels) == 1:
        return labels.pop()
    return plain(outcome.removeprefix(MEASURE).removeprefix(DIAGNOSTIC))


def _shown(varied: Varied, value: str) -> str:
    """The value of a task or population as text."""
    of = varied.values[value]
    return of if isinstance(of, str) else f"{of:g}"


def _table(ordered: OrderedResults, varied: Varied, values: Mapping[str, pd.Series]) -> Table:
    """Outcomes by value and line."""
    rows: list[list[Cell]] = []
    for task, population, value in _points(ordered, varied):
        numbers = {outcome: pd.Series(_at(of, task, population)) for outcome, of in values.items()}
        rows.append(
            [
                literal(_shown(varied, value)),
                literal(_line(ordered, varied, task, population)),
                *(measured(seeds) for seeds in numbers.values()),
                str(max(map(len, numbers.values()))),
            ]
        )
    line = "population" if varied.of_tasks else "task"
    return Table([varied.label, line, *(_label(ordered, outcome) for outcome in values), "seeds"], rows)


def _figure(
    ordered: OrderedResults, study: Study, values: Mapping[str, pd.Series], output: Path, name: str
) -> list[Block]:
    panels = []
    for outcome, of in values.items():
        for varied in study.varied:
            lines: dict[str, Line] = {}
            for task, population, value in _points(ordered, varied):
                cell = measured(pd.Series(_at(of, task, population)))
                line = lines.setdefault(_line(ordered, varied, task, population), [])
                line.append((varied.values[value], Interval(cell.estimate, cell.low, cell.high)))
            panels.append((varied.label, varied.log, _label(ordered, outcome), lines))
    titles = population_styles([ordered.title(task) for task in ordered.tasks])
    plot_against(panels, {**titles, **ordered.styles}, len(study.varied), output / name)
    return [Figure(f"{name}.png", literal(study.question))]


def _numbers(ordered: OrderedResults, study: Study, values: Mapping[str, pd.Series]) -> pd.DataFrame:
    """A row for each point and outcome."""
    rows: list[dict[str, Any]] = []
    for varied in study.varied:
        for task, population, value in _points(ordered, varied):
            for outcome, of in values.items():
                seeds = pd.Series(_at(of, task, population))
                cell = measured(seeds)
                what = {"varied": varied.name, "value": varied.values[value], "task": task, "population": population}
                ends = {"estimate": cell.estimate, "low": cell.low, "high": cell.high}
                rows.append({**what, "outcome": outcome, "seeds": len(seeds), **ends})
    return pd.DataFrame(rows)


def _compared(ordered: OrderedResults, study: Study, values: Mapping[str, pd.Series]) -> list[Difference]:
    """Every point against the baseline population on its task, and against the baseline value on its line."""
    found: dict[Any, Difference] = {}
    for varied in study.varied:
        for task, population, _ in _points(ordered, varied):
            others = [(task, study.baseline)] if study.baseline is not None else []
            if varied.baseline is not None:
                others.append((varied.baseline, population) if varied.of_tasks else (task, varied.baseline))
            for other in others:
                if other == (task, population) or other[1] not in ordered.populations_on(other[0]):
                    continue
                for outcome, of in values.items():
                    test = paired_test(_at(of, task, population), _at(of, *other))
                    key = (task, population, outcome, other)
                    found.setdefault(key, Difference(varied, (task, population), outcome, other, test))
    return list(found.values())


def _differences(
    ordered: OrderedResults, study: Study, values: Mapping[str, pd.Series], output: Path, name: str
) -> list[Block]:
    compared = [one for one in _compared(ordered, study, values) if one.test.seeds]
    if not compared:
        return []
    corrected = holm([one.test.p for one in compared])
    rows: list[list[Cell]] = []
    numbers = []
    for one, p in zip(compared, corrected):
        (task, population), (other_task, other_population) = one.point, one.against
        against = ordered.label(other_population) if other_task == task else ordered.title(other_task)
        said = verdict(one.test, p, study.outcomes[one.outcome])
        rows.append(
            [
                literal(ordered.title(task)),
                literal(ordered.label(population)),
                literal(against),
                _label(ordered, one.outcome),
                Measured(*one.test.difference),
                "-" if math.isnan(p) else f"{p:.3f}",
                str(one.test.seeds),
                said,
            ]
        )
        numbers.append(
            {
                "varied": one.varied.name,
                "task": task,
                "population": population,
                "against_task": other_task,
                "against_population": other_population,
                "outcome": one.outcome,
                "seeds": one.test.seeds,
                "difference": one.test.difference.estimate,
                "low": one.test.difference.low,
                "high": one.test.difference.high,
                "p_holm": p,
                "verdict": said,
            }
        )
    pd.DataFrame(numbers).to_csv(output / f"{name}_differences.csv", index=False, float_format="%.5g")
    text = (
        "Differences, seed by seed: mean with Student's 95% interval, and the p-value of the paired t-test, corrected "
        f"for all {len(rows)} comparisons (Holm). The interval excludes what is outside of it: *no effect* is "
        "said only where all of it is smaller than the difference that the suite counts as none; *not told apart* is "
        "no evidence that there is none."
    )
    columns = ["task", "population", "against", "outcome", "difference", "p (Holm)", "seeds", "the data say"]
    return [Paragraph(text), Table(columns, rows)]
