"""Learners with a social value orientation: independent PPO on rewards that prefer a share for the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.intrinsic.joint import Carried
from benchmarl_reciprocator.algorithms.intrinsic.own_reward import OwnReward
from benchmarl_reciprocator.algorithms.intrinsic.preferences import (
    FORMS,
    smoothed_rewards,
    social_value_orientation,
)
from benchmarl_reciprocator.algorithms.reciprocity.config import choice, number
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml
from benchmarl_reciprocator.tasks.options import check_option


@dataclass
class OrientationOptions:
    """The orientation.

    Args:
        svo_form (str): angle (as published; for tasks whose rewards are never negative) | linear.
        svo_angle (float): the angle that is preferred, in degrees from -90 to 180: 0 is selfish, 45 prosocial, 90
            altruistic. With the linear form, 0 is IPPO.
        svo_weight (float): weight of the angle's deviation; 0: IPPO. The linear form has none.
        svo_smoothing (float): the angle is taken of rewards that are smoothed by this factor a step, in ``[0, 1]``; 0:
            of the rewards themselves, as published.
    """

    svo_form: str = field(metadata=choice(FORMS))
    svo_angle: float = field(metadata=number(least=-90, most=180))
    svo_weight: float = field(metadata=number(least=0))
    svo_smoothing: float = field(metadata=number(least=0, most=1))


class SocialValueOrientation(OwnReward):
    """Social value orientation (McKee et al. 2020, arXiv 2002.02325) on :class:`~benchmarl.algorithms.Ippo`.

    The options are those of :class:`OrientationOptions` and of :class:`~benchmarl.algorithms.Ippo`.
    """

    options_class: ClassVar[type] = OrientationOptions

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Smoothed rewards after the last batch, [*B, N]
        self._smoothed = Carried()

    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        options, seen = self.options, None
        if options.svo_form == "angle":
            # Where everybody loses, the angle is the same whatever they lose.
            lowest = f"angle on task={self.experiment.task_name} with a reward of {reward.min().item():g}"
            check_option("algorithm.svo_form", lowest, bool((reward >= 0).all()), "linear where rewards are negative")
            initial = self._smoothed.initial(done.shape[:-1])
            seen, self._smoothed.value = smoothed_rewards(reward, done, options.svo_smoothing, initial)
        return social_value_orientation(
            reward, options.svo_angle, form=options.svo_form, weight=options.svo_weight, seen=seen
        )


@dataclass
class SocialValueOrientationConfig(ConfigFromYaml, OrientationOptions, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`SocialValueOrientation`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return SocialValueOrientation
