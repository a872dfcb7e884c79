"""Scripted players of gift refinements that see what an agent sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.gifts.rules import BAG, EAT, GiftRules
from benchmarl_reciprocator.tasks.grid.sight import Random, Scene, SeeingPlayer, Sight
from benchmarl_reciprocator.tasks.players import Player


class GiftPlayer(SeeingPlayer):
    """What players of gift refinements have in common.

    Args:
        scene (Scene): what agents see and do.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.rules = cast(GiftRules, scene.rules)

    def bag(self, sight: Sight) -> Tensor:
        """Tokens that it carries, from raw to the most refined: ``[R, 3]``."""
        shares = torch.stack([sight.number(kind) for kind in BAG], -1)
        return (shares * self.rules.capacity).round()

    def collect(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` on the way to the nearest token."""
        return self.go(sight, self.on(sight.where("token")))

    def give(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` on the way to give something to the nearest agent."""
        poses = self.aiming("give", sight.others, sight.others | sight.where("wall"))
        fires = self.is_in(sight, poses) & ~sight.own("cooling")
        return torch.where(fires.unsqueeze(-1), self.does("give", sight), self.go(sight, poses))

    def generous(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a cooperator, see :class:`Cooperate`."""
        bag, rules = self.bag(sight), self.rules
        held = bag > 0
        last = held[:, -1] if rules.gift == "most_refined" else held[:, -1] & ~held[:, :-1].any(-1)
        full = (bag[:, 0] == rules.capacity) | (bag[:, 1:-1] > rules.capacity - rules.multiplier).any(-1)
        eats = last | full
        gives = held.any(-1) & sight.others.any(-1)
        chosen = torch.where(gives.unsqueeze(-1), self.give(sight), self.collect(sight))
        return torch.where(eats.unsqueeze(-1), self.does(EAT, sight), chosen)

    def selfish(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a defector, see :class:`Defect`."""
        eats = (self.bag(sight) > 0).any(-1, keepdim=True)
        return torch.where(eats, self.does(EAT, sight), self.collect(sight))


class Cooperate(GiftPlayer):
    """Gives every token that a gift refines to the nearest agent that it sees, and collects tokens while it sees none.

    It eats what it carries once a gift would not refine the token that it would give, or if its bag has no room for
    what it would get.
    """

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.generous(sight), memory


class Defect(GiftPlayer):
    """Collects tokens, never gives any, and eats at once what it gets."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.selfish(sight), memory


class TitForTat(GiftPlayer):
    """Cooperates as long as it has given at most :attr:`ADVANCE` gifts more than it has got, and else defects.

    It sees gifts in its own bag: nothing else makes tokens of a refined type more, and nothing but a gift of its own
    makes one type one less. Memory: its bag, whether it ate, and gifts given less gifts got.
    """

    ADVANCE = 2
    memory_size = len(BAG) + 2

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        before, ate, given = memory.split([len(BAG), 1, 1], -1)
        bag = self.bag(sight)
        change = bag - torch.where(ate > 0, 0, before)
        gave = (change[:, :-1] == -1).sum(-1, keepdim=True)
        got = (change[:, 1:].clamp(min=0) / self.rules.multiplier).ceil().sum(-1, keepdim=True)
        given = given + gave - got
        chances = torch.where(given < self.ADVANCE, self.generous(sight), self.selfish(sight))
        eats = chances[:, self.actions[EAT], None]
        return chances, torch.cat([bag, eats, given], -1)


PLAYERS: dict[str, Callable[[Scene], Player]] = {
    "cooperate": Cooperate,
    "defect": Defect,
    "random": Random,
    "tit_for_tat": TitForTat,
}
