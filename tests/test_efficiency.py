"""Sample efficiency over tasks: hand-worked curves, and what stands in a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarl_reciprocator.evaluation.reports.efficiency import common_curves, efficiency_sections
from benchmarl_reciprocator.evaluation.reports.ordered import in_order
from benchmarl_reciprocator.evaluation.result_files import Results
from benchmarl_reciprocator.evaluation.statistics import interquartile_means_over_time


def curve(task: str, seed: int, scores: dict[int, float], population: str = "ippo") -> pd.DataFrame:
    """Scripted play comes to 10 and -10."""
    rows = pd.DataFrame({"frames": list(scores), "return": list(scores.values())})
    bounds = {"all_defect_return": -10.0, "all_cooperate_return": 10.0}
    return rows.assign(task=task, population=population, seed=seed, **bounds)


def results(*curves: pd.DataFrame) -> Results:
    evaluations = pd.concat(curves, ignore_index=True)
    runs = evaluations.groupby(["task", "population", "seed"], sort=False)["frames"].max().reset_index()
    agents = [[population] * 2 for population in runs["population"]]
    runs = runs.assign(agents=pd.Series(agents), registered="a/b", task_version=None, cooperation=None)
    return Results(evaluations, pd.DataFrame(), runs)


def test_curves_meet_at_common_times() -> None:
    rows = [
        curve("one", 0, {100: 0.0, 300: 2.0, 500: 2.0}),
        curve("two", 0, {200: 1.0, 400: 3.0}),
        # Not run on both tasks
        curve("one", 1, {0: 0.0, 10: 0.0}),
    ]
    times, scores = common_curves(pd.concat(rows).assign(score=lambda of: of["return"]), ["one", "two"])
    assert (times[0], times[-1]) == (200, 400)
    assert scores.shape == (1, 2, len(times))
    assert scores[0, 0, [0, -1]].tolist() == [1.0, 2.0]
    assert scores[0, 1, [0, len(times) // 2, -1]].tolist() == [1.0, 2.0, 3.0]


def test_the_mean_is_over_tasks_and_seeds() -> None:
    # Of eight runs the middle four count: 2, 3, 4, 5.
    scores = np.arange(8.0).reshape(4, 2, 1).repeat(3, axis=-1)
    means = interquartile_means_over_time(scores)
    assert means.shape == (3, 3)
    assert means[:, 0] == pytest.approx(3.5)
    assert (means[:, 1] < 3.5).all() and (means[:, 2] > 3.5).all()
    one_seed = interquartile_means_over_time(scores[:1])
    assert one_seed[:, 0] == pytest.approx(0.5) and np.isnan(one_seed[:, 1:]).all()


def test_a_report_on_two_tasks_shows_them(tmp_path: Path) -> None:
    rising = {0: -10.0, 100: 10.0}
    curves = [curve(task, seed, rising) for task in ("one", "two") for seed in (0, 1)]
    curves += [curve("one", seed, {0: -10.0, 100: -10.0}, "only_one") for seed in (0, 1)]
    (section,) = efficiency_sections(in_order(results(*curves)), tmp_path)
    assert section.title == "Sample efficiency"
    table = pd.read_csv(tmp_path / "sample_efficiency.csv")
    assert set(table["population"]) == {"ippo"}
    assert table["normalised"].iloc[[0, 20, -1]].tolist() == pytest.approx([0, 0.5, 1])
    assert (tmp_path / "sample_efficiency.png").is_file()
    # On one task the curves of that task say the same.
    assert efficiency_sections(in_order(results(*curves[:2])), tmp_path) == []
