"""The method's known failure signatures, told from what an iteration logs."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

SIGNATURES = ("drowning", "starvation", "oscillation", "misfit")


class ReciprocityWarning(UserWarning):
    """A known failure signature of the method, and what to change."""


class FailureSignatures:
    """Watches training and names each known way to fail once, when it is seen, with what to change.

    - Drowning: influence estimated larger than any reward can differ, or next to nothing of the total reward left to
      the task.
    - Starvation: next to no reciprocal reward from the start.
    - Oscillation: the agents' mean reward swings between the extremes seen so far.
    - Misfit: the estimator predicts fresh rewards worse than their mean does.

    Args:
        window (int): iterations over which a signature must hold.
        drowned_share (float): share of the intrinsic in the total absolute reward above which the task is drowned.
        starved_share (float): share below which reciprocity is starved.
        swings (int): swings between the extremes within two windows that count as oscillation.

    Attributes:
        raised (set of str): which of :data:`SIGNATURES` have been seen.
    """

    def __init__(
        self,
        window: int = 20,
        drowned_share: float = 0.98,
        starved_share: float = 1e-3,
        swings: int = 4,
    ) -> None:
        self.drowned_share = drowned_share
        self.starved_share = starved_share
        self.swings = swings
        self._shares: deque[float] = deque(maxlen=window)
        self._excess: deque[float] = deque(maxlen=window)
        self._explained: deque[float] = deque(maxlen=window)
        self._levels: deque[int] = deque(maxlen=2 * window)
        self._range = (math.inf, -math.inf)
        self._extremes: tuple[float, float] | None = None
        self.raised: set[str] = set()
        self._seen = 0

    def observe(
        self,
        reward: Tensor,
        influence: Tensor,
        share: float,
        explained: float | None,
        immediate_only: bool,
    ) -> list[str]:
        """Take in one iteration after the warm-up.

        Args:
            reward (Tensor): the task's rewards, ``[*B, T, N]``.
            influence (Tensor): value influence, ``[*B, T, N, N]``.
            share (float): share of the intrinsic in the total absolute reward of the Reciprocators.
            explained (float, optional): explained variance of the estimator's reward prediction on fresh data.
            immediate_only (bool): whether the influence leaves out the future.

        Returns:
            list[str]: a message for each signature seen for the first time.
        """
        self._seen += 1
        low, high = (extreme.item() for extreme in torch.aminmax(reward))
        self._range = (min(low, self._range[0]), max(high, self._range[1]))
        self._shares.append(share)
        reward_range = self._range[1] - self._range[0]
        if immediate_only and reward_range > 0:
            self._excess.append(_large(influence) / reward_range)
        if explained is not None and explained == explained:
            self._explained.append(explained)
        self._follow_level(reward.mean().item())
        texts = self._drowning(), self._starvation(), self._oscillation(), self._misfit()
        found = dict(zip(SIGNATURES, texts, strict=True))
        new = {name: text for name, text in found.items() if text and name not in self.raised}
        self.raised.update(new)
        return list(new.values())

    def _drowning(self) -> str | None:
        if _full(self._excess) and min(self._excess) > 1.5:
            return (
                f"the estimated value influence is {min(self._excess):.1f} times as large as any two rewards differ: "
                "it is over-estimated and drowns the task's reward. Train the estimator more "
                "(algorithm.estimator_epochs, algorithm.warmup) or more slowly (algorithm.estimator_lr)."
            )
        if _full(self._shares) and min(self._shares) > self.drowned_share:
            return (
                f"the reciprocal reward makes up {min(self._shares):.3f} of the total: it drowns the task's. "
                "Lower algorithm.reward_weight_end, or let it grow (algorithm.reward_weight_frames)."
            )
        return None

    def _starvation(self) -> str | None:
        starved = _full(self._shares) and max(self._shares) < self.starved_share
        if starved and self._seen == self._shares.maxlen:
            return (
                f"the reciprocal reward has made up less than {self.starved_share} of the total from the start: "
                "agents are not seen to influence each other. Raise algorithm.reward_weight_end, fit the estimator for "
                "longer (algorithm.estimator_epochs), keep a longer algorithm.buffer_batches, or, where actions work "
                "with delay, set algorithm.future_influence=true."
            )
        return None

    def _oscillation(self) -> str | None:
        levels = [level for level in self._levels if level]
        swings = sum(a != b for a, b in zip(levels, levels[1:]))
        if swings >= self.swings:
            return (
                f"cooperation oscillates: the agents' mean reward swung {swings} times between its extremes in "
                f"{len(self._levels)} iterations. Keep a longer algorithm.buffer_batches, lower "
                "algorithm.reward_weight_end or experiment.lr, or raise algorithm.entropy_coef."
            )
        return None

    def _misfit(self) -> str | None:
        if _full(self._explained) and max(self._explained) < 0:
            return (
                f"the estimator has predicted fresh rewards worse than their mean for "
                f"{len(self._explained)} iterations "
                f"(explained variance {self._explained[-1]:.2f}): its value influence is noise. Raise "
                "algorithm.estimator_epochs, lower algorithm.estimator_lr, or shorten algorithm.buffer_batches."
            )
        return None

    def _follow_level(self, mean: float) -> None:
        """Note whether the mean reward is in the upper or lower fifth of what has been seen (1, -1), or between (0)."""
        low, high = self._extremes or (mean, mean)
        self._extremes = low, high = min(low, mean), max(high, mean)
        if high - low <= 0.2 * (self._range[1] - self._range[0]):
            self._levels.append(0)
            return
        position = (mean - low) / (high - low)
        self._levels.append(1 if position > 0.8 else -1 if position < 0.2 else 0)


def _large(influence: Tensor) -> float:
    """All but the largest hundredth of the absolute influences are below this."""
    sizes = influence.abs().flatten()
    return sizes.kthvalue(max(1, int(0.99 * len(sizes)))).values.item()


def _full(values: deque) -> bool:
    return len(values) == values.maxlen
