"""MATE: independent PPO whose agents thank each other by tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.alignment.joint_advantages import joint_advantages, processed_batches
from benchmarl_reciprocator.algorithms.intrinsic.joint import Carried
from benchmarl_reciprocator.algorithms.intrinsic.own_reward import OwnReward
from benchmarl_reciprocator.algorithms.intrinsic.tokens import (
    IMPROVEMENTS,
    acknowledged_reward,
    mean_reward_so_far,
)
from benchmarl_reciprocator.algorithms.not_trained import groups_of
from benchmarl_reciprocator.algorithms.reciprocity.config import choice, number
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml
from benchmarl_reciprocator.tasks.groups import seats


@dataclass
class TokenOptions:
    """What is exchanged.

    Args:
        mate_token (float): what a token is worth, in units of reward; 0: IPPO.
        mate_improvement (str): when an agent is better off: value (than its critic expected) | reward (than its mean
            in the episode so far).
    """

    mate_token: float = field(metadata=number(least=0))
    mate_improvement: str = field(metadata=choice(IMPROVEMENTS))


class Mate(OwnReward):
    """MATE (Phan et al. 2022, AAMAS) on :class:`~benchmarl.algorithms.Ippo`.

    All agents that learn by it are each other's neighbours; those that learn by something else exchange no tokens. The
    critic learns what comes of rewards and tokens. The options are those of :class:`TokenOptions` and of
    :class:`~benchmarl.algorithms.Ippo`.
    """

    options_class: ClassVar[type] = TokenOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._clock = EpisodeClock()
        # Sum of the rewards in the episode after the last batch, [*B, N]
        self._total = Carried()

    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        ours = groups_of(self)
        takes_part = torch.zeros(reward.shape[-1], dtype=torch.bool, device=reward.device)
        for group, members in seats(self.group_map).items():
            takes_part[members] = group in ours
        if self.options.mate_improvement == "reward":
            initial = self._total.initial(done.shape[:-1])
            mean, self._total.value = mean_reward_so_far(reward, done, self._clock(done), initial)
            improvement = reward - mean
        else:
            processed = processed_batches(self.experiment, batch, ours)
            joint = joint_advantages(self.experiment, batch, reward, processed)
            improvement = joint.by_lambda(0.0).to(reward.device)
        return acknowledged_reward(reward, improvement, self.options.mate_token, takes_part=takes_part)


@dataclass
class MateConfig(ConfigFromYaml, TokenOptions, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`Mate`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Mate
