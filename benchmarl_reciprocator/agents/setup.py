"""What an experiment was made of, as BenchMARL saves it beside the checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments.common import TaskClass
from benchmarl.experiment import ExperimentConfig
from benchmarl.models.common import ModelConfig


class Setup(NamedTuple):
    """What BenchMARL saves of an experiment beside its checkpoints, in this order."""

    task: TaskClass
    options: dict[str, Any]
    algorithm: AlgorithmConfig
    model: ModelConfig
    seed: int
    experiment: ExperimentConfig
    critic_model: ModelConfig


def read_setup(checkpoint: Path) -> Setup:
    """What the experiment of a checkpoint was made of.

    Raises:
        ValueError: if it is not there.
    """
    config = checkpoint.resolve().parent.parent / "config.pkl"
    if not config.is_file():
        raise ValueError(f"there is no {config}, allowed: a checkpoint in the folder of its experiment")
    with open(config, "rb") as opened:
        return Setup(*(pickle.load(opened) for _ in Setup._fields))


def algorithms_by_group(config: Any, group_map: dict[str, list[str]]) -> dict[str, str]:
    """Name of the algorithm of every group, as on the command line.

    Args:
        config (AlgorithmConfig): of the experiment.
        group_map (dict): agents' names by group.
    """
    assign = getattr(config, "assign", None)
    if assign is not None:
        return assign(group_map)
    return dict.fromkeys(group_map, config.associated_class().__name__.lower())


def read_task_file(experiment_folder: Path) -> dict[str, Any] | None:
    """What an experiment noted of its task in ``task.yaml``: ``task``, ``version``, ``cooperation`` and ``packages``;
    ``None`` if there is no such file.
    """
    file = experiment_folder / "task.yaml"
    return yaml.safe_load(file.read_text()) if file.is_file() else None
