"""Evaluations and checkpoints go by the frames that are collected, and the end of training is evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarl.experiment import Experiment, ExperimentConfig

from benchmarl_reciprocator.evaluation.result_files import read_evaluations
from benchmarl_reciprocator.plugin.schedule import Schedule, settle_frames

# 256 frames are asked for, 259 are collected.
SEVEN = [f"experiment.{kind}_policy_n_envs_per_worker=7" for kind in ("on", "off")]
SHORT = ("task.max_steps=8", "experiment.evaluation_episodes=2")


def frames_evaluated(experiment: Experiment) -> list[int]:
    return read_evaluations(Path(experiment.logger.json_writer.path))["frames"].tolist()


def steps_written(experiment: Experiment) -> list[str]:
    content = json.loads(Path(experiment.logger.json_writer.path).read_text())
    (steps,) = content["social_dilemmas"]["prisoners_dilemma"][experiment.algorithm_name].values()
    return [step for step in steps if step.startswith("step_")]


def saved(experiment: Experiment) -> set[str]:
    return {file.name for file in (Path(experiment.folder_name) / "checkpoints").iterdir()}


@pytest.mark.parametrize("algorithm", ["ippo", "iql"])
def test_intervals_are_hit_where_frames_do_not_divide_by_environments(algorithm: str, small_experiment) -> None:
    options = ("experiment.max_n_iters=5", "experiment.evaluation_interval=512", "experiment.checkpoint_interval=512")
    with pytest.warns(UserWarning, match="be a multiple of .*=7, but is 256: every iteration collects 259 frames"):
        experiment = small_experiment(f"algorithm={algorithm}", *SEVEN, *SHORT, *options)
    experiment.run()
    assert experiment.total_frames == 5 * 259
    assert frames_evaluated(experiment) == [259, 2 * 259, 4 * 259, 5 * 259]
    assert steps_written(experiment) == ["step_0", "step_1", "step_2", "step_3"]
    assert saved(experiment) == {"checkpoint_518.pt", "checkpoint_1036.pt"}


def test_a_long_run_collects_to_its_last_iteration(small_experiment) -> None:
    # 6 frames more in every iteration are an iteration more than the collector would give after 11.
    experiment = small_experiment(
        "algorithm=ippo",
        *SEVEN,
        *SHORT,
        "experiment.on_policy_collected_frames_per_batch=64",
        "experiment.max_n_iters=15",
        "experiment.evaluation_interval=6400",
    )
    experiment.run()
    assert experiment.n_iters_performed == 15
    assert frames_evaluated(experiment) == [70, 15 * 70]


def test_the_last_iteration_is_evaluated_off_the_interval_too(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=ippo", *SHORT, "experiment.max_n_iters=5", "experiment.evaluation_interval=1024"
    )
    experiment.run()
    assert frames_evaluated(experiment) == [256, 1024, 1280]
    # It is an evaluation of its own: the one before stays.
    assert steps_written(experiment) == ["step_0", "step_1", "step_2"]
    assert experiment.config.evaluation_interval == 1024


def test_a_run_that_goes_on_from_an_end_off_the_interval(small_experiment) -> None:
    options = ("algorithm=ippo", *SHORT, "experiment.evaluation_interval=512", "experiment.checkpoint_at_end=True")
    first = small_experiment(*options, "experiment.max_n_iters=3")
    first.run()
    assert frames_evaluated(first) == [256, 512, 768]
    (checkpoint,) = (Path(first.folder_name) / "checkpoints").iterdir()
    again = Experiment.reload_from_file(str(checkpoint), {"max_n_iters": 6})
    again.run()
    assert steps_written(again) == ["step_0", "step_1", "step_2", "step_3"]
    # The end of before was written under the number that belongs to frame 1024.
    assert frames_evaluated(again) == [256, 512, 1024, 1536]


def test_a_run_that_goes_on_with_other_batches_evaluates_and_ends(small_experiment) -> None:
    first = small_experiment("algorithm=ippo", *SHORT, "experiment.checkpoint_at_end=True")
    first.run()
    (checkpoint,) = (Path(first.folder_name) / "checkpoints").iterdir()
    batches = {
        "on_policy_collected_frames_per_batch": 96,
        "on_policy_minibatch_size": 96,
        "evaluation_interval": 192,
        "checkpoint_interval": 192,
        "checkpoint_at_end": False,
        "max_n_iters": 9,
    }
    again = Experiment.reload_from_file(str(checkpoint), batches)
    again.run()
    assert again.n_iters_performed == 9
    # 512 and seven times 96; multiples of 192 are passed at 608, 800, 992 and 1184.
    assert frames_evaluated(again)[-4:] == [608, 800, 992, 1184]
    assert {"checkpoint_608.pt", "checkpoint_800.pt", "checkpoint_992.pt"} & saved(again)


def test_the_config_that_was_handed_in_is_left_as_it_is(small_experiment) -> None:
    made = small_experiment("algorithm=ippo", *SHORT)
    config = made.config
    config.on_policy_n_envs_per_worker = 7
    for algorithm in (made.algorithm_config, made.algorithm_config):
        experiment = Experiment(
            task=made.task, algorithm_config=algorithm, model_config=made.model_config, seed=0, config=config
        )
        assert experiment.config.on_policy_collected_frames_per_batch == 259
        assert config.on_policy_collected_frames_per_batch == 256


def test_as_many_minibatches_as_were_asked_for() -> None:
    config = ExperimentConfig.get_from_yaml()
    config.on_policy_collected_frames_per_batch, config.on_policy_n_envs_per_worker = 8192, 100
    config.on_policy_minibatch_size, config.evaluation_interval = 4096, 81920
    assert settle_frames(config, on_policy=True)
    assert config.on_policy_collected_frames_per_batch == 8200
    assert config.on_policy_minibatch_size == 4100
    assert config.evaluation_interval == 82000
    assert not settle_frames(config, on_policy=True)
    # One that leaves room for them stays.
    config.on_policy_collected_frames_per_batch, config.on_policy_minibatch_size = 8192, 3000
    assert settle_frames(config, on_policy=True)
    assert config.on_policy_minibatch_size == 3000


def test_frames_that_divide_change_nothing(small_experiment) -> None:
    asked = ExperimentConfig.get_from_yaml()
    before = dict(vars(asked))
    assert not settle_frames(asked, on_policy=True) and not settle_frames(asked, on_policy=False)
    assert vars(asked) == before


def test_other_tasks_have_a_schedule_where_they_ask_for_it(small_experiment) -> None:
    options = ("algorithm=ippo", "task=vmas/balance", "experiment.evaluation_interval=512", "experiment.max_n_iters=3")
    experiment = small_experiment(*options, *SEVEN, "task.max_steps=8", preset=None, callbacks=[Schedule()])
    experiment.run()
    assert frames_evaluated(experiment) == [259, 2 * 259, 3 * 259]


def test_an_interval_of_nothing_is_refused(small_experiment) -> None:
    with pytest.raises(ValueError, match="evaluation_interval must be an integer >= 1, but is 0"):
        small_experiment("algorithm=ippo", "experiment.evaluation_interval=0")
