"""Scripted players of in-the-matrix, who see what an agent sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.grid.matrix_world.rules import MatrixWorldRules
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS
from benchmarl_reciprocator.tasks.players import Player

FAR = 1e4
# Rows and columns of a step up, right, down and left in the view.
SIDES = ((-1, 0), (0, 1), (1, 0), (0, -1))
# How often a player that sees nothing to go for keeps its direction.
KEEPS_GOING = 0.9


class Sight(NamedTuple):
    """What a player sees: planes of its window ``[*B, k, k]``, and what it knows of itself.

    Args:
        walls (Tensor): walls.
        resources (Tensor): resources of every class, ``[*B, K, k, k]``.
        others (Tensor): other agents.
        partners (Tensor): other agents that are ready and not frozen.
        facing (Tensor): where it looks in its window: 0 up, 1 right, 2 down, 3 left; ``[*B]``.
        ready (Tensor): whether it is ready, boolean ``[*B]``.
        inventory (Tensor): what it carries, ``[*B, K]``.
        can_fire (Tensor): whether its beam can be fired, boolean ``[*B]``.
        met (Tensor): shares of its partner's inventory while it is frozen, else 0: ``[*B, K]``.
    """

    walls: Tensor
    resources: Tensor
    others: Tensor
    partners: Tensor
    facing: Tensor
    ready: Tensor
    inventory: Tensor
    can_fire: Tensor
    met: Tensor


class Collector(Player):
    """Collects resources of one class until it has ``margin`` more of it than of any other, then looks for an agent
    that is ready, and fires when its beam can reach it.

    It takes a shortest path, as far as it sees, and goes around other resources. While it sees nothing to go for, it
    keeps its direction until something is in its way, or, now and then, another one.

    Args:
        n_agents (int): number of agents ``N``.
        rules (MatrixWorldRules): the variant.
        n_classes (int): number of classes ``K``.
        observation (str): ``"image"`` or ``"flat"``.
        wanted (int): the class, from 0 on.
        margin (int): how many more of it than of any other.
    """

    def __init__(
        self,
        n_agents: int,
        rules: MatrixWorldRules,
        n_classes: int,
        observation: str = "image",
        wanted: int = 0,
        margin: int = 3,
    ) -> None:
        self.n_agents, self.rules, self.n_classes = n_agents, rules, n_classes
        self.observation = observation
        self.wanted_class, self.margin = wanted, margin
        self.side = rules.view
        behind = rules.view // 2 if rules.view_behind is None else rules.view_behind
        self.own = (rules.view - 1 - behind) * rules.view + rules.view // 2
        names = ACTIONS[rules.actions]
        self.n_actions = len(names) + 1
        # What takes it a step up, right, down or left in its window, or turns it there.
        steps = {
            "steer": ("forward", "turn_right", "turn_right", "turn_left"),
            "compass": names[1:5],
            "turn": names[1:5],
        }
        self._moves = torch.tensor([names.index(name) for name in steps[rules.actions]])
        self._rays = ray_places(rules, self.own)

    def wanted(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The class that it wants, ``[*B]``, and its memory ``[*B, M]`` after this step."""
        return torch.full_like(sight.facing, self.wanted_class), memory

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch = observation.shape[: -1 if self.observation == "flat" else -3]
        count = math.prod(batch)
        sight = self.look(observation.reshape(count, *observation.shape[len(batch) :]))
        wanted, memory = self.wanted(sight, memory.reshape(count, self.memory_size))
        rows = torch.arange(len(wanted), device=wanted.device)
        of_class = one_hot(wanted, self.n_classes).bool()
        most_other = sight.inventory.masked_fill(of_class, 0).max(-1).values
        has_enough = sight.inventory[rows, wanted] - most_other >= self.margin
        shunned = (sight.resources * ~of_class[..., None, None]).amax(1)
        goals = torch.where(has_enough[:, None, None], sight.partners, sight.resources[rows, wanted])
        blocked = (sight.walls + shunned) > 0
        blocked = blocked | ((sight.others > 0) & (goals == 0))
        steps = distances(goals > 0, blocked)
        probabilities = self._go(steps, blocked, sight.facing)
        shoots = has_enough & sight.ready & sight.can_fire & self._aims(sight)
        fires = one_hot(torch.full_like(wanted, self.n_actions - 1), self.n_actions).to(probabilities.dtype)
        probabilities = torch.where(shoots.unsqueeze(-1), fires, probabilities)
        return probabilities.view(*batch, -1), memory.view(*batch, self.memory_size)

    def look(self, observation: Tensor) -> Sight:
        """What it sees, of observations ``[B, *O]``."""
        k, n, side = self.n_classes, self.n_agents, self.side
        planes, numbers = observation.split([observation.shape[-1] - k - 1, k + 1], -1)
        if self.observation == "flat":
            planes = planes.unflatten(-1, (side, side, -1))
        else:
            numbers = numbers.flatten(1, 2)[:, self.own]
        planes = planes.movedim(-1, 1)
        # The one beam's plane stands between things and agents.
        walls, resources, _, agents, facing, marks = planes.split([1, k, 1, n, 4, 2], 1)
        frozen, ready = marks.unbind(1)
        others = agents[:, 1:].amax(1)
        inventory, can_fire = numbers.split([k, 1], -1)
        own = facing.flatten(2)[..., self.own]
        is_frozen = frozen.flatten(1)[:, self.own].unsqueeze(-1)
        return Sight(
            walls=walls[:, 0],
            resources=resources,
            others=others,
            partners=others * ready * (1 - frozen),
            facing=own.argmax(-1),
            ready=ready.flatten(1)[:, self.own] > 0,
            inventory=(inventory * (1 - is_frozen) * 10).round(),
            can_fire=can_fire[:, 0] > 0,
            met=inventory * is_frozen,
        )

    def _aims(self, sight: Sight) -> Tensor:
        """Whether its beam would reach a partner, boolean ``[B]``."""
        rays = self._rays.to(sight.facing.device)[sight.facing]
        ends = (sight.walls + (sight.resources.amax(1) if self.rules.resource_hits else 0)).flatten(1) > 0
        partners = sight.partners.flatten(1) > 0
        # What is outside the window ends a ray.
        outside = torch.ones_like(ends[:, :1])
        ends, partners = torch.cat([ends, outside], -1), torch.cat([partners, ~outside], -1)
        batch = torch.arange(len(rays), device=rays.device)[:, None, None]
        open_way = ends[batch, rays].cumsum(-1) == 0
        return (partners[batch, rays] & open_way).flatten(1).any(-1)

    def _go(self, steps: Tensor, blocked: Tensor, facing: Tensor) -> Tensor:
        """Probabilities of actions ``[B, A]`` of one that goes where the fewest ``steps`` ``[B, k, k]`` remain."""
        beside = steps.new_full((len(steps), self.side + 2, self.side + 2), FAR)
        beside[:, 1:-1, 1:-1] = steps
        free = torch.zeros_like(beside, dtype=torch.bool)
        free[:, 1:-1, 1:-1] = ~blocked
        row, column = self.own // self.side + 1, self.own % self.side + 1
        after = torch.stack([beside[:, row + up, column + right] for up, right in SIDES], -1)
        can_go = torch.stack([free[:, row + up, column + right] for up, right in SIDES], -1)
        best = (after == after.min(-1, keepdim=True).values).float()
        ahead = one_hot(facing, 4).float()
        anywhere = torch.where(can_go.any(-1, keepdim=True), can_go, True).float()
        anywhere = anywhere / anywhere.sum(-1, keepdim=True)
        keeps = KEEPS_GOING * (can_go & (ahead > 0)).any(-1, keepdim=True)
        wanders = keeps * ahead + (1 - keeps) * anywhere
        chosen = torch.where((after.min(-1).values < FAR).unsqueeze(-1), best / best.sum(-1, keepdim=True), wanders)
        actions = one_hot(self._moves.to(chosen.device), self.n_actions).to(chosen.dtype)
        return chosen @ actions


class TitForTat(Collector):
    """Collects class 1, and class 2 once its last partner had not more of class 1 than of any other: tit-for-tat by
    what it met. With ``forgives`` false it never goes back (a grim trigger).

    Memory: whether it retaliates.
    """

    memory_size = 1

    def __init__(self, *args: object, forgives: bool = True, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.forgives = forgives

    def wanted(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        met = sight.met.sum(-1) > 0
        defected = (sight.met[:, :1] <= sight.met[:, 1:]).any(-1) & met
        before = memory[:, 0] > 0
        retaliates = torch.where(met, defected | (before & (not self.forgives)), before)
        return retaliates.long(), retaliates.to(memory.dtype).unsqueeze(-1)


class Random(Collector):
    """Acts at random."""

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch = observation.shape[: -1 if self.observation == "flat" else -3]
        return observation.new_full((*batch, self.n_actions), 1 / self.n_actions), memory


def makers(n_classes: int) -> dict[str, Callable[..., Player]]:
    """Makers of players of games with so many classes, by name; those of the third class on are called after it."""
    pure = {f"class_{number + 1}": partial(Collector, wanted=number) for number in range(2, n_classes)}
    return {
        "cooperate": partial(Collector, wanted=0),
        "defect": partial(Collector, wanted=1),
        **pure,
        "tit_for_tat": TitForTat,
        "grim": partial(TitForTat, forgives=False),
        "random": Random,
    }


def distances(goals: Tensor, blocked: Tensor) -> Tensor:
    """Number of steps from each place of a window to the nearest goal, around what is blocked.

    Args:
        goals (Tensor): boolean ``[B, k, k]``.
        blocked (Tensor): where no way leads, boolean ``[B, k, k]``.

    Returns:
        Tensor: ``[B, k, k]``; :data:`FAR` where there is no way.
    """
    steps = torch.full(goals.shape, FAR, device=goals.device).masked_fill(goals, 0.0)
    no_way = blocked & ~goals
    while True:
        around = torch.nn.functional.pad(steps, (1, 1, 1, 1), value=FAR)
        nearest = torch.minimum(
            torch.minimum(around[:, :-2, 1:-1], around[:, 2:, 1:-1]),
            torch.minimum(around[:, 1:-1, :-2], around[:, 1:-1, 2:]),
        )
        nearer = torch.minimum(steps, (nearest + 1).clamp(max=FAR)).masked_fill(no_way, FAR)
        if torch.equal(nearer, steps):
            return steps
        steps = nearer


def ray_places(rules: MatrixWorldRules, own: int) -> Tensor:
    """Places in the window that the interaction beam passes, by where the agent looks in it: ``[4, width, length]``,
    ``k^2`` for those outside.
    """
    beam, side = rules.interaction_beam(None), rules.view
    row, column = own // side, own % side
    places = torch.full((4, beam.width, beam.length), side**2)
    for facing, ahead in enumerate(SIDES):
        right = SIDES[(facing + 1) % 4]
        for ray, length in enumerate(beam.ray_lengths()):
            aside = ray - beam.width // 2
            first = 0 if beam.shape == "beside" and aside else 1
            for step in range(length):
                at = [
                    own_place + (first + step) * ahead[axis] + aside * right[axis]
                    for axis, own_place in enumerate((row, column))
                ]
                if all(0 <= place < side for place in at):
                    places[facing, ray, step] = at[0] * side + at[1]
    return places
