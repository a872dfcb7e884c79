"""Every registered task and algorithm does what this package and BenchMARL expect of one: no list, no preset needed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.benchmark import Benchmark
from benchmarl.environments import task_config_registry
from benchmarl.experiment import ExperimentConfig
from benchmarl.models import MlpConfig

from benchmarl_reciprocator import ReciprocatorConfig, SocialDilemmaTask, register
from benchmarl_reciprocator.testing import check_algorithm, check_task

register()
TASKS = sorted(
    name.partition("/")[2] for name in task_config_registry if name.startswith(SocialDilemmaTask.COINS.env_name())
)
# One of each kind of BenchMARL's own. A frozen agent needs a checkpoint, see test_frozen.py.
STOCK = {"ippo", "mappo", "qmix"}
OTHERS = {name for name, config in algorithm_config_registry.items() if not config.__module__.startswith("benchmarl.")}
# A task of each kind of environment: what QMIX needs of one is in the core that the others share with it.
OFF_POLICY = {"prisoners_dilemma", "coins", "cleanup", "shared_pasture", "negotiation", "fishery", "matrix_meta_game"}
ALGORITHMS = sorted(STOCK | OTHERS - {"frozen"})


@pytest.mark.parametrize("name", TASKS)
def test_task(name: str) -> None:
    check_task(name, algorithms=("reciprocator", "qmix") if name in OFF_POLICY else ("reciprocator",))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithm(name: str) -> None:
    check_algorithm(name)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_presets_lead_into_no_pairing_that_is_warned_of(name: str, small_experiment) -> None:
    with warnings.catch_warnings():
        # Nor does registration lead into BenchMARL's warnings.
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "max_n_frames and max_n_iters")
        extra = ["algorithm.share_param_critic=False"] if name == "mappo" else []
        small_experiment(f"algorithm={name}", *extra)


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
