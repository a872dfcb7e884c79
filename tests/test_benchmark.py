"""The benchmark command: runs what is missing by a launcher, loses nothing, and reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

# Small enough for a few seconds, large enough for two evaluations.
TINY = [
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
]
ITERATIONS = "experiment.max_n_iters"
FOLDER = "benchmark_tiny"


def benchmark(
    folder: Path, populations: dict[str, str | list[str]], *overrides: str, seeds: int = 1, kill_when=None
) -> subprocess.CompletedProcess:
    """The command with a suite of the user's own, from a folder of theirs; ``folder`` is the default one."""
    suites = folder.parent / "conf" / "suite"
    suites.mkdir(parents=True, exist_ok=True)
    suite = {"seeds": seeds, "tasks": {"pd": ["+preset=prisoners_dilemma"]}, "populations": populations}
    (suites / "tiny.yaml").write_text(yaml.safe_dump(suite))
    program = [sys.executable, "-m", "benchmarl_reciprocator", "benchmark", f"--config-dir={suites.parent}"]
    process = subprocess.Popen(
        [*program, "suite=tiny", *TINY, *overrides],
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if kill_when is not None:
        deadline = time.monotonic() + 240
        while not kill_when():
            assert time.monotonic() < deadline and process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    out, error = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def records(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.glob("runs/*/*/seed_*/run.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("suite") / FOLDER
    return folder, benchmark(folder, {"Reciprocator": "reciprocator", "learner": "ippo"}, f"{ITERATIONS}=2")


def test_a_suite_ends_in_a_report(finished: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, process = finished
    assert process.returncode == 0, process.stderr
    assert "P(cooperate)" in process.stdout
    table = pd.read_csv(folder / "report" / "scores_pd.csv")
    assert sorted(table["population"]) == ["Reciprocator", "learner"]
    page = (folder / "report" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    (record,) = (json.loads(file.read_text()) for file in records(folder) if "learner" in str(file))
    assert record["agents"] == ["ippo", "ippo"]
    assert record["frames"] == 512
    assert record["versions"]["torch"]
    # The full config is beside the results, and an agent to be loaded.
    assert len(list((folder / "report" / "configs").glob("*.yaml"))) == 2
    assert len(list(folder.glob("runs/*/*/*/*/checkpoints/checkpoint_512.pt"))) == 2


def test_a_finished_suite_runs_nothing_again_and_another_shares_its_folder(
    finished: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, _ = finished
    before = records(folder)
    grim = ["algorithm=scripted", "algorithm.player=grim"]
    process = benchmark(folder, {"learner": "ippo"}, f"{ITERATIONS}=2", f"+suite.populations.grim={json.dumps(grim)}")
    assert process.returncode == 0, process.stderr
    after = records(folder)
    assert len(after) == 3
    assert before.items() <= after.items()
    # The report is on all that is in the folder.
    assert "Reciprocator" in process.stdout


def test_failures_are_listed_and_the_others_stand(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    # A horizon of zero steps is the task's to refuse, when its run begins.
    process = benchmark(folder, {"fine": "ippo", "broken": ["algorithm=ippo", "task.max_steps=0"]}, f"{ITERATIONS}=2")
    assert process.returncode == 1
    assert "pd, broken, seed 0: ValueError: task.max_steps must be an integer >= 1, but is 0" in process.stderr
    assert pd.read_csv(folder / "report" / "scores_pd.csv")["population"].tolist() == ["fine"]
    assert "task.max_steps=0" in (folder / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["suite=unheard_of"], ["quick"]),
        (["experiment.lr=0.1,0.2"], ["experiment.lr=0.1,0.2 is not allowed"]),
        # All that is wrong at once, not one at a time
        (
            [
                "+suite.populations.x=unheard_of",
                "+suite.tasks.y=unheard_too",
                '+suite.populations.z=["algorithm=ippo","task.no_option=1"]',
            ],
            ["algorithm/unheard_of", "task/unheard_too", "no_option"],
        ),
    ],
)
def test_bad_input_is_named_before_anything_runs(tmp_path: Path, overrides: list[str], named: list[str]) -> None:
    folder = tmp_path / FOLDER
    process = benchmark(folder, {"learner": "ippo"}, *overrides)
    assert process.returncode == 1
    assert all(name in process.stderr for name in named), process.stderr
    assert not records(folder)


def test_help_names_the_suites() -> None:
    program = [sys.executable, "-m", "benchmarl_reciprocator", "benchmark", "--help"]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert "suite=quick" in printed
    assert "matrix_games, paper, quick" in printed


def test_killed_in_mid_suite_nothing_is_lost_and_nothing_repeated(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    overrides = ["hydra.launcher.n_jobs=1", f"{ITERATIONS}=40"]

    def in_the_second_run() -> bool:
        # Beyond the first checkpoint, which is written after a fifth.
        done = [int(file.read_text() or 0) for file in folder.glob("runs/*/*/seed_1/progress")]
        return len(records(folder)) == 1 and done != [] and done[0] > 9

    benchmark(folder, {"learner": "ippo"}, *overrides, seeds=3, kill_when=in_the_second_run)
    before = records(folder)
    assert len(before) == 1
    process = benchmark(folder, {"learner": "ippo"}, *overrides, seeds=3)
    assert process.returncode == 0, process.stderr
    after = records(folder)
    assert len(after) == 3
    assert before.items() <= after.items()
    resumed = {file.parent.name: json.loads(file.read_text())["resumed"] for file in after}
    assert resumed == {"seed_0": False, "seed_1": True, "seed_2": False}
    # The resumed run's results are whole: as many evaluations as any other's.
    evaluations = pd.read_csv(folder / "report" / "evaluations.csv.gz")
    assert evaluations.groupby("seed").size().nunique() == 1
    assert evaluations.groupby("seed")["frames"].apply(lambda frames: frames.is_monotonic_increasing).all()
