"""The absolute metric: the best policy of every run of a suite, evaluated again by other episodes."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarl_reciprocator.commands import absolute
from benchmarl_reciprocator.evaluation.reports import absolute as absolute_module
from benchmarl_reciprocator.evaluation.reports.absolute import absolute_metric, evaluate_again
from benchmarl_reciprocator.evaluation.reports.report import write_report
from benchmarl_reciprocator.evaluation.result_files import read_results
from benchmarl_reciprocator.plugin.best_policy import best_policies
from benchmarl_reciprocator.suites.sweep import run_suite

TINY = [
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
]
POPULATIONS = {"Reciprocator": ["algorithm=reciprocator"], "all_d": ["algorithm=scripted", "algorithm.player=all_d"]}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a suite of two populations, one seed each."""
    folder = tmp_path_factory.mktemp("absolute") / "tiny"
    (folder.parent / "conf" / "suite").mkdir(parents=True)
    content = {
        "seeds": 1,
        "tasks": {"pd": ["+preset=prisoners_dilemma", "task.max_steps=8"]},
        "populations": POPULATIONS,
    }
    (folder.parent / "conf" / "suite" / "tiny.yaml").write_text(yaml.safe_dump(content))
    arguments = [f"--config-dir={folder.parent}/conf", "suite=tiny", f"folder={folder}", "hydra/launcher=basic", *TINY]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        assert not run_suite(arguments).failures
    return folder


@pytest.fixture
def copied(suite: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(suite, tmp_path / "copied"))


def experiment_of(folder: Path, population: str) -> Path:
    return next((folder / "runs").glob(f"pd/{population}-*/seed_0/*/config.pkl")).parent


def test_the_best_policy_is_evaluated_again(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = StringIO()
    with redirect_stdout(printed):
        assert absolute.main([str(copied)]) == 0
    # All defect for 8 steps, at -2 a step
    assert "-16.00" in printed.getvalue()
    runs = pd.read_csv(copied / "absolute" / "absolute_runs.csv").set_index("population")
    assert runs.loc["all_d", ["score", "return_when_chosen", "frames", "episodes"]].tolist() == [-16, -16, 256, 40]
    evaluations = read_results(copied).evaluations
    own = evaluations[evaluations["population"] == "Reciprocator"]
    best = own.loc[own["utilitarian"].idxmax()]
    assert runs.loc["Reciprocator", "frames"] == best["frames"]
    assert runs.loc["Reciprocator", "return_when_chosen"] == pytest.approx(best["utilitarian"], rel=1e-5)
    # By other episodes
    assert runs.loc["Reciprocator", "score"] != pytest.approx(best["utilitarian"], rel=1e-5)
    write_report(copied)
    table = pd.read_csv(copied / "report" / "absolute.csv")
    assert table["population"].tolist() == ["Reciprocator", "all d"]
    assert table.loc[1, "return"] == -16
    assert "## Absolute metric" in (copied / "report" / "report.md").read_text()

    def fails(*_: object) -> None:
        raise AssertionError("evaluated again")

    # What has a record is not evaluated again, another number of episodes is.
    monkeypatch.setattr(absolute_module, "evaluate_again", fails)
    assert absolute_metric(copied).skipped == ()
    with pytest.raises(AssertionError, match="evaluated again"):
        absolute_metric(copied, episodes=5)


def test_evaluations_repeat_by_their_seed(suite: Path) -> None:
    (best,) = best_policies(experiment_of(suite, "reciprocator"))
    first = evaluate_again(best, 2, seed=5)
    assert evaluate_again(best, 2, seed=5) == pytest.approx(first, nan_ok=True)
    assert first["return"] != evaluate_again(best, 2, seed=7)["return"]
    # The second batch has a seed of its own.
    assert first["return"] != evaluate_again(best, 1, seed=5)["return"]


def test_runs_without_their_best_policy_are_left_out(copied: Path) -> None:
    experiment = experiment_of(copied, "reciprocator")
    json_file = experiment / f"{experiment.name}.json"
    content = json_file.read_text()
    steps = json.loads(content)
    (run,) = steps["social_dilemmas"]["prisoners_dilemma"]["reciprocator"].values()
    # As if an evaluation had been better
    run["step_1"]["utilitarian"] = [100.0] * 4
    json_file.write_text(json.dumps(steps))
    reason = "pd, Reciprocator, seed 0: the policy of its best evaluation, at frame 256, was not kept"
    with pytest.warns(UserWarning, match=reason):
        assert absolute_metric(copied).skipped == (reason,)
    json_file.write_text(content)
    shutil.rmtree(experiment / "best")
    error = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(error), pytest.warns(UserWarning, match="was not kept"):
        assert absolute.main([str(copied)]) == 1
    assert "1 runs have no absolute metric:\npd, Reciprocator, seed 0: its best policy was not kept" in error.getvalue()
    shutil.rmtree(experiment_of(copied, "all_d") / "best")
    with pytest.raises(ValueError, match="no run has an absolute metric"), pytest.warns(UserWarning):
        absolute_metric(copied)


def test_a_folder_without_runs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing else in the command's process registers the tasks and algorithms of the runs that it loads.
    registered: list[None] = []
    monkeypatch.setattr(absolute_module, "register", lambda: registered.append(None))
    with pytest.raises(ValueError, match="folder must hold finished runs of a suite"):
        absolute_metric(tmp_path)
    assert registered == [None]
