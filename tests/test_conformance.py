"""Every registered task and algorithm does what BenchMARL expects of one."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.benchmark import Benchmark
from benchmarl.environments import task_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import MlpConfig

from benchmarl_reciprocator import ReciprocatorConfig, SocialDilemmaTask
from benchmarl_reciprocator.algorithms import shipped_algorithms
from benchmarl_reciprocator.tasks.task import shipped_tasks

TASKS = shipped_tasks()
# A frozen agent needs a checkpoint.
ALGORITHMS = [*sorted({*shipped_algorithms()} - {"frozen"}), "ippo", "mappo", "qmix", "vdn", "iql"]


def evaluations(experiment: Experiment) -> dict:
    content = json.loads(Path(experiment.logger.json_writer.path).read_text())
    tasks = content[experiment.environment_name]
    return tasks[experiment.task_name][experiment.algorithm_name][f"seed_{experiment.seed}"]


@pytest.mark.parametrize("name", TASKS)
def test_task_yaml_and_dataclass_agree(name: str) -> None:
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    options = type(task.options)
    assert set(task.config) == {field.name for field in fields(options)}
    assert task_config_registry[f"social_dilemmas/{name}"] is SocialDilemmaTask[name.upper()]


@pytest.mark.parametrize("name", shipped_algorithms())
def test_algorithm_yaml_and_dataclass_agree(name: str) -> None:
    config = algorithm_config_registry[name].get_from_yaml()
    assert set(vars(config)) == {field.name for field in fields(config)}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_and_measures(name: str, small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", preset=name)
    experiment.run()
    steps = [value for key, value in evaluations(experiment).items() if key.startswith("step_")]
    assert len(steps) >= 2
    for step in steps:
        assert all(math.isfinite(x) for agent in range(2) for x in step[f"agent_{agent}_return"])
        # The task's own measure of cooperation, where it is a dilemma.
        for measure in {"p_cooperate", "own_coin_share"} & set(step):
            assert all(0 <= x <= 1 for x in step[measure])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_evaluates_and_reloads(name: str, small_experiment) -> None:
    with warnings.catch_warnings():
        # The presets must not lead into a pairing that this package warns of, nor its registration into
        # BenchMARL's warnings.
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "max_n_frames and max_n_iters")
        extra = ["algorithm.share_param_critic=False"] if name == "mappo" else []
        experiment = small_experiment(f"algorithm={name}", "experiment.checkpoint_at_end=True", *extra)
        experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    reloaded = Experiment.reload_from_file(str(checkpoint))
    assert reloaded.total_frames == 512
    for group, loss in experiment.losses.items():
        for key, value in loss.state_dict().items():
            if torch.is_tensor(value):
                torch.testing.assert_close(reloaded.losses[group].state_dict()[key], value)
    reloaded.evaluate()


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("name", sorted({*shipped_algorithms()} - {"frozen", "scripted"}))
def test_every_algorithm_trains_on_a_task_that_is_not_ours(name: str, continuous: bool, small_experiment) -> None:
    experiment = small_experiment(
        f"algorithm={name}",
        "task=vmas/simple_tag",
        "task.max_steps=32",
        f"experiment.prefer_continuous_actions={continuous}",
        *(["algorithm.n_focal=3"] if name == "mixed" else []),
        preset=None,
    )
    experiment.run()
    assert experiment.continuous_actions == continuous


@pytest.mark.parametrize("layer", ["gru", "lstm", "gnn"])
def test_models_of_benchmarl(layer: str, small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "task=social_dilemmas/prisoners_dilemma",
        "task.grouping=one_group",
        f"model=layers/{layer}",
        preset=None,
    )
    experiment.run()


def test_benchmark_of_several_algorithms(tmp_path: Path) -> None:
    config = ExperimentConfig.get_from_yaml()
    config.max_n_iters, config.max_n_frames = 1, None
    config.on_policy_collected_frames_per_batch = config.evaluation_interval = 256
    config.on_policy_n_envs_per_worker, config.on_policy_minibatch_size = 8, 256
    config.on_policy_n_minibatch_iters = 1
    config.loggers, config.save_folder = [], str(tmp_path)
    model = MlpConfig(num_cells=[8], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    ippo = algorithm_config_registry["ippo"].get_from_yaml()
    Benchmark(
        algorithm_configs=[ReciprocatorConfig.get_from_yaml(), ippo],
        model_config=model,
        tasks=[SocialDilemmaTask.STAG_HUNT.get_from_yaml(), SocialDilemmaTask.CHICKEN.get_from_yaml()],
        seeds={0},
        experiment_config=config,
        critic_model_config=model,
    ).run_sequential()
    assert len(list(tmp_path.glob("*/*.json"))) == 4
