"""Reads what experiments leave on disk (BenchMARL's evaluation JSON), and tabulates and plots it. Knows
nothing of training.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

# Okabe and Ito's colour-blind-safe palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def read_evaluations(json_file: Path) -> pd.DataFrame:
    """Evaluations of one run.

    Args:
        json_file (Path): as BenchMARL writes it: environment, task, algorithm, seed, step, metric, episodes.

    Returns:
        DataFrame: a row for each evaluation, with ``frames``, ``algorithm``, ``task``, ``seed`` and, for each
            metric, the mean over its episodes.

    Raises:
        ValueError: if the file is not such a JSON.
    """
    try:
        content = json.loads(json_file.read_text())
        rows = []
        for tasks in content.values():
            for task, algorithms in tasks.items():
                for algorithm, seeds in algorithms.items():
                    for seed, steps in seeds.items():
                        run = {"task": task, "algorithm": algorithm, "seed": int(seed.removeprefix("seed_"))}
                        rows += [
                            {**run, "frames": metrics.pop("step_count"), **_means(metrics)}
                            for step, metrics in steps.items()
                            if step.startswith("step_")
                        ]
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{json_file} is not an evaluation JSON of BenchMARL ({error!r})") from error
    return pd.DataFrame(rows).sort_values("frames", ignore_index=True)


def _means(metrics: dict[str, list[float]]) -> dict[str, float]:
    with warnings.catch_warnings():
        # A measure by previous outcome is undefined where that outcome did not occur.
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return {name: float(np.nanmean(values)) for name, values in metrics.items()}


def final_rows(evaluations: pd.DataFrame, by: list[str], share: float = 0.2) -> pd.DataFrame:
    """Mean over the last evaluations of every run.

    Args:
        evaluations (DataFrame): of one or more runs.
        by (list of str): the columns that tell runs apart.
        share (float): which share of the frames counts as the end.

    Returns:
        DataFrame: a row for each run.
    """
    last = evaluations.groupby(by, sort=False)["frames"].transform("max")
    end = evaluations[evaluations["frames"] > (1 - share) * last]
    return end.groupby(by, sort=False).mean(numeric_only=True).reset_index()


def interval(values: pd.Series, digits: int = 2) -> str:
    """``mean [lowest, highest]``: with a handful of seeds the range says more than a deviation."""
    mean, low, high = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return f"{mean} [{low}, {high}]"


def plot_learning_curves(
    evaluations: pd.DataFrame,
    population: str,
    sides: dict[str, tuple[str, ...]],
    file: Path,
    measure: str = "p_cooperate",
    label: str = "P(cooperate)",
    marks: dict[str, dict[str, float]] | None = None,
    per_row: int = 5,
) -> None:
    """A panel for each population: a measure of every agent over training, each seed thin and their mean thick.

    Args:
        evaluations (DataFrame): of all runs, with a ``seed`` column.
        population (str): the column that names the population.
        sides (dict): names of the agents by population, in the order of seats.
        file (Path): where the figure goes.
        measure (str): what is drawn: the columns ``agent_<i>_<measure>``.
        label (str): its name on the axis.
        marks (dict, optional): by population, values to be marked by a dotted line, by name.
        per_row (int): panels in a row.
    """
    names = [name for name in sides if name in set(evaluations[population])]
    columns = min(per_row, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.6 * columns, 2.7 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, name in zip(axes.flat, names):
        runs = evaluations[evaluations[population] == name]
        for side, side_label in enumerate(sides[name]):
            colour = COLOURS[side % len(COLOURS)]
            metric = f"agent_{side}_{measure}"
            for _, run in runs.groupby("seed"):
                axis.plot(run["frames"] / 1e3, run[metric], color=colour, alpha=0.3, linewidth=0.8)
            mean = runs.groupby("frames")[metric].mean()
            style = ("-", "--", "-.", ":")[side % 4]
            axis.plot(mean.index / 1e3, mean, color=colour, linewidth=2, linestyle=style, label=side_label)
        for mark, value in (marks or {}).get(name, {}).items():
            axis.axhline(value, color="#7F7F7F", linewidth=1, linestyle=":")
            axis.annotate(mark, (0.02, value), xycoords=("axes fraction", "data"), fontsize=6, va="bottom")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("thousand frames", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False, loc="best")
    for row in axes:
        row[0].set_ylabel(label, fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160)
    plt.close(figure)


def markdown(table: pd.DataFrame) -> str:
    """``table`` as markdown, columns aligned."""
    cells = [list(table.columns), *table.astype(str).values.tolist()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    rows = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]])
