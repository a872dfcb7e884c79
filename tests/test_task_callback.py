"""What every experiment on a social dilemma does besides training: warnings, grouping, evaluation JSON."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import benchmarl.experiment.logger as benchmarl_logger
import pytest
import torch
from benchmarl.experiment import Experiment

from benchmarl_reciprocator import GroupingWarning
from benchmarl_reciprocator.agents.setup import read_task_file
from benchmarl_reciprocator.evaluation.result_files import read_evaluations
from benchmarl_reciprocator.plugin import checks, task_callback
from benchmarl_reciprocator.plugin.checks import MODULES


@pytest.mark.parametrize("algorithm", ["mappo", "qmix", "vdn", "reciprocator_mappo"])
def test_pooling_algorithms_warn_in_groups_of_one(algorithm: str, small_experiment) -> None:
    with pytest.warns(GroupingWarning, match=r"task\.grouping='per_agent' gives every agent a group of its own"):
        small_experiment(f"algorithm={algorithm}", "task.grouping=per_agent")


def test_one_value_for_agents_with_different_rewards_warns(small_experiment) -> None:
    with pytest.warns(GroupingWarning, match=r"algorithm\.share_param_critic=False"):
        small_experiment("algorithm=mappo")


@pytest.mark.parametrize(
    ("algorithm", "groups"),
    [
        ("ippo", ["agent_0", "agent_1"]),
        ("reciprocator", ["agent_0", "agent_1"]),
        ("iql", ["agent_0", "agent_1"]),
        ("mixed", ["agent_0", "agent_1"]),
        ("qmix", ["agents"]),
        ("vdn", ["agents"]),
        ("reciprocator_mappo", ["agents"]),
    ],
)
def test_presets_pick_the_grouping_without_a_warning(algorithm: str, groups: list[str], small_experiment) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GroupingWarning)
        experiment = small_experiment(f"algorithm={algorithm}")
    assert list(experiment.group_map) == groups
    # What is saved is what was used.
    assert experiment.task.config["grouping"] == ("one_group" if groups == ["agents"] else "per_agent")


@pytest.mark.parametrize("algorithm", ["ippo", "qmix"])
def test_evaluation_json_of_stock_algorithms_holds_the_tasks_measures(algorithm: str, small_experiment) -> None:
    experiment = small_experiment(f"algorithm={algorithm}")
    experiment.run()
    evaluations = read_evaluations(Path(experiment.logger.json_writer.path))
    assert evaluations["frames"].tolist() == [256, 512]
    returns = (evaluations["agent_0_return"] + evaluations["agent_1_return"]) / 2
    torch.testing.assert_close(torch.tensor(returns.to_numpy()), torch.tensor(evaluations["return"].to_numpy()))
    cooperation = evaluations[["agent_0_p_cooperate", "agent_1_p_cooperate"]].mean(axis=1)
    torch.testing.assert_close(
        torch.tensor(cooperation.to_numpy()), torch.tensor(evaluations["p_cooperate"].to_numpy())
    )


def test_an_unreadable_json_is_told_and_does_not_stop_a_resumed_run(small_experiment) -> None:
    experiment = small_experiment("algorithm=ippo", "experiment.checkpoint_at_end=True")
    experiment.run()
    json_file = Path(experiment.logger.json_writer.path)
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    json_file.write_text(json_file.read_text()[:100])
    with pytest.warns(UserWarning, match="holds no readable earlier results"):
        Experiment.reload_from_file(str(checkpoint)).evaluate()
    assert json.loads(json_file.read_text())
    assert json_file.with_suffix(".unreadable").is_file()


def test_a_resumed_run_keeps_what_the_json_holds_of_its_task_and_algorithm(small_experiment) -> None:
    experiment = small_experiment("algorithm=ippo", "experiment.checkpoint_at_end=True")
    experiment.run()
    json_file = Path(experiment.logger.json_writer.path)
    content = json.loads(json_file.read_text())
    other = {"seed_7": {"step_0": {"step_count": 1}}}
    content["social_dilemmas"]["prisoners_dilemma"]["ippo"] |= other
    kept = json.loads(json.dumps(content))
    content["social_dilemmas"]["prisoners_dilemma"]["another"] = other
    content["social_dilemmas"]["stag_hunt"] = content["vmas"] = {"ippo": other}
    json_file.write_text(json.dumps(content))
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    Experiment.reload_from_file(str(checkpoint)).evaluate()
    after = json.loads(json_file.read_text())
    assert list(after) == ["social_dilemmas"]
    assert list(after["social_dilemmas"]) == ["prisoners_dilemma"]
    (kept,), (after,) = (list(one["social_dilemmas"]["prisoners_dilemma"].values()) for one in (kept, after))
    assert after["seed_7"] == other["seed_7"]
    assert set(after["seed_0"]) == set(kept["seed_0"])


def test_task_file_says_what_the_task_is(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=mixed", "algorithm.others=tit_for_tat", "experiment.checkpoint_at_end=True"
    )
    left = read_task_file(experiment.folder_name)
    assert left["task"] == "social_dilemmas/prisoners_dilemma"
    assert left["version"] == experiment.task.version
    measure = experiment.task.cooperation
    assert left["cooperation"] == (measure._asdict() if measure is not None else None)
    names = [package.partition(" ")[0] for package in left["packages"]]
    assert names == ["benchmarl-reciprocator"]
    # BenchMARL's plotting merges every JSON below a folder: there is the one of results alone, once it is evaluated.
    assert not list(experiment.folder_name.glob("*.json"))
    assert read_task_file(experiment.folder_name.parent) is None


def test_stock_algorithms_are_of_benchmarl(small_experiment) -> None:
    left = read_task_file(small_experiment("algorithm=ippo", preset="coins").folder_name)
    assert [package.partition(" ")[0] for package in left["packages"]] == ["benchmarl-reciprocator", "benchmarl"]


def test_a_run_that_goes_on_with_another_version_of_the_task_is_warned_of(small_experiment, monkeypatch) -> None:
    experiment = small_experiment("algorithm=ippo", "experiment.checkpoint_at_end=True", "experiment.max_n_iters=1")
    experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    version = experiment.task.version
    monkeypatch.setattr(type(experiment.task.options), "version", version + 1, raising=False)
    with pytest.warns(UserWarning, match=f"was begun with version {version} of task=prisoners_dilemma, and goes on"):
        Experiment.reload_from_file(str(checkpoint))
    assert read_task_file(experiment.folder_name)["version"] == version


def test_no_task_file_for_tasks_that_are_not_ours(small_experiment) -> None:
    experiment = small_experiment("algorithm=ippo", "task=vmas/simple_tag", preset=None)
    assert read_task_file(experiment.folder_name) is None


def checkpoint_of(experiment: Experiment) -> Path:
    experiment.run()
    return next((experiment.folder_name / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("preset", "overrides", "of", "but"),
    [
        ("stag_hunt", ("algorithm=ippo",), "task=social_dilemmas/stag_hunt and algorithm=ippo", "prisoners_dilemma"),
        ("prisoners_dilemma", ("algorithm=iql",), "task=.*/prisoners_dilemma and algorithm=iql", "algorithm=ippo"),
        (
            "prisoners_dilemma",
            ("algorithm=ippo", "task.grouping=one_group"),
            r"groups agents \(2 x ippo\)",
            r"groups agent_0 \(1 x ippo\), agent_1 \(1 x ippo\)",
        ),
    ],
)
def test_a_checkpoint_of_another_experiment_is_refused(
    preset: str, overrides: tuple[str, ...], of: str, but: str, small_experiment
) -> None:
    first = small_experiment("algorithm=ippo", "experiment.checkpoint_at_end=True")
    checkpoint = checkpoint_of(first)
    json_file = Path(first.logger.json_writer.path)
    before = json_file.read_text()
    with pytest.raises(ValueError, match=f"experiment.restore_file must be a checkpoint of {of}, but .* is of .*{but}"):
        small_experiment(*overrides, f"experiment.restore_file={checkpoint}", preset=preset)
    assert json_file.read_text() == before
    # What is saved beside the checkpoint is still its own.
    assert Experiment.reload_from_file(str(checkpoint)).task.name == "PRISONERS_DILEMMA"


def test_members_of_a_population_are_not_changed_under_way(small_experiment) -> None:
    options = ("algorithm=mixed", "algorithm.focal=ippo", "experiment.checkpoint_at_end=True")
    checkpoint = checkpoint_of(small_experiment(*options, "algorithm.others=grim"))
    with pytest.raises(ValueError, match=r"agent_1 \(1 x tit_for_tat\), but .* agent_1 \(1 x grim\)"):
        small_experiment(*options, "algorithm.others=tit_for_tat", f"experiment.restore_file={checkpoint}")


def test_options_that_change_under_way_are_told(small_experiment) -> None:
    options = ("algorithm=ippo", "experiment.checkpoint_at_end=True")
    checkpoint = checkpoint_of(small_experiment(*options, "task.max_steps=8"))
    with pytest.warns(UserWarning, match=r"was trained with task\.max_steps=8, and goes on with task\.max_steps=16"):
        small_experiment(*options, "task.max_steps=16", f"experiment.restore_file={checkpoint}")


def test_a_checkpoint_that_is_not_there_is_told(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"restore_file must be a checkpoint, but there is no '/nowhere/c\.pt'"):
        small_experiment("algorithm=ippo", "experiment.restore_file=/nowhere/c.pt")


@pytest.mark.parametrize(("task", "preset"), [(None, "prisoners_dilemma"), ("task=vmas/simple_tag", None)])
def test_loggers_that_are_not_installed_are_named(task: str | None, preset: str | None, small_experiment) -> None:
    missing = [name for name in MODULES if find_spec(MODULES[name]) is None]
    if not missing:
        pytest.skip("all loggers are installed")
    options = [task] if task is not None else []
    named = rf"experiment\.loggers must be .*, but {missing[0]} is not: set experiment\.loggers=\[csv\], or pip install"
    with pytest.raises(ValueError, match=named):
        small_experiment("algorithm=ippo", *options, f"experiment.loggers=[csv,{missing[0]}]", preset=preset)


class TensorboardLogger:
    """As TorchRL's without moviepy."""

    def log_scalar(self, *args: Any, **kwargs: Any) -> None: ...

    def log_hparams(self, *args: Any, **kwargs: Any) -> None: ...

    def log_video(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("moviepy not found, videos cannot be logged with TensorboardLogger")


@pytest.mark.parametrize("loggers", ["tensorboard", "csv,tensorboard"])
def test_videos_that_cannot_be_encoded_are_left_out(loggers: str, small_experiment, monkeypatch) -> None:
    stock = benchmarl_logger.get_logger
    monkeypatch.setattr(
        benchmarl_logger,
        "get_logger",
        lambda logger_type, **kwargs: (
            TensorboardLogger() if logger_type == "tensorboard" else stock(logger_type=logger_type, **kwargs)
        ),
    )
    have = {"moviepy": None, "tensorboard": True}
    for module in (checks, task_callback):
        monkeypatch.setattr(module, "find_spec", lambda name: have.get(name, find_spec(name)))
    monkeypatch.setattr(task_callback, "_why_no_mp4", lambda: "no encoder")
    options = ("algorithm=ippo", "experiment.render=True", "experiment.max_n_iters=1")
    with pytest.warns(UserWarning, match="videos are left out .*TensorboardLogger needs moviepy"):
        experiment = small_experiment(*options, f"experiment.loggers=[{loggers}]", preset="coins")
    experiment.run()
    assert experiment.config.render is ("csv" in loggers)
    assert len(list(experiment.folder_name.rglob("eval_video*.pt"))) == ("csv" in loggers)
