"""The unit in which rewards, and with them value influence, are counted."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

DEVIATION = "deviation"
# Targets of the estimator with a smaller deviation, in this unit, are taken to be constant.
SMALLEST = 1e-4
# The least share of the rewards' variance that counts as explained, and what rounding may make of a constant reward
LEAST_SHARE = 0.01
ROUNDING = 1e-6


class RewardUnit:
    """A fixed number, or the standard deviation of the rewards as far as state and joint action explain it.

    The reciprocal reward is a product of two influences, so it goes with the square of the rewards. In units of the
    rewards' deviation it does not depend on their scale, and neither does the sum with the task's reward.

    Of every collected batch, the deviation is that of all agents' rewards, each around its own mean: offsets do not
    matter, and a favour counts for what it is worth to whoever gets it. Noise that nothing explains is left out by the
    estimator's share of explained variance on these rewards, before it learned from them. The unit is the largest such
    deviation so far. It never falls: when agents come to agree, rewards vary less, which is no change of their scale.

    Until a share is known the whole deviation counts, and the unit is 1 as long as no reward has varied.

    Args:
        unit (float or str): the unit, in units of the task's reward, or ``"deviation"``.

    Raises:
        ValueError: if it is neither a finite number above 0 nor ``"deviation"``.

    Examples:
        >>> import torch
        >>> unit = RewardUnit("deviation")
        >>> unit.observe(torch.tensor([[3.0, 10.0], [1.0, 10.0]]), explained=None)
        >>> round(unit.value, 4)
        0.7071
        >>> unit.observe(torch.tensor([[30.0, 0.0], [10.0, 20.0]]), explained=0.25)
        >>> unit.value
        5.0
    """

    def __init__(self, unit: float | str = 1.0) -> None:
        if unit != DEVIATION and (isinstance(unit, str) or not 0 < unit < math.inf):
            raise ValueError(f"unit must be a finite number > 0 or {DEVIATION}, but is {unit!r}")
        self._fixed = None if isinstance(unit, str) else float(unit)
        # The largest so far
        self._deviation = 0.0
        self._explained = 0.0

    @property
    def value(self) -> float:
        """The unit now, in units of the task's reward."""
        return self._fixed or self._explained or self._deviation or 1.0

    def observe(self, reward: Tensor, explained: float | None) -> None:
        """Take in the rewards of a batch.

        Args:
            reward (Tensor): ``[*B, N]``.
            explained (float, optional): the share of their variance that the estimator explains; none, or ``nan``, if
                that is not known.
        """
        if self._fixed is not None:
            return
        rewards = reward.flatten(0, -2).double()
        deviation = rewards.var(0, unbiased=False).mean().sqrt().item()
        if deviation <= ROUNDING * rewards.abs().max().item():
            return
        self._deviation = max(self._deviation, deviation)
        if explained is not None and not math.isnan(explained):
            share = min(max(explained, LEAST_SHARE), 1.0)
            self._explained = max(self._explained, deviation * math.sqrt(share))

    def state_dict(self) -> dict[str, float]:
        """What was seen of the rewards, as plain numbers."""
        return {"deviation": self._deviation, "explained": self._explained}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that :meth:`state_dict` gave."""
        self._deviation, self._explained = state["deviation"], state["explained"]
