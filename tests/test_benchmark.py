"""The benchmark command: runs what is missing by a launcher, loses nothing, and reports."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import benchmarl.experiment.experiment as benchmarl_experiment
import hydra
import pandas as pd
import pytest
import torch
import yaml
from benchmarl.eval_results import get_raw_dict_from_multirun_folder
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from benchmarl_reciprocator import SocialDilemmaTask
from benchmarl_reciprocator.commands import benchmark, cli

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
STUDY = "{question: Which one?, outcomes: {cooperation: 0.1}, varied: [{name: who, values: {learner: IPPO}}]}"


def suite_of(folder: Path, populations: dict[str, str | list[str]], seeds: int = 1) -> list[str]:
    """Arguments of a suite of the user's own, in a folder of theirs beside ``folder``."""
    suites = folder.parent / "conf" / "suite"
    suites.mkdir(parents=True, exist_ok=True)
    suite = {"seeds": seeds, "tasks": {"pd": ["+preset=prisoners_dilemma"]}, "populations": populations}
    (suites / "tiny.yaml").write_text(yaml.safe_dump(suite))
    return [f"--config-dir={suites.parent}", "suite=tiny", *TINY]


def begin(folder: Path, arguments: list[str]) -> subprocess.Popen:
    """The command as users type it; ``folder`` is the default one."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarl_reciprocator", "benchmark", *arguments],
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def here(folder: Path, arguments: list[str]) -> int:
    """The command and its runs in this process, which saves the start of others."""
    return benchmark.main([*arguments, f"folder={folder}", "hydra/launcher=basic"])


def records(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.glob("runs/*/*/seed_*/run.record")}


class Finished(NamedTuple):
    """A suite that has ended: its folder, its exit code and what it printed."""

    folder: Path
    code: int
    out: str
    error: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """In this process. In processes of its own, as users start it: ``test_extension_package.py``."""
    folder = tmp_path_factory.mktemp("suite") / FOLDER
    arguments = suite_of(folder, {"Reciprocator": "reciprocator", "learner": "ippo"})
    out, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        # The default folder, in the present one.
        patch.chdir(folder.parent)
        code = benchmark.main([*arguments, f"{ITERATIONS}=2", f"+suite.study={STUDY}", "hydra/launcher=basic"])
    return Finished(folder, code, out.getvalue(), error.getvalue())


def test_a_suite_ends_in_a_report(finished: Finished) -> None:
    folder = finished.folder
    assert finished.code == 0, finished.error
    assert "P(cooperate)" in finished.out
    table = pd.read_csv(folder / "report" / "scores_pd.csv")
    assert sorted(table["population"]) == ["Reciprocator", "learner"]
    page = (folder / "report" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    # The full config is beside the results, and an agent to be loaded.
    assert len(list((folder / "report" / "configs").glob("*.yaml"))) == 2
    for file in ("tiny.md", "report.md", "report.html"):
        assert "Which one?" in (folder / "report" / file).read_text()
    assert len(list(folder.glob("runs/*/*/*/*/checkpoints/checkpoint_512.pt"))) == 2


def test_runs_are_recorded(finished: Finished) -> None:
    (record,) = (json.loads(file.read_text()) for file in records(finished.folder) if "learner" in str(file))
    assert record["agents"] == ["ippo", "ippo"]
    assert record["frames"] == 512
    assert record["versions"]["torch"]
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    assert record["task_version"] == task.version
    assert record["cooperation"] == (task.cooperation and task.cooperation._asdict())
    assert any(package.startswith("benchmarl-reciprocator ") for package in record["packages"])


def test_benchmarls_own_tools_read_the_runs(finished: Finished) -> None:
    merged = get_raw_dict_from_multirun_folder(str(finished.folder / "runs"))
    assert list(merged) == ["social_dilemmas"]
    assert list(merged["social_dilemmas"]) == ["prisoners_dilemma"]
    assert set(merged["social_dilemmas"]["prisoners_dilemma"]) == {"reciprocator", "ippo"}
    assert list(merged["social_dilemmas"]["prisoners_dilemma"]["ippo"]) == ["seed_0"]


def test_there_is_one_progress_bar(finished: Finished) -> None:
    assert "4/4" in finished.error and "2/2 runs" in finished.error
    # What BenchMARL's bars of single runs say
    assert "mean return" not in finished.error


def test_a_finished_suite_runs_nothing_again_and_another_shares_its_folder(
    finished: Finished, capsys: pytest.CaptureFixture
) -> None:
    folder = finished.folder
    before = records(folder)
    grim = ["algorithm=scripted", "algorithm.player=grim"]
    more = [f"{ITERATIONS}=2", f"+suite.populations.grim={json.dumps(grim)}"]
    assert here(folder, [*suite_of(folder, {"learner": "ippo"}), *more]) == 0
    after = records(folder)
    assert len(after) == 3
    assert before.items() <= after.items()
    # The report is on all that is in the folder.
    assert "Reciprocator" in capsys.readouterr().out


def test_earlier_results_of_other_options_are_told(finished: Finished) -> None:
    # As if a preset had been another one when this was run
    (file,) = finished.folder.glob("runs/*/learner-*/seed_0/.hydra/config.yaml")
    before = file.read_text()
    try:
        file.write_text(before.replace("lr: ", "lr: 1", 1))
        with pytest.warns(UserWarning, match=r"pd, learner: earlier results are kept.*experiment\.lr was"):
            assert here(finished.folder, [*suite_of(finished.folder, {"learner": "ippo"}), f"{ITERATIONS}=2"]) == 0
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("experiment.create_json=false", "experiment.create_json must be true in a suite, .* but is False"),
        ("experiment.evaluation=false", "experiment.evaluation must be true in a suite, .* but is False"),
        ("experiment.save_folder=/tmp", "experiment.save_folder must be null in a suite, .* but is '/tmp'"),
        ("experiment.restore_file=a.pt", "experiment.restore_file must be null in a suite, .* but is 'a.pt'"),
    ],
)
def test_what_a_run_needs_at_its_end_is_checked_at_its_start(
    override: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / FOLDER
    assert here(folder, [*suite_of(folder, {"learner": "ippo"}), override]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not list(folder.rglob("config.yaml"))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / FOLDER
    arguments = suite_of(tmp_path / FOLDER, {"learner": "ippo"})
    assert here(folder, arguments) == 2
    assert f"folder must be one that can be written, but is '{folder}'" in capsys.readouterr().err


def test_a_suite_goes_by_the_frames_that_it_collects_on_any_task_and_without_git(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / FOLDER
    arguments = suite_of(folder, {"learner": "ippo"})
    # The interval is never hit by the 70 frames that seven environments collect in place of 64.
    frames = 70
    options = [
        "experiment.on_policy_n_envs_per_worker=7",
        "experiment.on_policy_collected_frames_per_batch=64",
        "experiment.on_policy_minibatch_size=70",
        "experiment.on_policy_n_minibatch_iters=1",
        "experiment.evaluation_interval=128",
        f"{ITERATIONS}=11",
    ]
    balance = json.dumps(
        [
            *("task=vmas/balance", "task.max_steps=8"),
            *("experiment=social_dilemmas", "experiment.prefer_continuous_actions=false"),
        ]
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert here(folder, [*arguments, *options, f"+suite.tasks.balance={balance}"]) == 0
    monkeypatch.undo()
    for task in ("pd", "balance"):
        (run,) = folder.glob(f"runs/{task}/*/seed_0")
        saved = {int(file.stem.rpartition("_")[2]) for file in run.glob("*/checkpoints/*.pt")}
        assert saved == {10 * frames, 11 * frames}
        assert json.loads((run / "run.record").read_text())["frames"] == 11 * frames
    evaluations = pd.read_csv(folder / "report" / "evaluations.csv.gz")
    for _, rows in evaluations.groupby("task"):
        assert rows["frames"].tolist() == [frames * iteration for iteration in (1, 2, 4, 6, 8, 10, 11)]


def test_failures_are_listed_and_the_others_stand(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / FOLDER
    # A horizon of zero steps is the task's to refuse, when its run begins.
    arguments = suite_of(folder, {"fine": "ippo", "broken": ["algorithm=ippo", "task.max_steps=0"]})
    assert here(folder, [*arguments, f"{ITERATIONS}=2"]) == 1
    assert "pd, broken, seed 0: ValueError: task.max_steps must be an integer >= 1, but is 0" in capsys.readouterr().err
    assert pd.read_csv(folder / "report" / "scores_pd.csv")["population"].tolist() == ["fine"]
    assert "pd, broken, seed 0: ValueError: task.max_steps" in (folder / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["suite=unheard_of"], ["quick"]),
        (["experiment.lr=0.1,0.2"], ["experiment.lr must be one value, but is '0.1,0.2'"]),
        (["suite.seeds=0"], ["suite.seeds must be an integer >= 1"]),
        # All that is wrong at once, not one at a time
        (
            [
                "+suite.populations.x=unheard_of",
                "+suite.tasks.y=unheard_too",
                '+suite.populations.z=["algorithm=ippo","task.no_option=1"]',
            ],
            ["algorithm/unheard_of", "task/unheard_too", "no_option"],
        ),
        (["+suite.study={question: Why?}"], ["suite.study must be a mapping with the entries outcomes"]),
    ],
)
def test_bad_input_is_named_before_anything_runs(
    tmp_path: Path, overrides: list[str], named: list[str], capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / FOLDER
    assert here(folder, [*suite_of(folder, {"learner": "ippo"}), *overrides]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert all(name in error for name in named), error
    assert not records(folder)


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    before = (dict(os.environ), list(sys.argv), torch.get_num_threads(), benchmarl_experiment.tqdm)
    with hydra.initialize_config_module("benchmarl.conf", version_base=None):
        outer = GlobalHydra.instance().hydra
        assert here(tmp_path / FOLDER, [*suite_of(tmp_path / FOLDER, {"learner": "ippo"}), f"{ITERATIONS}=1"]) == 0
        # Somebody else's use of Hydra goes on, and is not seen in a second call.
        assert GlobalHydra.instance().hydra is outer
        assert here(tmp_path / FOLDER, [*suite_of(tmp_path / FOLDER, {"learner": "ippo"}), f"{ITERATIONS}=1"]) == 0
        assert "suite" not in hydra.compose("config", overrides=["algorithm=ippo", "task=vmas/balance"])
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is None
    assert (dict(os.environ), list(sys.argv), torch.get_num_threads(), benchmarl_experiment.tqdm) == before


def test_without_a_launcher_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    assert cli.main(["benchmark", "suite=quick"]) == 1
    needs = 'benchmark needs hydra_joblib_launcher: pip install "benchmarl-reciprocator[suite]"\n'
    assert capsys.readouterr().err.endswith(needs)


def test_help_names_the_suites(capsys: pytest.CaptureFixture) -> None:
    assert benchmark.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "suite=quick" in printed
    assert {"matrix_games", "paper", "quick"} <= set(printed.replace(",", " ").split())
    assert "reads:" in printed and "writes:" in printed


@pytest.fixture
def snowy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a suite of another installed package, which declares a folder of yaml files by an entry point."""
    suites = tmp_path / "site" / "snowy_games" / "conf" / "suite"
    suites.mkdir(parents=True)
    for folder in (suites.parent, suites.parent.parent):
        (folder / "__init__.py").touch()
    suite = {"seeds": 1, "tasks": {"pd": ["+preset=prisoners_dilemma"]}, "populations": {"learner": "ippo"}}
    (suites / "snowy.yaml").write_text(yaml.safe_dump(suite))
    installed = tmp_path / "site" / "snowy_games-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: snowy-games\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[benchmarl_reciprocator.conf]\nsnowy_games = snowy_games.conf\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "snowy"


def test_a_suite_of_another_package_is_listed_and_run(
    snowy: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert benchmark.main(["--help"]) == 0
    assert snowy in capsys.readouterr().out.replace(",", " ").split()
    assert here(tmp_path / FOLDER, [f"suite={snowy}", *TINY, f"{ITERATIONS}=1"]) == 0
    assert len(records(tmp_path / FOLDER)) == 1


@pytest.mark.slow
def test_killed_in_mid_suite_nothing_is_lost_and_nothing_repeated(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    arguments = [*suite_of(folder, {"learner": "ippo"}, seeds=3), f"{ITERATIONS}=40"]

    def in_the_second_run() -> bool:
        # Beyond the first checkpoint, which is written after a fifth.
        done = [int(file.read_text() or 0) for file in folder.glob("runs/*/*/seed_1/progress")]
        return len(records(folder)) == 1 and done != [] and done[0] > 9

    process = begin(folder, [*arguments, "hydra.launcher.n_jobs=1"])
    deadline = time.monotonic() + 240
    while not in_the_second_run():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    before = records(folder)
    assert len(before) == 1
    assert here(folder, arguments) == 0
    after = records(folder)
    assert len(after) == 3
    assert before.items() <= after.items()
    resumed = {file.parent.name: json.loads(file.read_text())["resumed"] for file in after}
    assert resumed == {"seed_0": False, "seed_1": True, "seed_2": False}
    # The resumed run's results are whole: as many evaluations as any other's.
    evaluations = pd.read_csv(folder / "report" / "evaluations.csv.gz")
    assert evaluations.groupby("seed").size().nunique() == 1
    assert evaluations.groupby("seed")["frames"].apply(lambda frames: frames.is_monotonic_increasing).all()
