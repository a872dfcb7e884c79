"""Scripted players of coop mining that see what an agent sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.mining.rules import ORES, MiningRules
from benchmarl_reciprocator.tasks.grid.sight import Random, Scene, SeeingPlayer, Sight
from benchmarl_reciprocator.tasks.players import Player

GOLD = ("gold", "hit_gold")


class MiningPlayer(SeeingPlayer):
    """What players of coop mining have in common.

    Args:
        scene (Scene): what agents see and do.
    """

    def aims(self, sight: Sight, *ores: str) -> Tensor:
        """Poses from which it hits such ores, boolean ``[R, 4 n]``."""
        return self.aiming("mine", sight.where(*ores), sight.where("wall", *ORES))

    def hit(self, sight: Sight, poses: Tensor) -> Tensor:
        """Probabilities ``[R, A]`` on the way to the nearest of such poses, and of hitting what is ahead there."""
        there = self.is_in(sight, poses).unsqueeze(-1)
        return torch.where(there, self.does("mine", sight), self.go(sight, poses))

    def together(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a cooperator, see :class:`Cooperate`."""
        gold = self.aims(sight, *GOLD)
        return self.hit(sight, torch.where(gold.any(-1, keepdim=True), gold, self.aims(sight, "iron")))

    def alone(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a defector, see :class:`Defect`."""
        return self.hit(sight, self.aims(sight, "iron"))


class Cooperate(MiningPlayer):
    """Hits the nearest gold that it sees, again and again until another has hit it, too; iron if it sees no gold."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.together(sight), memory


class Defect(MiningPlayer):
    """Hits the nearest iron that it sees, and never gold."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.alone(sight), memory


class TitForTat(MiningPlayer):
    """Cooperates until :attr:`PATIENCE` of its hits at gold in a row were for nothing, and then defects until it sees
    another hit gold.

    It sees that in gold which shows a hit: one that it has not hit itself within the window; or one that it has, and
    that is gone at once. Memory: shots at gold in vain; steps for which its own last hit still shows.
    """

    PATIENCE = 5
    memory_size = 2

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.rules = cast(MiningRules, scene.rules)

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        in_vain, shows = memory.unbind(-1)
        hit_gold = sight.where("hit_gold").any(-1)
        others_hit = (hit_gold & (shows == 0)) | (~hit_gold & (shows == self.rules.gold_window))
        in_vain = torch.where(others_hit, 0, in_vain)
        chances = torch.where((in_vain < self.PATIENCE).unsqueeze(-1), self.together(sight), self.alone(sight))
        fires = chances[:, self.actions["mine"]] * ~sight.own("cooling") * self.is_in(sight, self.aims(sight, *GOLD))
        shows = torch.where(fires > 0, self.rules.gold_window, (shows - 1).clamp(min=0))
        return chances, torch.stack([in_vain + fires, shows], -1)


PLAYERS: dict[str, Callable[[Scene], Player]] = {
    "cooperate": Cooperate,
    "defect": Defect,
    "random": Random,
    "tit_for_tat": TitForTat,
}
