"""Cross-play: every population against every other, against itself and against scripted players.

A population is all checkpoints of one label over seeds, each the newest of its run. Every pairing is on disk as soon as
it is played, and is not played again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.checkpoints import choose_game, find_checkpoints
from benchmarl_reciprocator.evaluation.crossplay_sections import SCORES, crossplay_sections, worst_cases
from benchmarl_reciprocator.evaluation.layout import WORST_CASES
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.meta_game import analyse
from benchmarl_reciprocator.evaluation.pairings import (
    AGENTS,
    ALL,
    SAME_SEED,
    Contestant,
    as_table,
    contestants_of,
    one_order,
    pair_up,
    play_missing,
    scripted_contestants,
)
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import write_json
from benchmarl_reciprocator.evaluation.reports.measured import skipped_section
from benchmarl_reciprocator.evaluation.sections import write_sections
from benchmarl_reciprocator.evaluation.statistics import nested_mean_interval
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Whom published tables play against
USUAL = ("all_c", "cooperate", "all_d", "greedy", "defect", "random", "tit_for_tat", "random_memory_one")
SIDES = ("row", "column")


class CrossPlay(NamedTuple):
    """Cross-play that was played.

    Args:
        folder (Path): where everything is.
        text (str): the report in markdown.
        task (SocialDilemmaClass): the game.
        table (DataFrame): of pairings, see :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
        contestants (list of Contestant): in their order.
        skipped (tuple of str): the pairings that could not be played, with the reasons.
    """

    folder: Path
    text: str
    task: SocialDilemmaClass
    table: pd.DataFrame
    contestants: list[Contestant]
    skipped: tuple[str, ...] = ()


def crossplay(
    places: Sequence[Path],
    overrides: Sequence[str] = (),
    against: Sequence[str] | None = None,
    episodes: int = 200,
    output: Path | None = None,
    agents: str = ALL,
    device: str = "cpu",
) -> CrossPlay:
    """Play what is missing, and write tables, figures and the analysis of the meta-game.

    Args:
        places (sequence of Path): checkpoints and folders, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.find_checkpoints`.
        overrides (sequence of str): of the task, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.choose_game`.
        against (sequence of str, optional): scripted players; default: those of :data:`USUAL` that the task has.
        episodes (int): of each pairing.
        output (Path, optional): where everything goes; default: ``crossplay/<task>``.
        agents (str): which agents of every checkpoint are measured, ``"all"`` or ``"first"``, see
            :func:`~benchmarl_reciprocator.evaluation.pairings.pair_up`.
        device (str): where agents play.

    Returns:
        CrossPlay: what came out.

    Raises:
        ValueError: on bad input, or if nothing could be played.
    """
    check_option("agents", agents, agents in AGENTS, one_of(AGENTS))
    task, checkpoints = choose_game(find_checkpoints(places), overrides)
    if against is None:
        against = [name for name in USUAL if name in task.players()]
    contestants = [*contestants_of(checkpoints, taken=against), *scripted_contestants(against, task)]
    folder = output or Path("crossplay") / task.name.lower()
    with locked(folder):
        env = task.options.make_env(1, "cpu", seed=0)
        records, skipped = play_missing(pair_up(contestants, env, agents), task, episodes, folder, device)
        if not records:
            raise ValueError(f"no pairing could be played: {skipped[0]}")
        table = as_table(records)
        if one_order(env, agents):
            table = from_both_sides(table)
        table.to_csv(folder / "pairings.csv", index=False, float_format="%.6g")
        names = [contestant.name for contestant in contestants]
        analysis = meta_game(table, names, task)
        write_json(folder / "equilibria.json", analysis)
        measures = dict.fromkeys(name for record in records for name in record["measures"])
        cells = summarise(table, [*SCORES, *measures])
        cells.to_csv(folder / "matrix.csv", index=False, float_format="%.6g")
        worst_cases(cells).to_csv(folder / WORST_CASES, float_format="%.6g")
        own = [contestant.name for contestant in contestants if contestant.own]
        sections = crossplay_sections(table, cells, names, own, task, analysis, folder)
        text = write_sections([*sections, *skipped_section(skipped)], folder, "crossplay")
        add_setting(folder / "setting.json", "benchmarl-reciprocator crossplay")
    return CrossPlay(folder, text, task, table, contestants, tuple(skipped))


def summarise(table: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """Mean and interval of every score and measure: a row for each cell, kind and quantity. The interval is over pairs
    of seeds and, within each, over the agents of both sides, see
    :func:`~benchmarl_reciprocator.evaluation.statistics.nested_mean_interval`.

    Args:
        table (DataFrame): of pairings, see :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
        quantities (sequence of str): scores and measures, by name.
    """
    rows = []
    for (row, column, kind), cell in table.groupby(["row", "column", "kind"], sort=False):
        seeds = by_seeds(cell)
        place = {"row": row, "column": column, "kind": kind, "pairs": len(seeds), "meetings": len(cell)}
        for side, quantity in product(SIDES, quantities):
            mean, low, high = nested_mean_interval(by_agents(one, f"{side}_{quantity}") for one in seeds)
            rows.append({**place, "side": side, "quantity": quantity, "mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def from_both_sides(table: pd.DataFrame) -> pd.DataFrame:
    """The same meetings, each once with either side as the row; of two that are alike (an agent with itself) the mean.

    Args:
        table (DataFrame): of pairings that were played in one order, see
            :func:`~benchmarl_reciprocator.evaluation.pairings.one_order`.
    """
    row, column = SIDES
    swapped = {name: column + name.removeprefix(row) for name in table if name.startswith(row)}
    swapped |= {name: row + name.removeprefix(column) for name in table if name.startswith(column)}
    # A population of another seed is on both sides in any case.
    both = pd.concat([table, table[table["kind"] == SAME_SEED].rename(columns=swapped)])
    keys = ["row", "column", "kind", *(f"{side}_{what}" for what in ("seed", "agent") for side in SIDES)]
    values = dict.fromkeys((name for name in table if name not in keys), float)
    merged = both.astype(values).groupby(keys, sort=False, dropna=False).mean().reset_index()
    return merged.astype({"episodes": int})


def by_seeds(cell: pd.DataFrame) -> list[pd.DataFrame]:
    """The meetings of a cell, those of each pair of seeds apart, in the order in which they were played."""
    return [one for _, one in cell.groupby(["row_seed", "column_seed"], sort=False, dropna=False)]


def _seed_means(meetings: pd.DataFrame, side: str) -> np.ndarray:
    """A side's scores per step, the mean of each pair of seeds."""
    return np.array([seeds[f"{side}_per_step"].mean() for seeds in by_seeds(meetings)])


def by_agents(meetings: pd.DataFrame, quantity: str) -> np.ndarray:
    """A quantity of the meetings of a pair of seeds, ``[A, B]`` by the agents of the row and of the column; ``nan``
    where two did not meet.
    """
    places = [pd.factorize(meetings[f"{side}_agent"], use_na_sentinel=False) for side in SIDES]
    table = np.full([len(found) for _, found in places], np.nan)
    table[tuple(index for index, _ in places)] = pd.to_numeric(meetings[quantity])
    return table


def met_each_other(names: Sequence[str], met: Collection[tuple[str, str]]) -> list[str]:
    """As many as can be kept so that each has met every other and itself in both orders: whoever lacks the most is left
    out first.

    Args:
        names (sequence of str): of contestants.
        met (collection of tuple): of row and column.
    """
    left = list(names)
    while True:
        lacks = {one: sum((one, other) not in met or (other, one) not in met for other in left) for one in left}
        worst = max(left, key=lambda one: lacks[one], default=None)
        if worst is None or lacks[worst] == 0:
            return left
        left.remove(worst)


def meta_game(table: pd.DataFrame, names: list[str], task: SocialDilemmaClass) -> dict[str, Any]:
    """The analysis of :func:`~benchmarl_reciprocator.evaluation.meta_game.analyse` over those that all met each other,
    by the means of every pair of seeds over its agents.

    Raises:
        ValueError: if nobody met even itself.
    """
    same = table[table["kind"] == SAME_SEED]
    samples = {
        cell: (_seed_means(meetings, SIDES[0]), _seed_means(meetings, SIDES[1]))
        for cell, meetings in same.groupby(["row", "column"])
    }
    complete = met_each_other(names, samples)
    if not complete:
        raise ValueError(
            "cross-play must have a contestant that played itself, but there is none; see what was skipped"
        )
    env = task.options.make_env(1, "cpu", seed=0)
    return analyse(samples, complete, env.interchangeable_seats, env.n_agents)
