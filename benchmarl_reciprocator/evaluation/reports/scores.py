"""The tables of final scores of every task, and of what else it measures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.reports.ordered import MARK, OF_TRAINING, SEAT, STANDS, OrderedResults, measured
from benchmarl_reciprocator.evaluation.reports.words import counted, plain
from benchmarl_reciprocator.evaluation.sections import Block, Cell, Measured, Paragraph, Section, Table
from benchmarl_reciprocator.evaluation.statistics import FEW_SEEDS, median_with_never, within_noise_of_the_best

# Of every social dilemma, see `tasks/social_outcome.py`.
OUTCOMES = ("equality", "sustainability", "peace")
# More further measures than these are for the eyes of a program.
FEW_MEASURES = 8
OF_A_SEAT = "agent_{}_{}"


def score_sections(ordered: OrderedResults, worst: Mapping[str, Mapping[str, Measured]] | None = None) -> list[Section]:
    """How every population scored on every task at the end of training.

    Args:
        ordered (OrderedResults): of at least one run.
        worst (mapping, optional): by task and population its worst case over co-players in cross-play, see
            :func:`~benchmarl_reciprocator.evaluation.reports.beside.worst_cases_beside`.
    """
    sections = [Section("Final scores", [Paragraph(_note(ordered))])]
    for task in ordered.tasks:
        blocks: list[Block] = [_scores(ordered, task, (worst or {}).get(task, {}))]
        bounds = ", ".join(f"{play} {value:.2f}" for play, value in ordered.bounds(task).items())
        if bounds:
            blocks.append(Paragraph(f"Returns of scripted play: {bounds}."))
        roles = _roles(ordered, task)
        if roles.rows:
            blocks += [Paragraph("Populations of several algorithms, by role:"), roles]
        sections.append(Section(ordered.title(task), [*blocks, *_further(ordered, task)], level=3))
    return sections


def _note(ordered: OrderedResults) -> str:
    texts = [
        "Interquartile mean over seeds with its 95% stratified bootstrap interval (rliable), of the last fifth of "
        "training, by evaluation episodes with the actions that the experiment's config says. *return*: of an episode, "
        "mean over agents (utilitarian). *worst-off agent*: the lowest of its agents' returns. *area under the curve*: "
        "of the return over training, its mean. *until cooperation stands*: the time from which on the task's measure "
        f"of cooperation is never again below {STANDS:.0%} of its range, median over seeds; one in which it never "
        "stands counts as later than all others (in brackets: in how many it stands). *worst case*: the lowest score "
        "per step with any co-player, by the cross-play beside the runs."
    ]
    if ordered.seeds > 1:
        rivals = " among self-interested populations" if ordered.references else ""
        texts.append(
            f"**Bold** (★): the highest return{rivals}, and all that are within noise of it (the 95% interval "
            "of the difference, bootstrapped and at least as wide as Yuen's, holds 0)."
        )
    if ordered.references:
        texts.append(f"{MARK.strip()}: optimises the group's mean reward, a cooperative reference.")
    if ordered.seeds < FEW_SEEDS:
        texts.append(f"**Fewer than {FEW_SEEDS} seeds: no conclusion should be drawn.**")
    return " ".join(texts)


def _scores(ordered: OrderedResults, task: str, worst: Mapping[str, Measured]) -> Table:
    measure = ordered.measures.get(task)
    rows = []
    populations = ordered.populations_on(task)
    for population in populations:
        ends = ordered.ends_of(task, population)
        row: dict[str, Cell] = {"population": ordered.named(population), "return": measured(ends["score"])}
        if measure is not None:
            row[measure.label] = measured(ends[measure.metric], (measure.low, measure.high))
        row["worst-off agent"] = measured(ends["worst_off"])
        row |= {name: measured(ends[name]) for name in OUTCOMES if name in ends}
        row["area under the curve"] = measured(ends["area_under_curve"])
        if measure is not None:
            row["frames until cooperation stands"] = _until(ends["stands_frames"])
            # Where it stood and nobody looked at the clock, nothing is known.
            timed = ends["stands_seconds"].notna().equals(ends["stands_frames"].notna())
            row["seconds until it stands"] = _until(ends["stands_seconds"]) if timed else ""
        row["worst case over co-players, per step"] = worst.get(population, "")
        rows.append({**row, "seeds": str(len(ends))})
    scores = ordered.scores(task, "score")
    best = within_noise_of_the_best({name: scores[name] for name in ordered.selfish(populations)})
    return _table(rows, f"scores_{ordered.files[task]}", [populations.index(name) for name in best])


def _until(times: pd.Series) -> str:
    """The median over seeds, and how many got there."""
    median = median_with_never(times)
    return f"{f'{median:,.0f}' if math.isfinite(median) else 'never'} ({times.notna().sum()} of {len(times)})"


def _table(rows: list[dict[str, Cell]], name: str, best: list[int] | None = None) -> Table:
    """A table of the columns that say something."""
    columns = [column for column in dict.fromkeys(key for row in rows for key in row)]
    cells = {column: [row.get(column, "") for row in rows] for column in columns}
    said = [column for column in columns if any(str(cell) not in ("", "-") for cell in cells[column])]
    return Table(said, [[row.get(column, "") for column in said] for row in rows], sorted(best or []), name)


def _roles(ordered: OrderedResults, task: str) -> Table:
    """Of populations of several algorithms, what the agents of each came to."""
    measure = ordered.measures.get(task)
    rows = []
    for population in ordered.populations_on(task):
        agents = ordered.runs_of(task, population)["agents"].iloc[0]
        ends = ordered.ends_of(task, population)
        for role in dict.fromkeys(agents) if len(set(agents)) > 1 else ():
            seats = [seat for seat, agent in enumerate(agents) if agent == role]
            row: dict[str, Cell] = {"population": ordered.named(population), "role": plain(role)}
            row |= {"agents": str(len(seats)), "return": measured(_mean_of_seats(ends, seats, "return"))}
            if measure is not None:
                by_seat = _mean_of_seats(ends, seats, measure.metric)
                row[measure.label] = measured(by_seat, (measure.low, measure.high))
            rows.append(row)
    return _table(rows, f"roles_{ordered.files[task]}")


def _mean_of_seats(ends: pd.DataFrame, seats: list[int], metric: str) -> pd.Series:
    columns = [column for seat in seats if (column := OF_A_SEAT.format(seat, metric)) in ends]
    return ends[columns].mean(axis=1) if len(columns) == len(seats) else pd.Series(np.nan, ends.index)


def _further(ordered: OrderedResults, task: str) -> list[Block]:
    """What else the task measures."""
    ends = ordered.ends_of(task).dropna(axis=1, how="all")
    further = further_measures(ends, ordered.measures[task].metric if task in ordered.measures else None)
    if not further:
        return []
    files = "in `final.csv` (end of training) and `evaluations.csv.gz`"
    if len(further) > FEW_MEASURES:
        return [Paragraph(f"{counted(len(further), 'further measure')} of the task are {files}.")]
    rows: list[dict[str, Cell]] = [
        {
            "population": ordered.named(population),
            **{plain(name): measured(of[population]) for name, of in further.items()},
        }
        for population in ordered.populations_on(task)
    ]
    return [
        Paragraph(f"Further measures, means over agents; of each agent they are {files}:"),
        _table(rows, f"further_{ordered.files[task]}"),
    ]


def further_measures(ends: pd.DataFrame, cooperation: str | None) -> dict[str, dict[str, pd.Series]]:
    """What a task measures besides its returns, its measure of cooperation and the social outcome.

    Args:
        ends (DataFrame): of :attr:`OrderedResults.final`, of one task.
        cooperation (str, optional): the metric that is its measure of cooperation.

    Returns:
        dict: by measure and population, a value for each run; of what is known by agent alone, the mean of agents.
    """
    returns = {"score", "return", "utilitarian", "worst_off", "normalised"}
    shown = {"seed", "frames", *returns, *OUTCOMES, *OF_TRAINING, cooperation}
    values: dict[str, pd.Series] = {}
    by_seat: dict[str, list[str]] = {}
    for column in ends.select_dtypes("number"):
        match = SEAT.fullmatch(column)
        if match is not None:
            by_seat.setdefault(match[2], []).append(column)
        elif column not in shown and not _repeats(ends, column):
            values[column] = ends[column]
    for metric, columns in by_seat.items():
        if metric not in shown and metric not in values:
            values[metric] = ends[columns].mean(axis=1)
    groups = ends.groupby("population").groups
    return {metric: {name: of.loc[rows] for name, rows in groups.items()} for metric, of in values.items()}


def _repeats(ends: pd.DataFrame, column: str) -> bool:
    """Whether it says what another column does: the return of all agents, or what scripted play comes to."""
    scripted = column.startswith("all_") and ends[column].nunique() == 1
    known = ends[column].notna()
    return scripted or bool(np.allclose(ends.loc[known, column], ends.loc[known, "return"]))
