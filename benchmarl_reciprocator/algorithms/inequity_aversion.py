"""Inequity-averse learners: independent PPO on rewards less what unequal outcomes cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.intrinsic.joint import Carried
from benchmarl_reciprocator.algorithms.intrinsic.own_reward import OwnReward
from benchmarl_reciprocator.algorithms.intrinsic.preferences import inequity_aversion, smoothed_rewards
from benchmarl_reciprocator.algorithms.reciprocity.config import number
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


@dataclass
class InequityOptions:
    """What is disliked, and how much.

    Args:
        envy (float): weight of what others have more, Hughes et al.'s alpha.
        guilt (float): weight of what others have less, their beta. With both at 0: IPPO.
        inequity_lambda (float): what an agent has got lately is smoothed by ``gamma lambda``; 0: the last reward alone.
        inequity_gamma (float, optional): that gamma; null: ``experiment.gamma``.
    """

    envy: float = field(metadata=number(least=0))
    guilt: float = field(metadata=number(least=0))
    inequity_lambda: float = field(metadata=number(least=0, most=1))
    inequity_gamma: float | None = field(metadata=number(least=0, most=1, null=True))


class InequityAversion(OwnReward):
    """Inequity aversion (Hughes et al. 2018, arXiv 1803.08884) on :class:`~benchmarl.algorithms.Ippo`.

    The options are those of :class:`InequityOptions` and of :class:`~benchmarl.algorithms.Ippo`.
    """

    options_class: ClassVar[type] = InequityOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Smoothed rewards after the last batch, [*B, N]
        self._smoothed = Carried()

    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        options = self.options
        gamma = self.experiment_config.gamma if options.inequity_gamma is None else options.inequity_gamma
        initial = self._smoothed.initial(done.shape[:-1])
        smoothed, self._smoothed.value = smoothed_rewards(reward, done, gamma * options.inequity_lambda, initial)
        return inequity_aversion(reward, smoothed, envy=options.envy, guilt=options.guilt)


@dataclass
class InequityAversionConfig(ConfigFromYaml, InequityOptions, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`InequityAversion`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return InequityAversion
