"""A Reciprocator that is averse to losses: what it loses counts more than what it gains."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

import torch
from benchmarl.algorithms.common import Algorithm
from tensordict import TensorDictBase

from benchmarl_reciprocator.algorithms.reciprocator import Reciprocator, ReciprocatorConfig


class CautiousReciprocator(Reciprocator):
    """A :class:`Reciprocator` that takes a negative reward ``loss_aversion`` times (Kahneman and Tversky 1979).

    Args:
        loss_aversion (float): above 1: losses loom larger than gains.
    """

    def __init__(self, experiment, loss_aversion: float, **options) -> None:
        super().__init__(experiment, **options)
        if loss_aversion <= 0:
            raise ValueError(f"algorithm.loss_aversion must be a number > 0, but is {loss_aversion!r}")
        self.loss_aversion = loss_aversion

    def process_batch(self, group: str, batch: TensorDictBase) -> TensorDictBase:
        key = ("next", group, "reward")
        reward = batch.get(key)
        batch = batch.copy().set(key, torch.where(reward < 0, self.loss_aversion * reward, reward))
        return super().process_batch(group, batch)


@dataclass
class CautiousReciprocatorConfig(ReciprocatorConfig):
    """Configuration dataclass for :class:`CautiousReciprocator`.

    Args:
        loss_aversion (float): how many times a negative reward counts.
    """

    loss_aversion: float = MISSING

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return CautiousReciprocator
