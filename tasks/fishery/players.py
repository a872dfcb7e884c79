"""Scripted players of the fishery and of Cournot's market, with discrete actions, from what an agent observes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.fishery.rules import CournotRules, FisheryRules
from benchmarl_reciprocator.tasks.players import Player


@dataclass(frozen=True)
class QuantityGame:
    """What a player knows of its game, as in :class:`~benchmarl_reciprocator.tasks.fishery.game.FisheryEnv`.

    Args:
        rules (FisheryRules or CournotRules): the rules.
        n_agents (int): number of agents ``N``.
        largest (float): the largest quantity.
        levels (int): number of actions ``A``.
    """

    rules: FisheryRules | CournotRules
    n_agents: int
    largest: float
    levels: int


class QuantityPlayer(Player):
    """Chooses the action that is nearest to the quantity that it wants.

    Args:
        game (QuantityGame): the game.
    """

    def __init__(self, game: QuantityGame) -> None:
        self.game = game

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        last = self.game.largest * observation[..., : self.game.n_agents]
        wanted = self.wanted(last[..., 1:], first=observation[..., -1].bool())
        action = (wanted / self.game.largest * (self.game.levels - 1)).round().long().clamp(0, self.game.levels - 1)
        return one_hot(action, self.game.levels).to(observation.dtype), memory

    @abstractmethod
    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        """The quantity that it wants, ``[*B]``.

        Args:
            others (Tensor): the others' last quantities, ``[*B, N - 1]``.
            first (Tensor): boolean ``[*B]``, whether it is the first step.
        """


class Cooperator(QuantityPlayer):
    """Always chooses its part of the joint optimum."""

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        return torch.full_like(others[..., 0], self.game.rules.cooperative(self.game.n_agents))


class Greedy(QuantityPlayer):
    """Chooses the best reply to the others' last quantities; in the first step the quantity of the Nash equilibrium."""

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        nash = self.game.rules.equilibrium(self.game.n_agents)
        return torch.where(first, nash, self.game.rules.best_reply(others.sum(-1)))


class TitForTat(QuantityPlayer):
    """Chooses its part of the joint optimum first, and then the mean of the others' last quantities; never less than
    that part, and never more than the quantity of the Nash equilibrium, beyond which it would harm itself most.
    """

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        best, nash = (f(self.game.n_agents) for f in (self.game.rules.cooperative, self.game.rules.equilibrium))
        return torch.where(first, best, others.mean(-1).clamp(best, nash))


class Random(Player):
    """Chooses any quantity, each as likely as another.

    Args:
        game (QuantityGame): the game.
    """

    def __init__(self, game: QuantityGame) -> None:
        self.levels = game.levels

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return observation.new_full((*observation.shape[:-1], self.levels), 1 / self.levels), memory


PLAYERS: dict[str, Callable[[QuantityGame], Player]] = {
    "cooperate": Cooperator,
    "greedy": Greedy,
    "tit_for_tat": TitForTat,
    "random": Random,
}
