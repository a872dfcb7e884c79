"""Reports from files alone: hand-worked numbers, foreign and broken files, what tables must say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarl_reciprocator.commands.report import write_report
from benchmarl_reciprocator.evaluation.result_files import final_rows, read_evaluations, read_results
from benchmarl_reciprocator.evaluation.statistics import (
    interquartile_mean,
    interquartile_means_over_time,
    performance_profiles,
    probability_of_improvement,
    show,
)

# Ten evaluations of two episodes: an agent's return rises from 0 to 9 over training.
EVALUATIONS = 10


def evaluations(offset: float, **measures: float) -> dict:
    steps = {}
    for step in range(EVALUATIONS):
        returns = [offset + step - 0.5, offset + step + 0.5]
        steps[f"step_{step}"] = {
            "step_count": 100 * step,
            "return": returns,
            "agent_0_return": returns,
            "agent_1_return": [value - 2 for value in returns],
            "utilitarian": [value - 1 for value in returns],
            **{name: [value, value] for name, value in measures.items()},
        }
    return steps


def add_run(
    folder: Path, population: str, seed: int, agents: tuple[str, str], offset: float, **measures: float
) -> Path:
    """What a suite's run leaves."""
    place = folder / "runs" / "pd" / f"{population}-0" / f"seed_{seed}"
    experiment = place / "experiment"
    experiment.mkdir(parents=True)
    content = {"social_dilemmas": {"pd": {agents[0]: {f"seed_{seed}": evaluations(offset, **measures)}}}}
    (experiment / "experiment.json").write_text(json.dumps(content))
    record = {
        "task": "pd",
        "population": population,
        "seed": seed,
        "agents": list(agents),
        "frames": 900,
        "seconds": 3.0,
    }
    (place / "run.json").write_text(json.dumps({**record, "json": "experiment/experiment.json"}))
    return place


@pytest.fixture
def results_folder(tmp_path: Path) -> Path:
    for seed in range(4):
        bounds = {"all_cooperate_return": 20.0, "all_defect_return": 0.0}
        add_run(tmp_path, "pair_of_kinds", seed, ("reciprocator", "ippo"), 10 + seed, p_cooperate=0.9, **bounds)
        add_run(tmp_path, "pooled", seed, ("qmix", "qmix"), seed, p_cooperate=0.1, **bounds)
    return tmp_path


def test_final_scores_are_the_interquartile_mean_of_the_last_fifth(results_folder: Path) -> None:
    printed = write_report(results_folder)
    table = pd.read_csv(results_folder / "report" / "scores_pd.csv").set_index("population")
    # Evaluations after frame 720 are those with 8 and 9; seeds 10 to 13, of which the middle two count; less 1.
    score = table.loc["pair of kinds", "return"]
    assert score.startswith("19.00 [")
    # Agent 0 is the Reciprocator, agent 1 has two less.
    assert re.match(r"reciprocator 20\.00 \[.*\]; ippo 18\.00 \[.*\]", table.loc["pair of kinds", "by role"])
    assert table.loc["pair of kinds", "worst-off agent"].startswith("18.00")
    assert table.loc["pooled †", "P(cooperate)"] == "0.10 [0.10, 0.10]"
    assert "group's mean reward" in printed
    assert "all cooperate 20.00, all defect 0.00" in printed
    normalised = pd.read_csv(results_folder / "report" / "normalised.csv").set_index("population")
    assert normalised.loc["pair of kinds", "normalised return"].startswith("0.95 [")
    improvement = pd.read_csv(results_folder / "report" / "improvement.csv").set_index("population")
    assert improvement.loc["pair of kinds", "over pooled †"] == "1.00 [1.00, 1.00]"


def test_the_report_is_one_folder_that_needs_nothing_else(results_folder: Path) -> None:
    write_report(results_folder)
    report = results_folder / "report"
    names = {file.name for file in report.iterdir()}
    assert {"report.md", "report.html", "runs.csv", "evaluations.csv.gz", "scores_pd.csv", "scores_pd.tex"} <= names
    assert {
        f"{figure}.{kind}" for figure in ("curves_pd", "normalised", "profiles") for kind in ("png", "pdf")
    } <= names
    page = (report / "report.html").read_text()
    assert set(re.findall(r'src="(.{5})', page)) == {"data:"}
    assert r"\dag" in (report / "scores_pd.tex").read_text()
    # From the same files comes the same report.
    first = {file.name: file.read_bytes() for file in report.iterdir() if file.suffix in (".md", ".csv", ".gz", ".tex")}
    write_report(results_folder)
    assert first == {name: (report / name).read_bytes() for name in first}


def test_unreadable_files_are_told_and_left_out(results_folder: Path) -> None:
    broken = results_folder / "runs" / "pd" / "pooled-0" / "seed_0"
    (broken / "experiment" / "experiment.json").write_text('{"social_dilemmas": ')
    half = add_run(results_folder, "half_written", 0, ("ippo", "ippo"), 0)
    (half / "run.json").write_text('{"task": "p')
    (half / "progress").write_text("3")
    write_report(results_folder)
    text = (results_folder / "report" / "report.md").read_text()
    skipped = text[text.index("## Files that could not be read") :]
    assert "pooled-0/seed_0/run.json" in skipped
    assert "half_written-0/seed_0/run.json" in skipped
    assert pd.read_csv(results_folder / "report" / "scores_pd.csv")["seeds"].tolist() == [4, 3]


def test_few_seeds_are_stated(tmp_path: Path) -> None:
    add_run(tmp_path, "alone", 0, ("ippo", "ippo"), 0)
    assert "Fewer than 3 seeds" in write_report(tmp_path)
    assert pd.read_csv(tmp_path / "report" / "scores_pd.csv")["return"].tolist() == [7.5]


def test_results_of_benchmarls_own_command_are_read(small_experiment, tmp_path: Path) -> None:
    for seed in (0, 1):
        experiment = small_experiment("algorithm=mixed", f"seed={seed}", "experiment.loggers=[csv]")
        experiment.run()
    results = read_results(tmp_path)
    runs = sorted(results.runs[["task", "seed"]].itertuples(index=False, name=None))
    assert runs == [("prisoners_dilemma", 0), ("prisoners_dilemma", 1)]
    assert not results.skipped
    # What the Reciprocator logged comes from its csv files.
    assert results.diagnostics["influence_0_on_1"].notna().all()
    assert sorted(results.diagnostics["iteration"].unique()) == [0, 1]
    assert "prisoners_dilemma" in write_report(tmp_path)


def test_the_same_name_twice_is_no_replication(results_folder: Path) -> None:
    add_run(results_folder / "runs" / "again", "pooled", 0, ("qmix", "qmix"), 0)
    results = read_results(results_folder)
    assert len(results.runs) == 8
    assert "pd, pooled, seed 0: found more than once" in results.skipped[0]


def test_cross_play_beside_the_runs_is_a_part_of_the_report(results_folder: Path) -> None:
    folder = results_folder / "crossplay" / "pd"
    folder.mkdir(parents=True)
    (folder / "scores.png").write_bytes(b"a picture")
    (folder / "crossplay.md").write_text("# Cross-play: pd\n\n## Scores\n\n![Scores](scores.png)\n")
    # What is beside the runs is not taken for one of them.
    add_run(folder, "training_of_an_exploiter", 0, ("ippo", "ippo"), 0)
    write_report(results_folder)
    report = results_folder / "report"
    text = (report / "report.md").read_text()
    assert "## Cross-play: pd\n\n### Scores\n\n![Scores](crossplay_pd_scores.png)" in text
    assert (report / "crossplay_pd_scores.png").read_bytes() == b"a picture"
    assert "training_of_an_exploiter" not in text


def test_an_empty_folder_has_a_report_too(tmp_path: Path) -> None:
    assert write_report(tmp_path, failures=["pd, IPPO, seed 0: ValueError: no"]) == "no run has finished"
    assert "ValueError: no" in (tmp_path / "report" / "report.md").read_text()


def test_evaluations_are_read_by_hand_worked_numbers(tmp_path: Path) -> None:
    steps = {
        "absolute_metrics": {"return": [3.0]},
        "step_0": {"step_count": 10, "return": [1.0, 3.0]},
        "step_1": {"step_count": 20, "return": [2.0, 6.0]},
    }
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"env": {"task": {"ippo": {"seed_3": steps}}}}))
    frame = read_evaluations(file)
    assert frame["frames"].tolist() == [10, 20]
    assert frame["return"].tolist() == [2.0, 4.0]
    assert frame["seed"].tolist() == [3, 3]
    # The last fifth of 20 frames begins after frame 16.
    assert final_rows(frame, by=["seed"])["return"].tolist() == [4.0]
    for content in ("{", "[]", '{"env": {}}'):
        file.write_text(content)
        with pytest.raises(ValueError, match="is not an evaluation JSON"):
            read_evaluations(file)


def test_interquartile_mean_and_its_interval() -> None:
    scores = np.array([[0.0], [1.0], [2.0], [100.0]])
    interval = interquartile_mean(scores)
    assert interval.estimate == 1.5
    assert 0 <= interval.low < 1.5 < interval.high <= 100
    # One seed has no interval; resampling is repeatable.
    assert show(*interquartile_mean(scores[:1])) == "0.00"
    assert interquartile_mean(scores) == interval
    over_time = interquartile_means_over_time(np.stack([scores[:, 0], 2 * scores[:, 0]], axis=-1))
    assert over_time[:, 0].tolist() == [1.5, 3.0]
    assert show(-0.001, -0.2, 0.1) == "0.00 [-0.20, 0.10]"


def test_probability_of_improvement_counts_pairs() -> None:
    # Of the four pairs, two are won, one is drawn.
    assert probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])).estimate == 0.625


def test_performance_profile_is_the_share_of_runs_above() -> None:
    shares, ends = performance_profiles({"a": np.array([[0.2], [0.6]])}, [0.0, 0.5, 1.0])["a"]
    assert shares.tolist() == [1.0, 0.5, 0.0]
    assert (ends[0] <= shares).all()
    assert (shares <= ends[1]).all()
