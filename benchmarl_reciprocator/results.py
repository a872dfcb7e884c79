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
    evaluations: pd.DataFrame, population: str, sides: dict[str, tuple[str, str]], file: Path
) -> None:
    """A panel for each population: the probability of cooperation of both sides over training.

    Args:
        evaluations (DataFrame): of all runs, with a ``seed`` column.
        population (str): the column that names the population.
        sides (dict): names of the two sides by population.
        file (Path): where the figure goes.
    """
    names = [name for name in sides if name in set(evaluations[population])]
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.7), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names):
        runs = evaluations[evaluations[population] == name]
        for side, (label, colour) in enumerate(zip(sides[name], COLOURS)):
            metric = f"agent_{side}_p_cooperate"
            for _, run in runs.groupby("seed"):
                axis.plot(run["frames"] / 1e3, run[metric], color=colour, alpha=0.3, linewidth=0.8)
            mean = runs.groupby("frames")[metric].mean()
            axis.plot(
                mean.index / 1e3, mean, color=colour, linewidth=2, linestyle="-" if side == 0 else "--", label=label
            )
        axis.set_title(name, fontsize=9)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("thousand frames", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=7, frameon=False, loc="best")
    axes[0, 0].set_ylabel("P(cooperate)", fontsize=9)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160)
    plt.close(figure)
