"""Cross-play: every population against every other, against itself and against scripted players.

A population is all checkpoints of one label over seeds, each the newest of its run. Every pairing is on disk as soon as
it is played, and is not played again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarl_reciprocator.evaluation.checkpoints import choose_game, find_checkpoints
from benchmarl_reciprocator.evaluation.crossplay_sections import crossplay_sections
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.meta_game import analyse
from benchmarl_reciprocator.evaluation.pairings import (
    SAME_SEED,
    as_table,
    contestants_of,
    pair_up,
    play_missing,
    scripted_contestants,
)
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import write_json
from benchmarl_reciprocator.evaluation.sections import write_sections
from benchmarl_reciprocator.evaluation.statistics import mean_interval
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Whom published tables play against.
USUAL = ("all_c", "cooperate", "all_d", "greedy", "random", "tit_for_tat")
SIDES = ("row", "column")


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
    contestants = [*contestants_of(checkpoints, taken=against), *scripted_contestants(against, task)]
    folder = output or Path("crossplay") / task.name.lower()
    with locked(folder):
        records = play_missing(pair_up(contestants), task, episodes, folder)
        if not records:
            raise ValueError("no pairing could be played")
        table = as_table(records)
        table.to_csv(folder / "pairings.csv", index=False, float_format="%.6g")
        names = [contestant.name for contestant in contestants]
        analysis = meta_game(table, names, task)
        write_json(folder / "equilibria.json", analysis)
        cells = summarise(table)
        cells.to_csv(folder / "matrix.csv", index=False, float_format="%.6g")
        own = [contestant.name for contestant in contestants if contestant.own]
        text = write_sections(crossplay_sections(table, cells, names, own, task, analysis, folder), folder, "crossplay")
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
    """The analysis of :func:`~benchmarl_reciprocator.evaluation.meta_game.analyse` over those that all met each other.

    Raises:
        ValueError: if nobody met even itself.
    """
    same = table[table["kind"] == SAME_SEED]
    samples = {
        cell: tuple(pairs[f"{side}_per_step"].to_numpy(float) for side in SIDES)
        for cell, pairs in same.groupby(["row", "column"])
    }
    complete = met_each_other(names, samples)
    if not complete:
        raise ValueError(
            "cross-play must have a contestant that played itself, but there is none; see what was skipped"
        )
    env = task.options.make_env(1, "cpu", seed=0)
    return analyse(samples, complete, env.interchangeable_seats, env.n_agents)
