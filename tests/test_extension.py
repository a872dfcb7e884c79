"""What users add: a task of their own, images, an estimator with an encoder; and the examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from fresh_python import fresh_python
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaEnv, register_task
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SHORT = (
    "algorithm=reciprocator",
    "experiment=social_dilemmas",
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=512",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=512",
    "experiment.evaluation_episodes=4",
)


class ImageGame(SocialDilemmaEnv):
    """Two agents see a 3x3 picture of two channels and may help each other."""

    def __init__(self, **kwargs) -> None:
        super().__init__([2, 2], observation_shape=[3, 3, 2], state_shape=[3, 3, 2], **kwargs)
        self._picture = torch.zeros(*self.batch_size, 3, 3, 2)

    def start(self, where: Tensor) -> None:
        self._picture = torch.where(where[:, None, None, None], self.random(*self._picture.shape), self._picture)

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (1.0 - actions).flip(-1), {}

    def observations(self) -> Tensor:
        return self._picture.unsqueeze(1).expand(-1, 2, 3, 3, 2)

    def state(self) -> Tensor:
        return self._picture


@dataclass
class ImageConfig:
    max_steps: int = 32
    grouping: str = "per_agent"

    def make_env(self, num_envs: int, device: str, seed: int | None) -> ImageGame:
        return ImageGame(num_envs=num_envs, max_steps=self.max_steps, grouping=self.grouping, device=device, seed=seed)

    def metrics(self, trajectories, valid) -> dict[str, Tensor]:
        return {}


@pytest.fixture(scope="module")
def image_task() -> str:
    module = ModuleType("image_game")
    module.TaskConfig = ImageConfig
    register_task(module)
    return "task=social_dilemmas/image_game"


@pytest.mark.parametrize("encoder", ["cnn", None])
def test_images_for_policy_and_estimator(encoder: str | None, image_task: str, small_experiment) -> None:
    check_env_specs(ImageConfig().make_env(4, "cpu", 0))
    cnn = [
        f"{model}.{key}={value}"
        for model in ("model", "critic_model")
        for key, value in {"cnn_num_cells": [4], "cnn_kernel_sizes": 2}.items()
    ]
    options = (
        [] if encoder is None else ["algorithm.estimator_encoder_options={cnn_num_cells: [4], cnn_kernel_sizes: 2}"]
    )
    experiment = small_experiment(
        "algorithm=reciprocator",
        image_task,
        "model=layers/cnn",
        "model@critic_model=layers/cnn",
        *cnn,
        f"algorithm.estimator_encoder={encoder or 'null'}",
        "algorithm.estimator_encoder_features=8",
        *options,
        preset=None,
    )
    network = Reciprocity.of(experiment).learner.loss.estimator_network
    before = [parameter.clone() for parameter in Reciprocity.of(experiment).learner.loss.parameters()]
    experiment.run()
    assert (network.encoder is not None) == (encoder is not None)
    after = Reciprocity.of(experiment).learner.loss.parameters()
    assert [tuple(a.shape) for a, b in zip(before, after) if torch.equal(a, b)] == []


def test_unknown_encoder_options_are_named(image_task: str, small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.estimator_encoder_options.*kernel=2"):
        small_experiment(
            "algorithm=reciprocator",
            image_task,
            "algorithm.estimator_encoder=cnn",
            "algorithm.estimator_encoder_options={kernel: 2}",
            "model.num_feature_dims=3",
            "critic_model.num_feature_dims=3",
            preset=None,
        )


def test_tasks_that_cannot_be_registered_are_refused(image_task: str) -> None:
    with pytest.raises(ValueError, match="must define a dataclass TaskConfig"):
        register_task(ModuleType("empty"))
    taken = ModuleType("image_game")
    taken.TaskConfig = ImageConfig
    with pytest.raises(ValueError, match="a task must have a name of its own, but 'image_game' is one of"):
        register_task(taken)

    @dataclass
    class NoDefault(ImageConfig):
        rounds: int = "???"

    @dataclass
    class NoEnvironment:
        max_steps: int = 8

    module = ModuleType("no_environment")
    module.TaskConfig = NoEnvironment
    with pytest.raises(ValueError, match=r"TaskConfig must have a method make_env"):
        register_task(module)
    with pytest.raises(ValueError, match=r"a name must be in lower case, of letters, .* but is 'Mining'"):
        register_task(module, "Mining")
    module = ModuleType("no_default")
    module.TaskConfig = NoDefault
    with pytest.raises(ValueError, match=r"TaskConfig\.rounds must have a default, or a value in a yaml file"):
        register_task(module)


# What is told to each shortens it.
COMMANDS = [
    ["influence_in_torchrl.py"],
    ["custom_payoffs.py", *SHORT[2:]],
    ["add_to_a_benchmark.py", "--frames", "160", "--no-evaluation"],
    ["schelling.py", "--results", "schelling", "--tasks", "harvest", "--episodes", "2"],
    [
        "influence_study.py",
        "--results",
        "study",
        "--preset",
        "stag_hunt",
        "--seeds",
        "1",
        "--iterations",
        "1",
        *SHORT[3:],
    ],
    ["best_fixed_policy.py", "--generations", "1", "--candidates", "4", "--draws", "1", "--final-draws", "2"],
    ["benchmarks/grid_games.py", "harvest", "--num-envs", "2", "--steps", "2", "--rounds", "1", "--results", "games"],
    ["benchmarks/published_sizes.py", "--output", "sizes.md", "--presets", "stag_hunt", "--algorithms", "ippo"],
    ["benchmarks/speed.py", "--results", "speed", "--only", "grid worlds", "--seconds", "0.01"],
]
# Tasks that a script registers are known in its process alone.
WITH_TASKS = [
    ["custom_task.py", "task=social_dilemmas/custom_task", *SHORT],
    [
        "custom_grid_world.py",
        "task=social_dilemmas/mining",
        "model=layers/small_cnn",
        "model@critic_model=layers/small_cnn",
        *SHORT,
    ],
]


@pytest.mark.parametrize("commands", [COMMANDS, *([command] for command in WITH_TASKS)], ids=lambda all: all[0][0])
def test_examples_run(commands: list[list[str]], tmp_path: Path) -> None:
    # In one process, since each of its own would load BenchMARL anew.
    run_all = f"""
import json, runpy, sys
for script, *arguments in json.loads(sys.argv[1]):
    sys.argv, sys.path[0] = [script, *arguments], {str(EXAMPLES)!r}
    runpy.run_path(f"{EXAMPLES}/{{script}}", run_name="__main__")
"""
    done = fresh_python(run_all, json.dumps(commands), cwd=tmp_path)
    assert done.code == 0, done.printed[-2000:]


def test_all_examples_are_run() -> None:
    # melting_pot.py needs a package that is not at hand: test_melting_pot.py runs it with a stand-in. new_games.py
    # reads the results of a suite that trains for an hour: test_new_games.py has some of its own.
    run = {command[0] for command in (*COMMANDS, *WITH_TASKS)}
    scripts = {
        file.relative_to(EXAMPLES).as_posix() for place in ("*.py", "benchmarks/*.py") for file in EXAMPLES.glob(place)
    }
    assert scripts - {"melting_pot.py", "new_games.py"} == run
