"""Experiments of two short iterations, and how a check says what is amiss."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarl.environments import task_config_registry
from benchmarl.experiment import Experiment
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.agents.play import joint_observations
from benchmarl_reciprocator.extensions import find_yaml
from benchmarl_reciprocator.plugin.experiments import load_experiment
from benchmarl_reciprocator.tasks.groups import seats
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

SMALL = (
    "experiment.max_n_iters=2",
    "experiment.max_n_frames=null",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=128",
    "experiment.on_policy_n_minibatch_iters=1",
    "experiment.off_policy_n_envs_per_worker=8",
    "experiment.off_policy_collected_frames_per_batch=256",
    "experiment.off_policy_n_optimizer_steps=2",
    "experiment.off_policy_train_batch_size=64",
    "experiment.off_policy_memory_size=1024",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
    "experiment.checkpoint_at_end=True",
    "experiment.loggers=[]",
)
# Images of any size from 2 x 2 on.
CNN = ("cnn_num_cells=[4]", "cnn_kernel_sizes=2", "cnn_strides=1", "cnn_paddings=0")


def require(condition: object, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` unless ``condition`` holds: also where Python leaves out asserts."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into an ``AssertionError`` that begins with ``what``."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    except Exception as error:  # what others wrote can raise anything
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def overrides_for(task: SocialDilemmaClass) -> list[str]:
    """The task by its preset where it has one of its name, else with the grouping that the algorithm needs and models
    that take what its agents observe.
    """
    name = task.name.lower()
    if find_yaml("preset", name) is not None:
        return [f"+preset={name}"]
    chosen = ["experiment=social_dilemmas", f"task={task.env_name()}/{name}"]
    if "grouping" in task.config:
        chosen.append("task.grouping=auto")
    env = task.for_algorithm(needs_joint_group=False).options.make_env(num_envs=1, device="cpu", seed=0)
    images = joint_observations(env, env.reset()).ndim == 5
    for model in ("model", "critic_model"):
        chosen.append(f"model{'' if model == 'model' else '@critic_model'}=layers/{'cnn' if images else 'small_mlp'}")
        chosen += [f"{model}.{option}" for option in CNN] if images else []
    return chosen


def small_experiment(folder: Path, overrides: Sequence[str]) -> Experiment:
    """An experiment that is ready to run, from the overrides of the command line."""
    return load_experiment([*overrides, *SMALL, f"experiment.save_folder={folder}"])


def task_of(name: str) -> SocialDilemmaClass:
    """The social dilemma of a name, with the options of its yaml.

    Raises:
        AssertionError: if none is registered.
    """
    environment = SocialDilemmaClass.env_name()
    known = [known for known in task_config_registry if known.startswith(environment)]
    require(f"{environment}/{name}" in known, f"it must be registered as one of {', '.join(known)}")
    task = task_config_registry[f"{environment}/{name}"].get_from_yaml()
    require(isinstance(task, SocialDilemmaClass), f"{environment}/{name} must be registered by register_task")
    return cast(SocialDilemmaClass, task)


def act(tensordict: TensorDictBase, actions: Tensor, env: Any) -> TensorDictBase:
    """``tensordict`` with the actions ``[B, N]`` of all agents, whatever the grouping."""
    for group, members in seats(env.group_map).items():
        tensordict.set((group, "action"), actions[:, members])
    return tensordict


def checkpoint_of(experiment: Experiment) -> Path:
    """The newest that it saved."""
    return max((experiment.folder_name / "checkpoints").iterdir(), key=lambda file: file.stat().st_mtime)


def evaluations_of(experiment: Experiment) -> dict[str, Any]:
    """What stands in its JSON, by ``"step_<n>"``."""
    content = json.loads(Path(experiment.logger.json_writer.path).read_text())
    tasks = content[experiment.environment_name]
    return tasks[experiment.task_name][experiment.algorithm_name][f"seed_{experiment.seed}"]
