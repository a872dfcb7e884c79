"""What algorithms share that act in a group without learning in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from benchmarl.algorithms.common import Algorithm, AlgorithmConfig
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule

from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


class NotTrained(Algorithm):
    """An algorithm whose groups have no parameters and leave ``experiment.train_group_map``, in on-policy and in
    off-policy experiments.
    """

    def _get_loss(
        self, group: str, policy_for_loss: TensorDictModule, continuous: bool
    ) -> tuple[torch.nn.Module, bool]:
        self.experiment.train_group_map.pop(group, None)
        return torch.nn.Module(), False

    def _get_parameters(self, group: str, loss: torch.nn.Module) -> dict[str, Iterable]:
        return {}

    def _get_policy_for_collection(
        self, policy_for_loss: TensorDictModule, group: str, continuous: bool
    ) -> TensorDictModule:
        return policy_for_loss

    def process_batch(self, group: str, batch: TensorDictBase) -> TensorDictBase:
        return batch


@dataclass
class NotTrainedConfig(ConfigFromYaml, AlgorithmConfig):
    """Configuration dataclass for :class:`NotTrained`."""

    @staticmethod
    def on_policy() -> bool:
        return True

    @staticmethod
    def supports_continuous_actions() -> bool:
        return False

    @staticmethod
    def supports_discrete_actions() -> bool:
        return True


def groups_of(member: Algorithm) -> list[str]:
    """The groups that an algorithm has in its experiment: all, or its own in a mixed population."""
    algorithm = member.experiment.algorithm
    members = getattr(algorithm, "algorithms_map", dict.fromkeys(member.group_map, algorithm))
    return [group for group, other in members.items() if other is member]
