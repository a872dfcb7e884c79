"""Prosocial learners: independent PPO on rewards of which each agent gives a part to the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.intrinsic.own_reward import OwnReward
from benchmarl_reciprocator.algorithms.intrinsic.preferences import reward_transfer
from benchmarl_reciprocator.algorithms.reciprocity.config import number
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


@dataclass
class RewardTransfer:
    """What is given away.

    Args:
        self_interest (float, optional): the share of its reward that an agent keeps, in ``[0, 1]``; the others get the
            rest in equal parts. 1: IPPO. Null: one part in ``N``, with which everybody learns from the mean reward.
    """

    self_interest: float | None = field(metadata=number(least=0, most=1, null=True))


class Prosocial(OwnReward):
    """Reward transfer on :class:`~benchmarl.algorithms.Ippo` (prosocial learners: Peysakhovich and Lerer 2018, arXiv
    1709.02865; self-interest level: Willis, Du, Leibo and Luck 2023, arXiv 2310.12928).

    The options are those of :class:`RewardTransfer` and of :class:`~benchmarl.algorithms.Ippo`.
    """

    options_class: ClassVar[type] = RewardTransfer

    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        share = self.options.self_interest
        return reward_transfer(reward, 1 / reward.shape[-1] if share is None else share)


@dataclass
class ProsocialConfig(ConfigFromYaml, RewardTransfer, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`Prosocial`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Prosocial
