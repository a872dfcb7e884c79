"""What algorithms that look at all agents' rewards have in common."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarl_reciprocator.algorithms.reciprocity.config import check_declared
from benchmarl_reciprocator.tasks.options import check_option

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment


def options_of(declared: type, given: dict[str, Any]) -> Any:
    """Take the options of a dataclass out of those of an algorithm.

    Args:
        declared (type): a dataclass whose fields say what a value must be, see
            :mod:`~benchmarl_reciprocator.algorithms.reciprocity.config`.
        given (dict): all options of the algorithm; those of the dataclass are taken out.

    Raises:
        ValueError: naming the first option that is not what it must be.
    """
    options = declared(**{option.name: given.pop(option.name) for option in fields(declared)})
    check_declared(options, declared)
    return options


def check_individual_rewards(experiment: Experiment) -> None:
    """Raise one ``ValueError`` if there is nobody else, or a group whose agents have one reward in common."""
    algorithm, task = experiment.algorithm_name, experiment.task_name
    n_agents = sum(len(agents) for agents in experiment.group_map.values())
    check_option(
        f"task of algorithm={algorithm}", f"{task} with {n_agents}", n_agents >= 2, "one with at least 2 agents"
    )
    keys = experiment.test_env.reward_keys
    for group in experiment.group_map:
        check_option(
            f"task of algorithm={algorithm}",
            f"{task} with rewards {sorted(map(str, keys))}",
            (group, "reward") in keys,
            f"one with a reward for each agent, at ({group!r}, 'reward')",
        )


class Carried:
    """A running quantity that goes on from one batch to the next, as long as it is of the same environments."""

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def initial(self, shape: torch.Size) -> Tensor | None:
        """What to begin a batch with: what was carried here, if it has the leading ``shape``."""
        if self.value is not None and self.value.shape[: len(shape)] != shape:
            self.value = None
        return self.value
