"""Over all tasks that have bounds: normalised scores, probability of improvement, performance profiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarl_reciprocator.evaluation.figures import plot_intervals, plot_profiles
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults
from benchmarl_reciprocator.evaluation.reports.words import listed
from benchmarl_reciprocator.evaluation.sections import Cell, Figure, Measured, Paragraph, Section, Table, literal
from benchmarl_reciprocator.evaluation.statistics import (
    interquartile_mean,
    performance_profiles,
    probability_of_improvement,
)

LABEL = "normalised return"


def aggregate_sections(ordered: OrderedResults, output: Path) -> list[Section]:
    """Draw the figures into ``output``; nothing where no task has bounds."""
    if "normalised" not in ordered.final or ordered.final["normalised"].isna().all():
        return []
    scored = ordered.final[ordered.final["normalised"].notna()]
    tasks = [task for task in ordered.tasks if task in set(scored["task"])]
    matrices = {}
    for population in ordered.populations:
        rows = scored[scored["population"] == population]
        if len(rows):
            by_task = rows.pivot_table(index="seed", columns="task", values="normalised")
            matrix = by_task.reindex(columns=tasks).dropna()
            if len(matrix):
                matrices[ordered.label(population)] = matrix.to_numpy()
    if not matrices:
        return []
    intervals = {name: interquartile_mean(matrix) for name, matrix in matrices.items()}
    rows_of_table: list[list[Cell]] = [
        [literal(name), Measured(*interval, bounds=(0.0, 1.0)), str(len(tasks)), str(len(matrices[name]))]
        for name, interval in intervals.items()
    ]
    plot_intervals(intervals, ordered.styles, f"{LABEL} (IQM)", output / "normalised")
    values = np.concatenate([matrix.ravel() for matrix in matrices.values()])
    thresholds = np.linspace(min(0.0, values.min()) - 0.05, max(1.0, values.max()) + 0.05, 81)
    plot_profiles(performance_profiles(matrices, thresholds), ordered.styles, thresholds, LABEL, output / "profiles")
    improvement: list[list[Cell]] = [
        [
            literal(one),
            *(
                "" if one == other else Measured(*probability_of_improvement(matrices[one], matrix))
                for other, matrix in matrices.items()
            ),
        ]
        for one in matrices
    ]
    return [
        Section(
            "Over all tasks",
            [
                Paragraph(
                    "Returns normalised by scripted play: 0 where all defect (or are greedy), 1 where all cooperate. "
                    f"Tasks: {listed(literal(ordered.title(task)) for task in tasks)}. Only seeds that were run on all "
                    "of them count."
                ),
                Table(["population", LABEL, "tasks", "seeds"], rows_of_table, name="normalised"),
                Figure("normalised.png", "Normalised returns"),
                Figure("profiles.png", "Performance profiles: the share of runs above each normalised return"),
                Paragraph("Probability that a run of the row's population scores higher than one of the column's:"),
                Table(["population", *(f"over {literal(name)}" for name in matrices)], improvement, name="improvement"),
            ],
        )
    ]
