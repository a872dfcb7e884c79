"""Scripted players of externality mushrooms that see what an agent sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.sight import Random, Scene, SeeingPlayer, Sight
from benchmarl_reciprocator.tasks.players import Player


class MushroomPlayer(SeeingPlayer):
    """What players of externality mushrooms have in common.

    Args:
        scene (Scene): what agents see and do.
    """

    def eat(self, sight: Sight, liked: Tensor, disliked: Tensor) -> Tensor:
        """Probabilities ``[R, A]`` on the way to the nearest cell of ``liked``, never onto one of ``disliked``:
        boolean ``[R, n]`` each.
        """
        return self.go(sight, self.on(liked), shunned=disliked)

    def for_all(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a cooperator, see :class:`Cooperate`."""
        green, blue = sight.where("green"), sight.where("blue")
        some = green.any(-1, keepdim=True)
        return self.eat(sight, torch.where(some, green, blue), sight.where("red", "orange"))

    def for_itself(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a defector, see :class:`Defect`."""
        return self.eat(sight, sight.where("red"), sight.where("green", "blue", "orange"))


class Cooperate(MushroomPlayer):
    """Eats the nearest green mushroom that it sees, or else the nearest blue one; never red or orange ones."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.for_all(sight), memory


class Defect(MushroomPlayer):
    """Eats the nearest red mushroom that it sees, and no others."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.for_itself(sight), memory


class TitForTat(MushroomPlayer):
    """Cooperates until it has seen other agents for :attr:`PATIENCE` steps and none of them digest, and then defects
    until it sees one digest.

    Those who eat green and blue mushrooms digest, those who eat red ones do not (but for SocialJax). Memory: in how
    many steps it has seen others, and none digest, since it last saw one that did.
    """

    PATIENCE = 20
    memory_size = 1

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        digest = (sight.where("frozen") & sight.others).any(-1, keepdim=True)
        seen = sight.others.any(-1, keepdim=True)
        waited = torch.where(digest, 0, memory + seen)
        return torch.where(waited < self.PATIENCE, self.for_all(sight), self.for_itself(sight)), waited


PLAYERS: dict[str, Callable[[Scene], Player]] = {
    "cooperate": Cooperate,
    "defect": Defect,
    "random": Random,
    "tit_for_tat": TitForTat,
}
