"""What a tournament came to, in sections: ranks of the trained agents, and all players."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmarl_reciprocator.evaluation.reports.words import title_of, told
from benchmarl_reciprocator.evaluation.sections import Cell, Measured, Paragraph, Section, Table, literal
from benchmarl_reciprocator.evaluation.statistics import nested_mean_interval
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass


def tournament_sections(table: pd.DataFrame, task: SocialDilemmaClass, setting: dict[str, Any]) -> list[Section]:
    """The document.

    Args:
        table (DataFrame): a row for every player of every tournament, see :func:`ranking`.
        task (SocialDilemmaClass): the game.
        setting (dict): ``strategies``, ``axelrod`` (the library's version), ``turns`` and ``repetitions``.
    """
    trained = table[table["trained"]]
    size = table.groupby(["population", "seed", "agent"]).size().max()
    rows: list[list[Cell]] = []
    for name, cell in trained.groupby("population", sort=False):
        seeds = [of_seed for _, of_seed in cell.groupby("seed", sort=False)]
        intervals = {
            column: nested_mean_interval([[value] for value in of_seed[column]] for of_seed in seeds)
            for column in ("rank", "score_per_turn", "cooperation", "score_with_itself")
        }
        rank, *numbers = (Measured(*interval, digits=1 + (column != "rank")) for column, interval in intervals.items())
        ends = f"{cell['rank'].min()}, {cell['rank'].max()}"
        rows.append([literal(name), rank, ends, *numbers, str(len(seeds)), str(len(cell))])
    # A strategy's score in the mean over the tournaments: in each it met another trained agent.
    everybody = table.groupby("player")[["score_per_turn", "cooperation"]].mean().sort_values("score_per_turn")[::-1]
    names = set(trained["player"])
    length = f"{'at most ' if task.options.continuation_probability < 1 else ''}{setting['turns']}"
    text = (
        f"{told(task.config)}. Round robin of one trained agent with the {size - 1} strategies "
        f"{setting['strategies']!r} of Axelrod {setting['axelrod']}, {length} turns, "
        f"{setting['repetitions']} repetitions, the task's payoffs. Mean [95% interval by a bootstrap of two levels: "
        "seeds, then their agents]."
    )
    columns = [f"rank of {size}", "best and worst rank", "score per turn", "cooperation rate", "score with itself"]
    ranked: list[list[Cell]] = [
        [literal(name), *(Measured(value) for value in values)] for name, *values in everybody.itertuples()
    ]
    own = [index for index, name in enumerate(everybody.index) if name in names]
    return [
        Section(
            f"Tournament with the Axelrod library: {title_of(task.name)}",
            [
                Paragraph(text),
                Table(["population", *columns, "seeds", "agents"], rows),
                Paragraph("All players, mean over the tournaments; the trained ones are marked:"),
                Table(["player", "score per turn", "cooperation rate"], ranked, own),
            ],
            level=1,
        )
    ]
