"""What cross-play came to, in sections: both sides' scores, the measure of cooperation, the meta-game."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.figures import heat_map, shares_over_time
from benchmarl_reciprocator.evaluation.pairings import OTHER_SEED, SAME_SEED
from benchmarl_reciprocator.evaluation.reports.words import plain, title_of, told
from benchmarl_reciprocator.evaluation.sections import Cell, Figure, Measured, Paragraph, Section, Table, literal
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

SCORE = "per_step"
SCORES = (SCORE, "per_episode")
Values = dict[tuple[str, str], tuple[float, float, float]]


def crossplay_sections(
    table: pd.DataFrame,
    cells: pd.DataFrame,
    names: Sequence[str],
    own: Sequence[str],
    task: SocialDilemmaClass,
    analysis: dict[str, Any],
    folder: Path,
) -> list[Section]:
    """The document, whose figures are drawn into ``folder``.

    Args:
        table (DataFrame): of pairings, see :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
        cells (DataFrame): means over pairs, see :func:`~benchmarl_reciprocator.evaluation.crossplay.summarise`.
        names (sequence of str): of the contestants.
        own (sequence of str): those that are Reciprocators, which come first.
        task (SocialDilemmaClass): the game; its measure of cooperation is shown before what else is known by agent.
        analysis (dict): of the meta-game.
        folder (Path): where the figures go.
    """
    names = sorted(names, key=lambda name: name not in own)
    seeds = int(table.groupby(["row", "column"])["row_seed"].nunique().max())
    n_agents = analysis["n_agents"]
    who = "The row in seat 0, the column in seat 1"
    if n_agents == 2 and analysis["symmetric"] and table["row_agent"].notna().any():
        who = "Seats are interchangeable: each meeting counts from both sides"
    if n_agents > 2:
        who = f"The row in seat 0, the column in all {n_agents - 1} others: its score is their mean"
    alone = (
        "" if (cells["pairs"] > 1).all() else "; cells of one pair have no interval: they say nothing of other seeds"
    )
    text = (
        f"{told(task.config)}. {who}. Paired by seed, {seeds} seeds at most, {table['episodes'].max()} episodes of "
        f"sampled actions in each pairing. {_who_met(table, n_agents)}{alone}."
    )
    _draw(cells, names, SCORE, "score per step", folder / "scores.png")
    sections = [
        Section(f"Cross-play: {title_of(task.name, n_agents)}", [Paragraph(text)], level=1),
        Section("Scores per step, row / column", [_both_sides(cells, names)]),
        Section(
            "Score per step of the row",
            [_matrix(cells, names, SCORE), Figure("scores.png", "Score per step of the row")],
        ),
        Section(
            "Worst case over co-players",
            [
                Paragraph(
                    "Score per step with the co-player with whom it is lowest, another seed of its own included:"
                ),
                _worst_cases(cells, names),
            ],
        ),
    ]
    if table["row_agent"].notna().any():
        sections.append(
            Section(
                "Agents apart: scores per step, row / column",
                [Paragraph("Lowest to highest of any agent of any seed:"), _agents_apart(table, names)],
            )
        )
    cooperation = task.cooperation
    for measure in measures_of(cells, cooperation):
        label, bounds = plain(measure), None
        if cooperation is not None and measure == cooperation.metric:
            label, bounds = cooperation.label, (cooperation.low, cooperation.high)
        title = f"{label[0].upper()}{label[1:]} of the row"
        _draw(cells, names, measure, label, folder / f"{measure}.png", bounds)
        sections.append(Section(title, [_matrix(cells, names, measure, bounds), Figure(f"{measure}.png", title)]))
    other = cells[(cells["kind"] == OTHER_SEED) & (cells["quantity"] == SCORE)]
    if not other.empty:
        sections.append(Section("With itself, of another seed", [_across_seeds(cells, names, cooperation)]))
    game = Section("Equilibria of the meta-game", [Paragraph(describe(analysis))])
    replicator = analysis["replicator"]
    if replicator is not None:
        shares = np.array(replicator["from_equal_shares"])
        shares_over_time(replicator["times"], shares, analysis["names"], folder / "replicator.png", own)
        game = Section(game.title, [*game.blocks, Figure("replicator.png", "Replicator dynamics from equal shares")])
    return [*sections, game]


def _who_met(table: pd.DataFrame, n_agents: int) -> str:
    """Which agents were measured, and over what the intervals are."""
    if table[["row_agent", "column_agent"]].isna().all(None):
        return "Of every checkpoint one agent in seat 0. Mean [95% bootstrap interval over pairs of seeds]"
    meetings = "Every agent of one side meets every agent of the other"
    if n_agents > 2:
        meetings = "Every agent of the row takes in its turn the place of the same one of the column"
    return f"{meetings}. Mean [95% interval by a bootstrap of two levels: pairs of seeds, then agents of both sides]"


def worst_cases(cells: pd.DataFrame) -> pd.DataFrame:
    """Of every row its cell with the lowest mean score per step, over all co-players and kinds.

    Args:
        cells (DataFrame): see :func:`~benchmarl_reciprocator.evaluation.crossplay.summarise`.

    Returns:
        DataFrame: a row for each, by the contestants' names in ``row``.
    """
    scores = cells[(cells["quantity"] == SCORE) & (cells["side"] == "row")].dropna(subset="mean")
    return scores.loc[scores.groupby("row", sort=False)["mean"].idxmin()].set_index("row")


def measures_of(cells: pd.DataFrame, cooperation: CooperationMeasure | None) -> list[str]:
    """What is known of every agent besides its scores, the measure of cooperation first."""
    measures = [name for name in cells["quantity"].unique() if name not in SCORES]
    first = cooperation.metric if cooperation is not None else None
    return sorted(measures, key=lambda name: name != first)


def describe(analysis: dict[str, Any]) -> str:
    """The analysis in a short paragraph."""
    names = analysis["names"]
    if len(names) < 2:
        return "There are fewer than two populations that met all others."
    text = [f"Every player picks one of {len(names)} populations; its payoff is the mean score per step."]
    if analysis["symmetric"] and analysis["n_agents"] == 2:
        text.append(
            "Both orders of a pairing are pooled, and a population's score with itself is among agents that trained "
            "together (that of a mixture's member: with itself in the other seat)."
        )
    if analysis["n_agents"] > 2:
        text.append("With more than two agents: only whether a population is a best response to all others being it.")
    text.append(
        f"Pure Nash equilibria, up to gains of {analysis['tolerance']:.0%} of the range of scores (best gain from "
        "leaving; share of bootstrap resamples in which it is one):"
    )
    found = [
        f"**{literal(pure['row'])}** with **{literal(pure['column'])}** ({pure['gain_from_leaving']:+.3f}; "
        f"{pure['share_of_resamples']:.0%})"
        for pure in analysis["pure"]
    ]
    text.append(f"{', '.join(found) or 'none'}.")
    if analysis["mixed"] is not None:
        mixed = [
            pair for pair in analysis["mixed"] if max(pair["row"].values()) < 1 or max(pair["column"].values()) < 1
        ]
        text.append(f"Mixed equilibria by {analysis['method']}: {len(mixed)}.")
        text += [f"({_mixture(pair['row'])}; {_mixture(pair['column'])})." for pair in mixed[:5]]
        if len(mixed) > 5:
            text.append("The others are in `equilibria.json`.")
    if analysis["replicator"] is not None:
        ends = analysis["replicator"]["share_of_starts_that_end_in_it"]
        last = dict(zip(names, analysis["replicator"]["from_equal_shares"][-1]))
        taken = ", ".join(f"{literal(name)} {share:.0%}" for name, share in ends.items() if share)
        text.append(
            f"Replicator dynamics from equal shares end at {_mixture(last)}; of random starts end in one population: "
            f"{taken or 'none'}."
        )
    return " ".join([*text, *_rankings(analysis)])


def _rankings(analysis: dict[str, Any]) -> list[str]:
    """Alpha-rank and Nash averaging in words; nothing for an analysis without, such as an earlier one."""
    names, text = analysis["names"], []
    if analysis.get("alpha_rank") is not None:
        mass = {
            f"{literal(row)} with {literal(column)}": share
            for row, shares in zip(names, analysis["alpha_rank"])
            for column, share in zip(names, shares)
        }
        most = sorted(mass.items(), key=lambda item: -item[1])[:5]
        found = ", ".join(f"{share:.0%} {pair}" for pair, share in most if share >= 0.005)
        text.append(f"Alpha-rank, where play goes by better replies of one player at a time: {found}.")
    if analysis.get("nash_average") is not None:
        shares = _mixture(analysis["nash_average"]["shares"])
        text.append(f"Nash averaging of who gains more than whom, which is no measure of cooperation: {shares}.")
    if analysis.get("rankings_missing") is not None:
        left_out = "Nash averaging is" if analysis["alpha_rank"] is not None else "Alpha-rank and Nash averaging are"
        text.append(f"{left_out} left out: {analysis['rankings_missing']}.")
    return text


def _mixture(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.2f} {literal(name)}" for name, share in shares.items() if share >= 0.005)


def _values(cells: pd.DataFrame, quantity: str, side: str = "row", kind: str = SAME_SEED) -> Values:
    chosen = cells[(cells["quantity"] == quantity) & (cells["side"] == side) & (cells["kind"] == kind)]
    return {(cell.row, cell.column): (cell.mean, cell.low, cell.high) for cell in chosen.itertuples()}


def _matrix(
    cells: pd.DataFrame, names: Sequence[str], quantity: str, bounds: tuple[float, float] | None = None
) -> Table:
    values = _values(cells, quantity)
    nothing = (math.nan,) * 3
    rows: list[list[Cell]] = [
        [literal(row), *(Measured(*values.get((row, column), nothing), bounds=bounds) for column in names)]
        for row in names
    ]
    return Table(["row against column", *map(literal, names)], rows)


def _both_sides(cells: pd.DataFrame, names: Sequence[str]) -> Table:
    """Means of both sides in one cell."""
    ours, theirs = (_values(cells, SCORE, side) for side in ("row", "column"))
    nothing = (math.nan,) * 3

    def text(cell: tuple[str, str]) -> str:
        return " / ".join(Measured(side.get(cell, nothing)[0]).number for side in (ours, theirs))

    return Table(
        ["row against column", *map(literal, names)],
        [[literal(row), *(text((row, column)) for column in names)] for row in names],
    )


def _worst_cases(cells: pd.DataFrame, names: Sequence[str]) -> Table:
    worst = worst_cases(cells)
    rows: list[list[Cell]] = []
    for name in (name for name in names if name in worst.index):
        cell = worst.loc[name]
        whom = cell["column"] if cell["kind"] == SAME_SEED else f"{cell['column']}, {cell['kind']}"
        rows.append([literal(name), Measured(cell["mean"], cell["low"], cell["high"]), literal(whom)])
    return Table(["row", "worst score per step", "against"], rows)


def _agents_apart(table: pd.DataFrame, names: Sequence[str]) -> Table:
    """Ends of what single agents come to, each by its mean over those whom it meets of a co-player."""
    rows: list[list[Cell]] = []
    same = table[table["kind"] == SAME_SEED]
    trained = [name for name in names if same.loc[same["row"] == name, "row_agent"].notna().any()]
    for row in trained:
        texts = []
        for column in names:
            scores = agent_means(same[(same["row"] == row) & (same["column"] == column)])
            ends = [" to ".join(map(str, map(Measured, (by.min(), by.max())))) for _, by in scores.items()]
            texts.append(" / ".join(ends) if len(scores) else "")
        rows.append([literal(row), *texts])
    return Table(["row against column", *map(literal, names)], rows)


def agent_means(meetings: pd.DataFrame, quantity: str = SCORE) -> pd.DataFrame:
    """What each of the row's agents comes to with a co-player, the mean over those whom it meets of it.

    Args:
        meetings (DataFrame): of one row and one column, see
            :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
        quantity (str): a score or a measure.

    Returns:
        DataFrame: the agents' own side and that of whom they met, ``row`` and ``column``, indexed by seed and agent.
    """
    columns = {f"{side}_{quantity}": side for side in ("row", "column")}
    by_agent = meetings.groupby(["row_seed", "row_agent"], dropna=False)
    return by_agent[list(columns)].mean().rename(columns=columns)


def _across_seeds(cells: pd.DataFrame, names: Sequence[str], cooperation: CooperationMeasure | None) -> Table:
    """What a population comes to with itself, of the same seed and of another."""
    measures = measures_of(cells, cooperation)
    labels = {SCORE: plain(SCORE), **{name: plain(name) for name in measures}}
    if cooperation is not None:
        labels[cooperation.metric] = cooperation.label
    columns = [(quantity, kind) for quantity in (SCORE, *measures) for kind in (SAME_SEED, OTHER_SEED)]
    values = {column: _values(cells, column[0], kind=column[1]) for column in columns}
    rows: list[list[Cell]] = [
        [literal(name), *(Measured(*values[column].get((name, name), (math.nan,) * 3)) for column in columns)]
        for name in names
        if (name, name) in values[SCORE, OTHER_SEED]
    ]
    return Table(["population", *(f"{labels[quantity]}, {kind}" for quantity, kind in columns)], rows)


def _draw(
    cells: pd.DataFrame,
    names: Sequence[str],
    quantity: str,
    label: str,
    file: Path,
    bounds: tuple[float, float] | None = None,
) -> None:
    values = _values(cells, quantity)
    matrices = np.array([[values.get((row, column), (np.nan,) * 3) for column in names] for row in names])
    means, lows, highs = np.moveaxis(matrices, -1, 0)
    heat_map(means, lows, highs, names, label, file, bounds)
