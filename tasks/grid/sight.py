"""Scripted players of grid worlds that see no more than an agent does, and find their way in what they see."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import SPAWN, ray_cells, read_map
from benchmarl_reciprocator.tasks.grid.movement import move_tables
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS, Beam, GridRules
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

# More steps than any way within a window takes.
FAR = 1e4
# How often a player that looks for something goes on where it looks.
STRAIGHT_ON = 0.8


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What agents of a grid world see and do, as in :class:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv`.

    Args:
        n_agents (int): number of agents ``N``.
        rules (GridRules): the variant.
        observation (str): form of observations.
        things (tuple of str): kinds of things.
        beams (mapping): all beams by the name of their action, zapping first.
        further (tuple of str): actions after the beams.
        marks (tuple of str): what else is seen of agents.
        numbers (tuple of str): what an agent knows beside what it sees.
    """

    n_agents: int
    rules: GridRules
    observation: str
    things: tuple[str, ...]
    beams: Mapping[str, Beam] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sight:
    """What a player sees in one step, in ``R`` games at once.

    Args:
        cells (Tensor): zeros and ones for what is on the ``n`` cells of its window, ``[R, n, C]``.
        cell (int): its own.
        numbers (Tensor): what it knows beside that, ``[R, M]``.
        heading (Tensor): where it looks, as its window is turned: ``[R]``.
        others (Tensor): where other agents are, boolean ``[R, n]``.
        channels (mapping): channels of things and marks, and the place of each number.
    """

    cells: Tensor
    cell: int
    numbers: Tensor
    heading: Tensor
    others: Tensor
    channels: Mapping[str, int]

    def where(self, *names: str) -> Tensor:
        """Where such things lie, or agents with such marks stand: boolean ``[R, n]``."""
        return self.cells[..., [self.channels[name] for name in names]].sum(-1) > 0

    def own(self, mark: str) -> Tensor:
        """Whether the player itself has a mark, boolean ``[R]``."""
        return self.cells[:, self.cell, self.channels[mark]] > 0

    def number(self, name: str) -> Tensor:
        """What it knows by that name, ``[R]``."""
        return self.numbers[:, self.channels[name]]


class SeeingPlayer(Player):
    """A scripted player that acts on what an agent of a grid world observes.

    It finds shortest ways within its window, around walls and other agents, and picks at random among equally good
    actions. While nothing that it looks for is in view it wanders: mostly straight on.

    A pose is a cell of the window and an orientation as the window is turned: four times the one plus the other.

    Args:
        scene (Scene): what agents see and do.

    Raises:
        ValueError: if observations are pixels, or moves go in directions that the window does not show.
    """

    def __init__(self, scene: Scene) -> None:
        rules = scene.rules
        seen = scene.observation in ("image", "flat")
        check_option("task.observation", scene.observation, seen, "image or flat with a player that sees (not random)")
        known = rules.actions in ("turn", "compass")
        check_option("task.actions", rules.actions, known, "turn or compass with a player that sees (not random)")
        self.scene = scene
        moves = ACTIONS[rules.actions]
        self.actions = {name: number for number, name in enumerate((*moves, *scene.beams, *scene.further))}
        kinds = ("wall", *scene.things)
        self._agents = len(kinds) + len(scene.beams)
        first_mark = self._agents + scene.n_agents + 4
        self._n_channels = first_mark + len(scene.marks)
        self._channels = {name: number for number, name in enumerate(kinds)}
        self._channels.update({name: first_mark + number for number, name in enumerate(scene.marks)})
        self._channels.update({name: number for number, name in enumerate(scene.numbers)})
        # The window as a map of its own, whose cells are numbered row by row.
        window = read_map([SPAWN * rules.view] * rules.view, "", 1)
        self.n_cells = window.wall
        behind = rules.view // 2 if rules.view_behind is None else rules.view_behind
        self.own = (rules.view - 1 - behind) * rules.view + rules.view // 2
        landing, facing = move_tables(window, rules.actions, len(self.actions))
        landing, facing = landing[: len(moves), :, : self.n_cells], facing[: len(moves), :, None]
        here = torch.arange(self.n_cells)
        # By action and pose: where it leads, and the pose if an agent or a wall is there.
        self._landing = landing.transpose(1, 2).flatten(1)
        self._lands = (landing * 4 + facing).transpose(1, 2).flatten(1)
        self._stays = (here * 4 + facing).transpose(1, 2).flatten(1)
        self._rays = {
            name: ray_cells(window, beam)[: self.n_cells, :, beam.width // 2].flatten(0, 1)
            for name, beam in scene.beams.items()
        }

    @abstractmethod
    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Play one step.

        Args:
            sight (Sight): what it sees.
            memory (Tensor): what it remembers, ``[R, M]``.

        Returns:
            tuple[Tensor, Tensor]: probabilities of its actions ``[R, A]``, and what it remembers then ``[R, M]``.
        """

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        form = observation.ndim - (3 if self.scene.observation == "image" else 1)
        batch = observation.shape[:form]
        sight = self.look(observation.reshape(-1, *observation.shape[form:]))
        probabilities, then = self.act(sight, memory.reshape(-1, self.memory_size) if self.memory_size else memory)
        return probabilities.view(*batch, -1), then.view_as(memory)

    def look(self, observation: Tensor) -> Sight:
        """What it sees in observations ``[R, *O]``."""
        if self.scene.observation == "image":
            shown = observation.flatten(1, 2)
            cells, numbers = shown[..., : self._n_channels], shown[:, 0, self._n_channels :]
        else:
            size = self.n_cells * self._n_channels
            cells = observation[:, :size].view(-1, self.n_cells, self._n_channels)
            numbers = observation[:, size:]
        seats = slice(self._agents + 1, self._agents + self.scene.n_agents)
        looks = cells[:, self.own, seats.stop : seats.stop + 4].argmax(-1)
        heading = looks if self.scene.rules.actions == "compass" else torch.zeros_like(looks)
        return Sight(cells, self.own, numbers, heading, cells[..., seats].sum(-1) > 0, self._channels)

    def on(self, cells: Tensor) -> Tensor:
        """Poses on ``cells`` ``[R, n]``, whatever it looks at: ``[R, 4 n]``."""
        return cells.repeat_interleave(4, -1)

    def aiming(self, beam: str, targets: Tensor, stops: Tensor) -> Tensor:
        """Poses from which the middle ray of a beam meets one of ``targets`` before it meets another of ``stops``:
        boolean ``[R, 4 n]``, where both are boolean ``[R, n]``.
        """
        rays = self._rays[beam].to(targets.device)
        outside = torch.zeros_like(targets[:, :2])
        hit = torch.cat([targets, outside], -1)[:, rays]
        ends = torch.cat([stops, outside], -1)[:, rays]
        return (hit & (ends.cumsum(-1) - ends.long() == 0)).any(-1)

    def is_in(self, sight: Sight, poses: Tensor) -> Tensor:
        """Whether its own pose is one of ``poses`` ``[R, 4 n]``: boolean ``[R]``."""
        return poses.gather(1, (self.own * 4 + sight.heading).unsqueeze(-1)).squeeze(-1)

    def does(self, action: str, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of one action alone."""
        chances = torch.zeros(len(sight.heading), len(self.actions), device=sight.cells.device)
        chances[:, self.actions[action]] = 1
        return chances

    def go(self, sight: Sight, goals: Tensor, shunned: Tensor | None = None) -> Tensor:
        """Probabilities ``[R, A]`` on shortest ways to the nearest of the poses ``goals``; where there is none, it
        wanders.

        Args:
            sight (Sight): what it sees.
            goals (Tensor): boolean ``[R, 4 n]``.
            shunned (Tensor, optional): cells that it does not enter, boolean ``[R, n]``.
        """
        blocked = sight.where("wall") | sight.others
        if shunned is not None:
            blocked = blocked | shunned
        left = self._steps_left(sight, goals, blocked)
        best = left == left.amin(-1, keepdim=True)
        lost = left.amin(-1, keepdim=True) >= FAR
        chances = torch.where(lost, self._wander(sight, blocked), best / best.sum(-1, keepdim=True))
        return torch.nn.functional.pad(chances, (0, len(self.actions) - chances.shape[-1]))

    def _steps_left(self, sight: Sight, goals: Tensor, blocked: Tensor) -> Tensor:
        """Steps to the nearest of the poses ``goals`` after each move, ``[R, moves]``; :data:`FAR` where there is none
        within its window.
        """
        device = goals.device
        landing, lands, stays = (table.to(device) for table in (self._landing, self._lands, self._stays))
        after = torch.where(blocked[:, landing], stays, lands).flatten(1)
        closed = self.on(blocked).clone()
        closed[:, self.own * 4 : self.own * 4 + 4] = False
        steps = torch.full(goals.shape, FAR, device=device).masked_fill_(goals & ~closed, 0.0)
        # Ways around corners are longer than the window.
        for _ in range(2 * self.scene.rules.view):
            nearer = steps.gather(1, after).view(len(steps), len(landing), -1).amin(1).add_(1)
            nearer = torch.minimum(steps, nearer.masked_fill_(closed, FAR)).clamp_(max=FAR)
            if torch.equal(nearer, steps):
                break
            steps = nearer
        own = (self.own * 4 + sight.heading).view(-1, 1, 1).expand(-1, len(landing), 1)
        return steps.gather(1, after.view(len(steps), len(landing), -1).gather(2, own).squeeze(-1))

    def _wander(self, sight: Sight, blocked: Tensor) -> Tensor:
        """Probabilities of moves ``[R, moves]`` straight on if nothing is in the way, and else somewhere."""
        own = (self.own * 4 + sight.heading).view(-1, 1, 1)
        landing = self._landing.to(blocked.device)[:, own.flatten()].T
        moves = landing != self.own
        free = moves & ~blocked.gather(1, landing)
        turns = torch.zeros_like(free)
        if self.scene.rules.actions == "turn":
            turns[:, [self.actions["turn_left"], self.actions["turn_right"]]] = True
            straight, others = self.actions["forward"] + torch.zeros_like(sight.heading), turns
        else:
            straight, others = 1 + sight.heading, free
        ahead = free.gather(1, straight.unsqueeze(-1)).float() * STRAIGHT_ON
        stuck = ~others.any(-1, keepdim=True)
        others = others | (stuck & (torch.arange(others.shape[-1], device=others.device) == 0))
        chances = (1 - ahead) * others / others.sum(-1, keepdim=True)
        return chances.scatter_add(1, straight.unsqueeze(-1), ahead)


class Random(Player):
    """Acts at random, and needs no eyes.

    Args:
        scene (Scene): what agents see and do.
    """

    def __init__(self, scene: Scene) -> None:
        self._n_actions = len(ACTIONS[scene.rules.actions]) + len(scene.beams) + len(scene.further)
        self._n_axes = 3 if scene.observation in ("image", "rgb") else 1

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch = observation.shape[: observation.ndim - self._n_axes]
        return observation.new_full((*batch, self._n_actions), 1 / self._n_actions), memory
