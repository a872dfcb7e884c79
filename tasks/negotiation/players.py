"""Scripted negotiators, with discrete actions, from what an agent observes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.negotiation.game import OBSERVED_SCALE
from benchmarl_reciprocator.tasks.negotiation.rules import N_ITEMS
from benchmarl_reciprocator.tasks.players import Player


class Seen(NamedTuple):
    """What an agent observes, by what it is, each ``[*B, 3]``."""

    pool: Tensor
    own_values: Tensor
    own_claims: Tensor
    other_values: Tensor
    other_claims: Tensor


class Negotiator(Player):
    """Claims all of what is worth more to itself than to the other. Of what is worth the same to both it claims all or
    nothing, by the throw of a coin; and of what is worth more to the other as much as :meth:`greed` says.

    Args:
        max_claim (int): the most that can be claimed of an item.
    """

    def __init__(self, max_claim: int) -> None:
        self.max_claim = max_claim

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        seen = Seen(*(observation * OBSERVED_SCALE).unflatten(-1, (-1, N_ITEMS)).unbind(-2))
        greed, memory = self.greed(seen, memory)
        level = (greed * self.max_claim).round().long()
        none, everything, some = (
            one_hot(claim, self.max_claim + 1).to(observation.dtype).unsqueeze(-2)
            for claim in (torch.zeros_like(level), torch.full_like(level, self.max_claim), level)
        )
        own, other = seen.own_values.unsqueeze(-1), seen.other_values.unsqueeze(-1)
        first, second, third = torch.where(
            own > other, everything, torch.where(own < other, some, (none + everything) / 2)
        ).unbind(-2)
        joint = first[..., :, None, None] * second[..., None, :, None] * third[..., None, None, :]
        return joint.flatten(-N_ITEMS), memory

    @abstractmethod
    def greed(self, seen: Seen, memory: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the most it claims of what is worth more to the other, ``[*B]`` in ``[0, 1]``, and its memory
        after this step ``[*B, M]``.
        """


class Cooperator(Negotiator):
    """Leaves to the other what is worth more to it."""

    def greed(self, seen: Seen, memory: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(seen.pool[..., 0]), memory


class TitForTat(Negotiator):
    """Leaves to the other what is worth more to it in the first round, and then claims as much of that as the other
    claimed of what was worth more to the player, in the last round in which there was such a thing.

    Remembers which items were worth more to itself in the last round, and how greedy the other was.
    """

    memory_size = N_ITEMS + 1

    def greed(self, seen: Seen, memory: Tensor) -> tuple[Tensor, Tensor]:
        was_mine, earlier = memory.split([N_ITEMS, 1], -1)
        items = was_mine.sum(-1)
        now = (seen.other_claims * was_mine).sum(-1) / (items.clamp(min=1) * self.max_claim)
        greed = torch.where(items > 0, now, earlier.squeeze(-1)).clamp(0, 1)
        mine = (seen.own_values > seen.other_values).to(memory.dtype)
        return greed, torch.cat([mine, greed.unsqueeze(-1)], -1)


class Greedy(Player):
    """Claims all of everything.

    Args:
        max_claim (int): the most that can be claimed of an item.
    """

    def __init__(self, max_claim: int) -> None:
        self.n_actions = (max_claim + 1) ** N_ITEMS

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = observation.new_zeros(*observation.shape[:-1], self.n_actions)
        probabilities[..., -1] = 1.0
        return probabilities, memory


class Random(Player):
    """Claims anything, each claim as likely as another.

    Args:
        max_claim (int): the most that can be claimed of an item.
    """

    def __init__(self, max_claim: int) -> None:
        self.n_actions = (max_claim + 1) ** N_ITEMS

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*observation.shape[:-1], self.n_actions)
        return observation.new_full(shape, 1 / self.n_actions), memory


PLAYERS: dict[str, Callable[[int], Player]] = {
    "cooperate": Cooperator,
    "greedy": Greedy,
    "tit_for_tat": TitForTat,
    "random": Random,
}
