"""What algorithms share that act in a group without learning in it, or that add to the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from benchmarl.algorithms.common import Algorithm, AlgorithmConfig
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torchrl.envs import EnvBase, Transform, TransformedEnv

from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


def with_transform(env: EnvBase, transform: Transform) -> TransformedEnv:
    """``env`` with one transform more, as one environment: TorchRL will not take nested ones apart any more."""
    if isinstance(env, TransformedEnv):
        return env.append_transform(transform)
    return TransformedEnv(env, transform)


class AddsToEnvironment(Algorithm):
    """An algorithm that cannot do without what its ``process_env_fun`` adds to the environment."""

    _asked_for_environment = False

    def process_env_fun(self, env_fun: Callable[[], EnvBase]) -> Callable[[], EnvBase]:
        self._asked_for_environment = True
        return super().process_env_fun(env_fun)

    def check_environment(self, what: str) -> None:
        """Raise one ``ValueError`` if the environment was made without this algorithm: BenchMARL's own ensembles do not
        ask their members.

        Args:
            what (str): for the error, the algorithm or an option of it.
        """
        if not self._asked_for_environment:
            ensemble = type(self.experiment.algorithm).__name__
            raise ValueError(
                "the ensemble must be a mixed population (algorithm=mixed, benchmarl_reciprocator.MixedConfig), which "
                f"lets its members add to the environment as {what} needs it, but is {ensemble!r}"
            )


class NotTrained(AddsToEnvironment):
    """An algorithm whose groups have no parameters and leave ``experiment.train_group_map``, in on-policy and in
    off-policy experiments.
    """

    def _get_loss(
        self, group: str, policy_for_loss: TensorDictModule, continuous: bool
    ) -> tuple[torch.nn.Module, bool]:
        self.check_environment(type(self).__name__.lower())
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
