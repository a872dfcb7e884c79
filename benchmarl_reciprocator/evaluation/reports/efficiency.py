"""Sample efficiency over all tasks: normalised return against frames (Agarwal et al. 2021, arXiv 2108.13264)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.figures import plot_bands
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults, normalised_scores
from benchmarl_reciprocator.evaluation.reports.words import listed
from benchmarl_reciprocator.evaluation.sections import Figure, Paragraph, Section, literal
from benchmarl_reciprocator.evaluation.statistics import interquartile_means_over_time

LABEL = "normalised return (IQM)"
# So many points are all that the eye can use.
POINTS = 41


def efficiency_sections(of: OrderedResults, output: Path) -> list[Section]:
    """The interquartile mean over tasks and seeds against frames, drawn into ``output`` and written there as csv.

    Nothing where fewer than two tasks have bounds, or no population was run on all that have.
    """
    evaluations = of.results.evaluations
    scores = normalised_scores(evaluations)
    if scores is None:
        return []
    curves = evaluations[["task", "population", "seed", "frames"]].assign(score=scores).dropna(subset="score")
    tasks = [task for task in of.tasks if task in set(curves["task"])]
    if len(tasks) < 2:
        return []
    lines = {}
    for population in of.populations:
        own = curves[curves["population"] == population]
        if set(own["task"]) == set(tasks):
            times, runs = common_curves(own, tasks)
            if len(runs):
                lines[of.label(population)] = (times, interquartile_means_over_time(runs))
    if not lines:
        return []
    plot_bands(lines, of.styles, LABEL, output / "sample_efficiency")
    rows = [
        {"population": name, "frames": round(time), "normalised": mean, "low": low, "high": high}
        for name, (times, means) in lines.items()
        for time, (mean, low, high) in zip(times, means)
    ]
    pd.DataFrame(rows).to_csv(output / "sample_efficiency.csv", index=False, float_format="%.5g")
    text = (
        f"Return normalised as above, against frames: interquartile mean over {len(tasks)} tasks "
        f"({listed(literal(of.title(task)) for task in tasks)}) and seeds with its 95% stratified bootstrap "
        "interval. A line ends where the shortest training of its population does; between evaluations it is "
        "interpolated. The data are in `sample_efficiency.csv`."
    )
    figure = Figure("sample_efficiency.png", "Normalised return over all tasks against frames")
    return [Section("Sample efficiency", [Paragraph(text), figure])]


def common_curves(curves: pd.DataFrame, tasks: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The learning curves of a population at common times.

    Args:
        curves (DataFrame): a row for each evaluation: ``task``, ``seed``, ``frames`` and ``score``.
        tasks (list of str): all of ``curves``.

    Returns:
        tuple[ndarray, ndarray]: :data:`POINTS` times, from the latest first evaluation of a run to the earliest last
        one, and scores ``[seeds, tasks, times]`` of the seeds that were run on all tasks, interpolated linearly.
    """
    runs = {run: rows.sort_values("frames") for run, rows in curves.groupby(["seed", "task"])}
    seeds = [seed for seed in sorted(set(curves["seed"])) if all((seed, task) in runs for task in tasks)]
    chosen = [runs[seed, task] for seed in seeds for task in tasks]
    if not chosen:
        return np.empty(0), np.empty((0, len(tasks), 0))
    first, last = max(rows["frames"].iloc[0] for rows in chosen), min(rows["frames"].iloc[-1] for rows in chosen)
    times = np.linspace(first, max(first, last), POINTS)
    values = [np.interp(times, rows["frames"], rows["score"]) for rows in chosen]
    return times, np.stack(values).reshape(len(seeds), len(tasks), POINTS)
