"""The rules of negotiation: who values what, and who gets what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.options import check_option, one_of

N_ITEMS = 3
DIVISIONS = ("when_above", "proportional")
# Of every way to draw values: the largest value and the largest number of an item, by which rewards are scaled.
LARGEST = {"high_contrast": (5, 1), "uniform": (5, 5), "high_contrast_fixed": (5, 1), "fixed": (10, 4)}
FIXED = {
    "high_contrast_fixed": ([[5.0, 5.0, 1.0], [1.0, 1.0, 5.0]], [1.0, 1.0, 1.0]),
    "fixed": ([[10.0, 3.0, 2.0], [3.0, 10.0, 2.0]], [4.0, 4.0, 4.0]),
}


@dataclass(frozen=True, kw_only=True)
class NegotiationRules:
    """Rules of negotiation.

    Args:
        values (str): how what items are worth is drawn, anew in every round. ``"high_contrast"``: to the first agent 1
            or 5, each item by itself, and to the other what lacks to 6; one of each item. ``"uniform"``: 1 to 5 to
            either agent, 1 to 5 of each item, all by themselves. Always the same: ``"high_contrast_fixed"``, (5, 5, 1)
            and (1, 1, 5), one of each; ``"fixed"``, (10, 3, 2) and (3, 10, 2), four of each.
        division (str): ``"when_above"``: each gets the share ``claim / max(both claims, max_claim)`` of an item, so
            that what nobody claims is lost. ``"proportional"``: ``claim / both claims``.
        max_claim (int): the most that can be claimed of an item.
    """

    values: str = "high_contrast"
    division: str = "when_above"
    max_claim: int = 5

    def check(self) -> None:
        """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
        check_option("task.values", self.values, self.values in LARGEST, one_of(LARGEST))
        check_option("task.division", self.division, self.division in DIVISIONS, one_of(DIVISIONS))
        valid = type(self.max_claim) is int and 1 <= self.max_claim <= 9
        check_option("task.max_claim", self.max_claim, valid, "an integer from 1 to 9")

    @property
    def scale(self) -> int:
        """What rewards are divided by: the most that all items can be worth to an agent."""
        value, pool = LARGEST[self.values]
        return N_ITEMS * value * pool

    def draw(self, n: int, random: Callable[..., Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
        """Values and numbers of items for ``n`` rounds.

        Args:
            n (int): how many.
            random (callable): gives uniform random numbers of a shape.
            device (torch.device): where it gives them.

        Returns:
            tuple[Tensor, Tensor]: what an item is worth to each agent ``[n, 2, 3]``, and how many there are ``[n, 3]``.
        """
        if self.values == "high_contrast":
            first = torch.where(random(n, N_ITEMS) < 0.5, 5.0, 1.0)
            return torch.stack([first, 6 - first], 1), torch.ones_like(first)
        if self.values == "uniform":
            numbers = (random(n, 3, N_ITEMS) * 5).floor() + 1
            return numbers[:, :2], numbers[:, 2]
        values, pool = (torch.tensor(numbers, device=device) for numbers in FIXED[self.values])
        return values.expand(n, -1, -1), pool.expand(n, -1)

    def divide(self, claims: Tensor, values: Tensor, pool: Tensor) -> Tensor:
        """What the agents get.

        Args:
            claims (Tensor): of each item, in ``[0, max_claim]``, ``[*B, 2, 3]``.
            values (Tensor): of each item to each agent, ``[*B, 2, 3]``.
            pool (Tensor): how many there are of each item, ``[*B, 3]``.

        Returns:
            Tensor: rewards ``[*B, 2]``.
        """
        both = claims.sum(-2, keepdim=True)
        # What nobody claims goes to nobody in either way.
        least = float(self.max_claim) if self.division == "when_above" else torch.finfo(claims.dtype).tiny
        shares = claims / both.clamp(min=least)
        return (shares * values * pool.unsqueeze(-2)).sum(-1) / self.scale
