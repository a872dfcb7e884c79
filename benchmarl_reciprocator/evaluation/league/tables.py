"""The league's one table for each game: what everybody came to with everybody, ours and published, each by its name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from benchmarl_reciprocator.evaluation.crossplay import SIDES, summarise
from benchmarl_reciprocator.evaluation.crossplay_sections import SCORE
from benchmarl_reciprocator.evaluation.league.published import Published
from benchmarl_reciprocator.evaluation.pairings import OTHER_SEED
from benchmarl_reciprocator.evaluation.reports.words import counted
from benchmarl_reciprocator.evaluation.sections import Cell, Measured, Table, literal

ITSELF, STRANGER = "itself", "itself, another seed"
OURS = "ours"


class Meeting(NamedTuple):
    """What one came to with another.

    Args:
        population (str): whose row it is.
        whose (str): whose numbers these are, and of how many seeds and agents.
        ours (bool): whether they are ours.
        against (str): the co-player, :data:`ITSELF`, or :data:`STRANGER`.
        own (Measured): its score per step.
        other (Measured): the co-player's.
    """

    population: str
    whose: str
    ours: bool
    against: str
    own: Measured
    other: Measured

    def __str__(self) -> str:
        return f"{self.own} / {self.other}"


def our_meetings(table: pd.DataFrame) -> list[Meeting]:
    """What every population of ours and every scripted player came to, with intervals.

    Args:
        table (DataFrame): of the pairings of one game, see
            :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
    """
    cells = summarise(table, [SCORE])
    scores = cells[cells["quantity"] == SCORE].set_index(["row", "column", "kind", "side"])[["mean", "low", "high"]]
    found = []
    for row, column, kind in dict.fromkeys(zip(cells["row"], cells["column"], cells["kind"])):
        own, other = (Measured(*scores.loc[(row, column, kind, side)]) for side in SIDES)
        against = STRANGER if kind == OTHER_SEED else ITSELF if row == column else column
        found.append(Meeting(row, f"{OURS}, {_counts(table, row)}", True, against, own, other))
    return found


def _counts(table: pd.DataFrame, row: str) -> str:
    """Of how many seeds and agents a row is."""
    agents = table.loc[table["row"] == row, ["row_seed", "row_agent"]].drop_duplicates()
    if agents["row_seed"].isna().all():
        return "a script"
    return f"{counted(agents['row_seed'].nunique(), 'seed')}, {counted(len(agents), 'agent')}"


def published_meetings(league: Published) -> list[Meeting]:
    """What everybody came to in a published league. Those who are scripted as a player of ours go by its name as
    co-players.
    """

    def name_of(other: str, row: str) -> str:
        return ITSELF if other == row else league.players.get(other, as_published(other))

    return [
        Meeting(
            row,
            f"published: {league.name}",
            False,
            name_of(other, row),
            *(Measured(score, digits=league.digits) for score in scores),
        )
        for row in league.rows
        for other, scores in league.scores(row).items()
    ]


def as_published(name: str) -> str:
    """A published method as a co-player: one of ours may be called the same."""
    return f"{name} (published)"


def league_table(meetings: Sequence[Meeting], learned: Sequence[str], scripted: Sequence[str], name: str) -> Table:
    """One table of all meetings, the scores per step ``own / co-player's`` in each cell.

    Args:
        meetings (sequence of Meeting): of one game.
        learned (sequence of str): populations of ours, in their order, which are marked.
        scripted (sequence of str): scripted players.
        name (str): of the file where reports also write it.
    """
    rows: dict[tuple[str, str], dict[str, Meeting]] = {}
    for meeting in meetings:
        rows.setdefault((meeting.population, meeting.whose), {})[meeting.against] = meeting
    met = dict.fromkeys(meeting.against for meeting in meetings)
    first = (ITSELF, STRANGER, *scripted, *learned)
    columns = [*(one for one in first if one in met), *(one for one in met if one not in first)]
    order = {one: place for place, one in enumerate((*learned, *scripted))}
    ours = {row: next(iter(cells.values())).ours for row, cells in rows.items()}
    ranked = sorted(rows, key=lambda row: (not ours[row], order.get(row[0], 0)))
    body: list[list[Cell]] = []
    for row in ranked:
        worst = min(rows[row].values(), key=lambda meeting: meeting.own.estimate)
        texts = [str(rows[row].get(column, "")) for column in columns]
        body.append([*map(literal, row), *texts, f"{worst.own.number} with {literal(worst.against)}"])
    marked = [index for index, row in enumerate(ranked) if ours[row] and row[0] in learned]
    headings = ["population", "whose numbers", *(f"with {literal(column)}" for column in columns), "worst case"]
    return Table(headings, body, marked, name)


def as_rows(task: str, meetings: Sequence[Meeting]) -> Iterator[dict[str, Any]]:
    """The meetings as rows of a file, a number in each cell."""
    for meeting in meetings:
        names = {key: getattr(meeting, key) for key in ("population", "whose", "against")}
        row: dict[str, Any] = {"task": task, **names}
        for side in ("own", "other"):
            measured: Measured = getattr(meeting, side)
            values = (measured.estimate, measured.low, measured.high)
            row |= {
                f"{side}_{end}": None if math.isnan(value) else round(value, 6)
                for end, value in zip(("per_step", "low", "high"), values)
            }
        yield row
