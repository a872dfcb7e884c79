"""What an experiment was made of, as BenchMARL saves it beside the checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments.common import TaskClass
from benchmarl.experiment import ExperimentConfig
from benchmarl.models.common import ModelConfig

from benchmarl_reciprocator.plugin.benchmarl_private import read_pickled


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
    return Setup(**read_pickled(config))


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
