"""Cross-play: every population against every other, against itself and against scripted players.

    benchmarl-reciprocator crossplay <checkpoints or folders> [task=social_dilemmas/<name>] [task.x=y ...]

A population is all checkpoints of one label over seeds, each the newest of its run. Every pairing is on disk as soon as
it is played; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarl_reciprocator.commands.arguments import split_inputs
from benchmarl_reciprocator.evaluation.checkpoints import choose_game, find_checkpoints
from benchmarl_reciprocator.evaluation.figures import heat_map, shares_over_time
from benchmarl_reciprocator.evaluation.meta_game import analyse
from benchmarl_reciprocator.evaluation.pairings import (
    OTHER_SEED,
    SAME_SEED,
    as_table,
    contestants_of,
    pair_up,
    play_missing,
    scripted_contestants,
)
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import write_json
from benchmarl_reciprocator.evaluation.statistics import mean_interval, show
from benchmarl_reciprocator.evaluation.tables import markdown
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Whom published tables play against.
USUAL = ("all_c", "cooperate", "all_d", "greedy", "random", "tit_for_tat")
SIDES = ("row", "column")
SCORE = "per_step"


def crossplay(
    places: Sequence[Path],
    overrides: Sequence[str] = (),
    against: Sequence[str] | None = None,
    episodes: int = 200,
    output: Path | None = None,
) -> tuple[Path, str]:
    """Play what is missing, and write tables, figures and the analysis of the meta-game.

    Args:
        places (sequence of Path): checkpoints and folders, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.find_checkpoints`.
        overrides (sequence of str): of the task, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.choose_game`.
        against (sequence of str, optional): scripted players; default: those of :data:`USUAL` that the task has.
        episodes (int): of each pairing.
        output (Path, optional): where everything goes; default: ``crossplay/<task>``.

    Returns:
        tuple[Path, str]: the folder, and the report in markdown.

    Raises:
        ValueError: on bad input, or if nothing could be played.
    """
    task, checkpoints = choose_game(find_checkpoints(places), overrides)
    if against is None:
        against = [name for name in USUAL if name in task.players()]
    contestants = [*contestants_of(checkpoints), *scripted_contestants(against, task)]
    folder = output or Path("crossplay") / task.name.lower()
    records = play_missing(pair_up(contestants), task, episodes, folder)
    if not records:
        raise ValueError("no pairing could be played")
    table = as_table(records)
    table.to_csv(folder / "pairings.csv", index=False, float_format="%.6g")
    names = [contestant.name for contestant in contestants]
    analysis = meta_game(table, names, task)
    write_json(folder / "equilibria.json", analysis)
    text = report(table, names, task, analysis, folder)
    add_setting(folder / "setting.json", "benchmarl-reciprocator crossplay")
    return folder, text


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over pairs of every score and measure: a row for each cell, kind and quantity.

    Args:
        table (DataFrame): of pairings, see :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
    """
    rows = []
    quantities = [column for column in table.columns if column.startswith(("row_", "column_")) and "seed" not in column]
    for (row, column, kind), cell in table.groupby(["row", "column", "kind"], sort=False):
        for quantity in quantities:
            mean, low, high = mean_interval(cell[quantity])
            side, _, name = quantity.partition("_")
            place = {"row": row, "column": column, "kind": kind, "pairs": len(cell)}
            rows.append({**place, "side": side, "quantity": name, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def meta_game(table: pd.DataFrame, names: list[str], task: SocialDilemmaClass) -> dict[str, Any]:
    """The analysis of :func:`~benchmarl_reciprocator.evaluation.meta_game.analyse` over those that met all others."""
    same = table[table["kind"] == SAME_SEED]
    samples = {
        cell: tuple(pairs[f"{side}_{SCORE}"].to_numpy(float) for side in SIDES)
        for cell, pairs in same.groupby(["row", "column"])
    }
    complete = [name for name in names if all((name, other) in samples and (other, name) in samples for other in names)]
    env = task.options.make_env(1, "cpu", seed=0)
    return analyse(samples, complete, env.interchangeable_seats, env.n_agents)


def report(
    table: pd.DataFrame, names: list[str], task: SocialDilemmaClass, analysis: dict[str, Any], folder: Path
) -> str:
    """Write ``crossplay.md``, ``matrix.csv`` and the figures; returns the markdown."""
    cells = summarise(table)
    cells.to_csv(folder / "matrix.csv", index=False, float_format="%.6g")
    seeds = int(table.groupby(["row", "column"])["row_seed"].nunique().max())
    n_agents = analysis["n_agents"]
    who = (
        "the row in seat 0, the column in seat 1"
        if n_agents == 2
        else (f"the row in seat 0, the column in all {n_agents - 1} others: its score is their mean")
    )
    options = {key: value for key, value in task.config.items() if value is not None and key != "grouping"}
    lines = [
        f"# Cross-play: {task.name.lower()}",
        "",
        f"{', '.join(f'{key}={value}' for key, value in options.items())}. {who[0].upper()}{who[1:]}. Paired by seed, "
        f"{seeds} seeds at most, {table['episodes'].max()} episodes of sampled actions in each pairing.",
        "Mean [95% bootstrap interval over pairs]"
        + (
            "."
            if (cells["pairs"] > 1).all()
            else "; cells of one pair have no interval: they say nothing of other seeds."
        ),
        "",
        "## Scores per step, row / column",
        "",
        markdown(_matrix(cells, names, SCORE, both=True)),
        "",
        "## Score per step of the row",
        "",
        markdown(_matrix(cells, names, SCORE)),
    ]
    _draw(cells, names, SCORE, "score per step", folder / "scores.png")
    lines += ["", "![Score per step](scores.png)"]
    for measure in _measures(cells):
        label = measure.replace("_", " ")
        _draw(cells, names, measure, label, folder / f"{measure}.png")
        lines += ["", f"## {label[0].upper()}{label[1:]} of the row", "", markdown(_matrix(cells, names, measure))]
        lines += ["", f"![{label}]({measure}.png)"]
    other = cells[(cells["kind"] == OTHER_SEED) & (cells["quantity"] == SCORE)]
    if not other.empty:
        lines += ["", "## With itself, of another seed", "", markdown(_across_seeds(cells, names))]
    lines += ["", "## Equilibria of the meta-game", "", describe(analysis)]
    if analysis["replicator"] is not None:
        shares = np.array(analysis["replicator"]["from_equal_shares"])
        shares_over_time(analysis["replicator"]["times"], shares, analysis["names"], folder / "replicator.png")
        lines += ["", "![Replicator dynamics from equal shares](replicator.png)"]
    text = "\n".join(lines) + "\n"
    (folder / "crossplay.md").write_text(text)
    return text


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
        f"**{pure['row']}** with **{pure['column']}** ({pure['gain_from_leaving']:+.3f}; "
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
        taken = ", ".join(f"{name} {share:.0%}" for name, share in ends.items() if share)
        text.append(
            f"Replicator dynamics from equal shares end at {_mixture(last)}; of random starts end in one population: "
            f"{taken or 'none'}."
        )
    return " ".join(text)


def _mixture(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.2f} {name}" for name, share in shares.items() if share >= 0.005)


def _measures(cells: pd.DataFrame) -> list[str]:
    return [name for name in cells["quantity"].unique() if name not in (SCORE, "per_episode")]


def _values(cells: pd.DataFrame, quantity: str, side: str = "row", kind: str = SAME_SEED) -> dict[tuple, tuple]:
    chosen = cells[(cells["quantity"] == quantity) & (cells["side"] == side) & (cells["kind"] == kind)]
    return {(cell.row, cell.column): (cell.mean, cell.low, cell.high) for cell in chosen.itertuples()}


def _matrix(cells: pd.DataFrame, names: list[str], quantity: str, both: bool = False) -> pd.DataFrame:
    nothing = (np.nan,) * 3
    ours, theirs = (_values(cells, quantity, side) for side in SIDES)

    def text(cell: tuple[str, str]) -> str:
        if not both:
            return show(*ours.get(cell, nothing))
        return " / ".join(show(side.get(cell, nothing)[0], np.nan, np.nan) for side in (ours, theirs))

    rows = [{"": row, **{column: text((row, column)) for column in names}} for row in names]
    return pd.DataFrame(rows)


def _across_seeds(cells: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    rows = []
    quantities = [SCORE, *_measures(cells)]
    for name in names:
        columns = {}
        for quantity in quantities:
            for kind in (SAME_SEED, OTHER_SEED):
                value = _values(cells, quantity, kind=kind).get((name, name))
                columns[f"{quantity.replace('_', ' ')}, {kind}"] = show(*value) if value else "-"
        if (name, name) in _values(cells, SCORE, kind=OTHER_SEED):
            rows.append({"": name, **columns})
    return pd.DataFrame(rows)


def _draw(cells: pd.DataFrame, names: list[str], quantity: str, label: str, file: Path) -> None:
    values = _values(cells, quantity)
    matrices = np.array([[values.get((row, column), (np.nan,) * 3) for column in names] for row in names])
    heat_map(*np.moveaxis(matrices, -1, 0), names, label, file)


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, play and report."""
    parser = argparse.ArgumentParser(
        prog="benchmarl-reciprocator crossplay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", help="checkpoints, folders, and overrides of the task (task.x=y)")
    parser.add_argument("--against", nargs="*", default=None, help="scripted players (default: the usual of the task)")
    parser.add_argument("--episodes", type=int, default=200, help="of each pairing")
    parser.add_argument("--output", type=Path, default=None, help="where the results go (default: crossplay/<task>)")
    # Overrides may come between the options.
    arguments = parser.parse_intermixed_args(command_line)
    if arguments.episodes < 1:
        parser.error(f"--episodes={arguments.episodes} is not allowed, allowed: an integer >= 1")
    places, overrides = split_inputs(arguments.inputs)
    try:
        folder, text = crossplay(places, overrides, arguments.against, arguments.episodes, arguments.output)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(f"\n{text}\nEverything is in {folder}/\n")
    return 0
