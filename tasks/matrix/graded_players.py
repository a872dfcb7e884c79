"""Scripted players of the public good with graded contributions, with discrete actions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.players import Player


@dataclass(frozen=True)
class GradedGame:
    """What a player knows of its game, as in
    :class:`~benchmarl_reciprocator.tasks.matrix.graded_contributions.GradedContributionsEnv`.

    Args:
        n_agents (int): number of agents ``N``.
        levels (int): number of actions ``A``.
    """

    n_agents: int
    levels: int


class GradedPlayer(Player):
    """Chooses the level that is nearest to the share that it wants to give.

    Args:
        game (GradedGame): the game.
    """

    def __init__(self, game: GradedGame) -> None:
        self.game = game

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        wanted = self.wanted(observation[..., 1 : self.game.n_agents], first=observation[..., -1].bool())
        action = (wanted * (self.game.levels - 1)).round().long()
        return one_hot(action, self.game.levels).to(observation.dtype), memory

    @abstractmethod
    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        """The share that it wants to give, ``[*B]`` in ``[0, 1]``.

        Args:
            others (Tensor): what the others gave in the last step, ``[*B, N - 1]``.
            first (Tensor): boolean ``[*B]``, whether it is the first step.
        """


class Cooperate(GradedPlayer):
    """Always gives all."""

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        return torch.ones_like(others[..., 0])


class Defect(GradedPlayer):
    """Never gives anything."""

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        return torch.zeros_like(others[..., 0])


class TitForTat(GradedPlayer):
    """Gives all first, and then what the others gave in the last step, in the mean."""

    def wanted(self, others: Tensor, first: Tensor) -> Tensor:
        return torch.where(first, 1.0, others.mean(-1))


class Random(Player):
    """Gives any level, each as likely as another.

    Args:
        game (GradedGame): the game.
    """

    def __init__(self, game: GradedGame) -> None:
        self.levels = game.levels

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return observation.new_full((*observation.shape[:-1], self.levels), 1 / self.levels), memory


PLAYERS: dict[str, Callable[[GradedGame], Player]] = {
    "cooperate": Cooperate,
    "defect": Defect,
    "tit_for_tat": TitForTat,
    "random": Random,
}
