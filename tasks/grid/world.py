"""Grid worlds: what Cleanup, Harvest and games of a user's own share, on a map of cells drawn as text."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.nn.functional import embedding, one_hot

from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.grid.board import draw_grid, rgb
from benchmarl_reciprocator.tasks.grid.map import (
    FLOOR,
    SPAWN,
    GridMap,
    ray_cells,
    read_map,
    relative_cells,
    window_cells,
)
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS

OBSERVATIONS = ("image", "rgb", "flat")
MAX_AGENTS = len(COLOURS)
# What an agent does, by number. Moves are forward, to the right, backward and to the left of where it looks, or north,
# east, south and west, and then it looks where it went.
ACTIONS = {
    "turn": ("stay", "forward", "right", "backward", "left", "turn_left", "turn_right"),
    "compass": ("stay", "north", "east", "south", "west"),
}
WALL_COLOUR, ZAP_COLOUR = "#5B5F66", "#F5C400"


class Beam(NamedTuple):
    """A beam that agents fire: ``width`` parallel rays of ``length`` cells that end at walls, agents, and things of the
    kind ``stopped_by``. After a shot it cannot be fired for ``cooldown`` steps.
    """

    length: int
    width: int
    cooldown: int
    colour: str
    stopped_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class GridRules:
    """Rules that all grid worlds have. What makes a variant of a game; scores of different variants are not comparable.

    Args:
        map (str): name of the map, where the game has several.
        max_steps (int): length of an episode, in steps.
        view (int): side of the square window that an agent sees.
        view_behind (int, optional): how many rows of it are at the agent's back; ``None``: as many as ahead.
        actions (str): ``"turn"``: stay, four moves relative to where the agent looks, two turns, and its view turns
            with it; ``"compass"``: stay and four moves to fixed sides, the agent looks where it went last, and north is
            on top of its view. The beams come after those, zapping first.
        zap_length (int): of the zapping beam; 0: zapping is no action.
        zap_width (int): rays of it, an odd number.
        zap_cooldown (int): steps after a shot before the next.
        zap_timeout (int): for so many steps an agent that was hit is out of the world; 0: it stays.
        zap_penalty (float): what being hit costs.
        zap_cost (float): what a shot costs.
    """

    map: str = "own"
    max_steps: int
    view: int
    view_behind: int | None = None
    actions: str = "turn"
    zap_length: int = 0
    zap_width: int = 1
    zap_cooldown: int = 0
    zap_timeout: int = 0
    zap_penalty: float = 0.0
    zap_cost: float = 0.0


class GridWorldEnv(SocialDilemmaEnv):
    """Agents with an orientation on a map of cells, where things lie.

    A game names its things and its map's symbols, and states its own rules in :meth:`play`. A step is: all move at
    once, then the game's own rules, then zapping, then those whose time-out is over come back on random free start
    cells.

    **Movement.** No two agents are on one cell. Of several that enter a cell, one drawn at random gets it, and the
    others stay. A cell whose agent leaves in the same step can be entered, so a chain moves together, and so does a
    ring of three or more; two agents do not swap. Whoever cannot enter stays, and blocks those behind.

    **Observations.** Windows of cells around each agent, which turn with it: ``"image"``, ``[k, k, C]`` zeros and ones
    with channels ``[wall, things, beams, self, others in the order of seats after it, looks the same way, right, back,
    left]``; ``"flat"``, the same as a vector; ``"rgb"``, ``[k, k, 3]`` in ``[0, 1]``, a pixel for a cell. What is
    outside of the map looks like a wall; an agent that is out sees nothing, and nobody sees whether a beam has cooled
    down. The state is the whole map in the same form, as the first agent has it.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (GridRules): the variant.
        rows (sequence of str): the map, see :func:`~benchmarl_reciprocator.tasks.grid.map.read_map`.
        things (mapping): colour of every kind of thing that may lie on a cell, by name.
        start (mapping): what lies on the cells of every symbol of the game at the start of an episode, the name of a
            thing or ``None``. Cells are numbered in this order.
        floors (mapping, optional): colour of the floor where a symbol is.
        beams (mapping, optional): beams besides zapping, by the name of their action.
        info (sequence of str): what :meth:`play` reports, one number for each agent.
        observation (str): ``"image"``, ``"rgb"`` or ``"flat"``.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`, whose ``max_steps`` comes from the rules.

    Raises:
        ValueError: on a bad option, naming the key, the value and what is allowed; in a map, row and column too.
    """

    def __init__(
        self,
        n_agents: int,
        rules: GridRules,
        rows: Sequence[str],
        *,
        things: Mapping[str, str],
        start: Mapping[str, str | None],
        floors: Mapping[str, str] | None = None,
        beams: Mapping[str, Beam] | None = None,
        info: Sequence[str] = (),
        observation: str = "image",
        **kwargs,
    ) -> None:
        check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"2 to {MAX_AGENTS}")
        check_rules(rules)
        check_option("task.observation", observation, observation in OBSERVATIONS, " | ".join(OBSERVATIONS))
        grid = read_map(rows, "".join(start), n_agents)
        largest = 2 * max(grid.shape) - 1
        check_option("task.view", rules.view, rules.view <= largest, f"1 to {largest}, which shows the whole map")
        zap = (
            {"zap": Beam(rules.zap_length, rules.zap_width, rules.zap_cooldown, ZAP_COLOUR)} if rules.zap_length else {}
        )
        self.rules = rules
        self.grid = grid
        self.observation = observation
        self.beams = {**zap, **(beams or {})}
        self.actions = {name: number for number, name in enumerate([*ACTIONS[rules.actions], *self.beams])}
        self.beam_number = {name: number for number, name in enumerate(self.beams, 1)}
        self.things_named = {name: number for number, name in enumerate(("nothing", "wall", *things))}
        self._colours = [None, WALL_COLOUR, *things.values()]
        self._floors = dict(floors or {})
        looks = _appearances(n_agents, self._colours, [beam.colour for beam in self.beams.values()], observation)
        if rules.actions == "compass":
            looks = looks[:, :1]
        check_memory(rules.view, n_agents * looks.shape[-1], kwargs["num_envs"], kwargs.get("device", "cpu"))
        super().__init__(
            [len(self.actions)] * n_agents,
            observation_shape=self._shape(rules.view, rules.view, looks.shape[-1]),
            state_shape=self._shape(*grid.shape, looks.shape[-1]),
            info={name: 1 for name in (*info, "zaps", "zapped", "out")},
            max_steps=rules.max_steps,
            **kwargs,
        )
        device, batch = self.device, self.batch_size
        self._codes = looks.shape[2]
        self._looks = looks.flatten(0, 2).to(device)
        landing, facing = _move_tables(grid, rules.actions, len(self.actions))
        self._landing, self._turned = landing.flatten().to(device), facing.flatten().to(device)
        behind = rules.view // 2 if rules.view_behind is None else rules.view_behind
        self._windows = window_cells(grid, rules.view, behind).flatten(0, 1).to(device)
        self._rays = _ray_table(grid, list(self.beams.values())).to(device)
        self._layout = grid.layout.flatten().to(device)
        self._spawns = grid.cells(SPAWN)
        seats = torch.arange(n_agents, device=device)
        # What a beam and somebody standing there add to the number of a cell's appearance.
        self._beam_unit = len(self.things_named)
        self._standing_unit = self._beam_unit * (len(self.beams) + 1)
        self._beam_codes = (torch.arange(len(self.beams) + 1, device=device) * self._beam_unit).int()
        self._seats = seats
        self._first_poses = 4 * seats
        self._pose_codes = (torch.arange(1, 4 * n_agents + 1, device=device) * self._standing_unit).int()
        # Whose number that is: of the seat, N for nobody.
        self._seat_of = torch.full((4 * n_agents * self._standing_unit + 1,), n_agents, device=device)
        self._seat_of[self._pose_codes.long()] = seats.repeat_interleave(4)
        self._beam_of = torch.tensor([0] * len(ACTIONS[rules.actions]) + [*self.beam_number.values()], device=device)
        stops = [self.things_named.get(beam.stopped_by, -2) for beam in self.beams.values()]
        self._stops = torch.tensor([-2, *stops], dtype=torch.int32, device=device)
        cooldowns = [0, *(beam.cooldown for beam in self.beams.values())]
        self._cooldowns = torch.tensor(cooldowns, device=device) if any(cooldowns) else None
        self._own_looks = seats * looks.shape[1] * self._codes
        self._first_cells = torch.arange(batch[0], device=device).view(-1, 1, 1) * (grid.nowhere + 1)
        contents = {**start, SPAWN: None, FLOOR: None}
        first = [self.things_named[contents[symbol] or "nothing"] for symbol in grid.symbols()]
        # Nowhere lies no thing, not even nothing, which a game might turn into something.
        self._first_things = torch.tensor([*first, self.things_named["wall"], -1], dtype=torch.int32, device=device)

        # What lies on every cell, [B, n + 2]; and what beam passed over it in the last step and who stands there, as
        # they add to the number of its appearance.
        self.things = self._first_things.repeat(*batch, 1)
        self._beamed = torch.zeros_like(self.things)
        self._standing = torch.zeros_like(self.things)
        self._seen = torch.zeros_like(self.things)
        # Of agents, [B, N]: cell, orientation (0 north, 1 east, 2 south, 3 west), and steps still to be out.
        self.cells = torch.full((*batch, n_agents), grid.nowhere, device=device)
        self.facing = torch.zeros_like(self.cells)
        self.out = torch.zeros_like(self.cells)
        # The beam that each fires, 0 for none, [B, N], the cells it reaches, [B, N, width, length], and steps until the
        # next.
        self._fires = torch.zeros_like(self.cells)
        self._reach = torch.full((*batch, n_agents, *self._rays.shape[1:]), grid.nowhere, device=device)
        self._cooldown = torch.zeros(*batch, n_agents, len(self.beams) + 1, dtype=torch.long, device=device)

    @abstractmethod
    def play(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The game's own rules, once all have moved.

        Args:
            actions (Tensor): ``[B, N]``; of agents that are out, "stay".

        Returns:
            tuple[Tensor, dict[str, Tensor]]: rewards and what ``info`` names, ``[B, N]`` each.
        """

    def start(self, where: Tensor) -> None:
        rows = where.nonzero().squeeze(-1)
        n_spawns = self._spawns.stop - self._spawns.start
        order = self.random(len(rows), n_spawns).topk(self.n_agents).indices
        self.things[rows] = self._first_things
        self._beamed[rows] = 0
        self.cells[rows] = order + self._spawns.start
        self.facing[rows] = (self.random(len(rows), self.n_agents) * 4).long()
        self.out[rows] = 0
        self._cooldown[rows] = 0
        self._stand()
        self._look()

    def place(self, cells: Tensor | None = None, facing: Tensor | None = None, things: Tensor | None = None) -> None:
        """Put agents on cells ``[B, N]``, turn them, ``[B, N]``, and lay things down, ``[B, n + 2]``."""
        if cells is not None:
            self.cells = cells.to(self.cells).clone()
        if facing is not None:
            self.facing = facing.to(self.facing).clone()
        if things is not None:
            self.things = things.to(self.things).clone()
        self._stand()
        self._look()

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        playing = self.out == 0
        actions = actions * playing
        self._move(actions)
        self._fire(actions)
        rewards, info = self.play(actions)
        back = self.out == 1
        self.out = (self.out - 1).clamp(min=0)
        zaps = zapped = torch.zeros_like(playing)
        if self.rules.zap_length:
            zaps, zapped = self.fired("zap"), self._zap()
        if self.rules.zap_penalty or self.rules.zap_cost:
            rewards = rewards - self.rules.zap_penalty * zapped - self.rules.zap_cost * zaps
        self._come_back(back)
        self._stand()
        self._look()
        info = {**info, "zaps": zaps, "zapped": zapped, "out": ~playing}
        # The rewards are a tensor of their own, also where a game reports the same beside them.
        return rewards.clone(), {name: value.float().unsqueeze(-1) for name, value in info.items()}

    def observations(self) -> Tensor:
        turned = self.facing if self.rules.actions == "turn" else torch.zeros_like(self.facing)
        window = self._windows.index_select(0, (self.cells * 4 + turned).flatten()).view(*self.cells.shape, -1)
        window += self._first_cells
        codes = self._seen.flatten().index_select(0, window.flatten()).view_as(window)
        codes += (self._own_looks + turned * self._codes).int().unsqueeze(-1)
        side = self.rules.view
        return embedding(codes, self._looks).view(*self.cells.shape, *self._shape(side, side, self._looks.shape[-1]))

    def state(self, first_seat: int = 0) -> Tensor:
        codes = self._seen.index_select(1, self._layout) + self._own_looks[first_seat].int()
        return embedding(codes, self._looks).view(
            *self.batch_size, *self._shape(*self.grid.shape, self._looks.shape[-1])
        )

    @property
    def interchangeable_seats(self) -> bool:
        """Everybody starts anywhere and nobody goes first; a game whose own rules tell seats apart says so here."""
        return True

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes, see
        :func:`~benchmarl_reciprocator.tasks.grid.board.draw_grid`.
        """
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        beams = [None, *(beam.colour for beam in self.beams.values())]
        floors = [self._floors.get(symbol) for symbol in self.grid.symbols()]
        cells = self._layout.view(self.grid.shape).tolist()
        return draw_grid(
            cells,
            [*floors, None],
            [self._colours[thing] for thing in self.things[0].tolist()],
            [beams[beam] for beam in (self._beamed[0] // self._beam_unit).tolist()],
            list(zip(self.cells[0].tolist(), self.facing[0].tolist())),
        )

    def rays(self, beam: str) -> Tensor:
        """Cells that a beam reaches where neither agents nor things are in its way, by the cell and the orientation of
        who fires: ``[n + 2, 4, width, length]``, nowhere for no cell.
        """
        return self._rays.unflatten(0, (-1, self.grid.nowhere + 1, 4))[self.beam_number[beam]]

    def move_tables(self) -> tuple[Tensor, Tensor]:
        """Where an action leads who is alone, ``[A, 4, n + 2]``, and where it looks then, ``[A, 4]``, by its
        orientation and cell.
        """
        return self._landing.view(len(self.actions), 4, -1), self._turned.view(-1, 4)

    def take(self, thing: str) -> Tensor:
        """Agents that stand on such a thing take it: boolean ``[B, N]``."""
        under = self.things.gather(1, self.cells)
        taken = under == self.things_named[thing]
        self.things.scatter_(1, self.cells, under.masked_fill(taken, 0))
        return taken

    def fired(self, beam: str) -> Tensor:
        """Who fires such a beam in this step, boolean ``[B, N]``."""
        return self._fires == self.beam_number[beam]

    def reached(self, beam: str) -> Tensor:
        """Cells that the beams of that name reach in this step, with those of what ends their rays: ``[B, N, width,
        length]``, nowhere for no cell.
        """
        return torch.where(self.fired(beam)[..., None, None], self._reach, self.grid.nowhere)

    def change(self, reach: Tensor, thing: str, into: str) -> Tensor:
        """Turn things of one kind on the cells ``reach`` ``[B, N, *K]`` into those of another: how many of them each
        agent reached, ``[B, N]``.
        """
        flat = reach.flatten(1)
        found = self.things.gather(1, flat)
        hit = found == self.things_named[thing]
        self.things.scatter_(1, flat, found.masked_fill(hit, self.things_named[into]))
        return hit.view_as(reach).flatten(2).sum(-1)

    def grow(self, cells: slice, thing: str, chance: Tensor | float) -> None:
        """Things appear on each free cell, where nothing lies and nobody stands, with a chance.

        Args:
            cells (slice): where they may.
            thing (str): its name.
            chance (Tensor or float): of each cell, to be broadcast to ``[B, cells]``.
        """
        lying = self.things[:, cells]
        free = (lying | self._standing[:, cells]).eq_(0)
        grows = self.random(*lying.shape).lt_(chance).int()
        lying.addcmul_(free, grows, value=self.things_named[thing])

    def spawn_one(self, cells: slice, thing: str, chance: Tensor | float, over: str) -> None:
        """With a chance, a thing appears in place of one of another kind, drawn at random; agents may stand there.

        Args:
            cells (slice): where it may.
            thing (str): its name.
            chance (Tensor or float): in an environment, to be broadcast to ``[B, 1]``.
            over (str): what it takes the place of.
        """
        lying = self.things[:, cells]
        most, drawn = self.random(*lying.shape).mul_(self.lies(cells, over)).max(-1, keepdim=True)
        happens = (self.random(*self.batch_size, 1) < chance) & (most > 0)
        lying.scatter_(1, drawn, torch.where(happens, self.things_named[thing], lying.gather(1, drawn)))

    def lies(self, cells: slice, thing: str) -> Tensor:
        """1 where such a thing lies: ``[B, cells]``, float."""
        # In place, a comparison keeps the type of its numbers, and is several times as fast as one that gives booleans.
        return (self.things[:, cells] - self.things_named[thing]).eq_(0).float()

    def _move(self, actions: Tensor) -> None:
        """Moves of all at once, see :class:`GridWorldEnv`."""
        landing = self._landing.take((actions * 4 + self.facing) * (self.grid.nowhere + 1) + self.cells)
        self.facing = self._turned.take(actions * 4 + self.facing)
        occupant = self._seats_at(landing)
        occupant = torch.where(occupant < self.n_agents, occupant, self._seats)
        # Integers so large that no two are equal.
        priority = torch.randint(2**62, landing.shape, generator=self._generator, device=self.device)
        self.cells = resolve_moves(self.cells, landing, priority, occupant)
        self._stand()

    def _fire(self, actions: Tensor) -> None:
        """Agents whose action it is fire, if their beam has cooled down."""
        beam = self._beam_of.take(actions)
        if self._cooldowns is not None:
            beam = beam * (self._cooldown.gather(-1, beam.unsqueeze(-1)).squeeze(-1) == 0)
            cooler = (self._cooldown - 1).clamp(min=0)
            self._cooldown = cooler.scatter(-1, beam.unsqueeze(-1), self._cooldowns.take(beam).unsqueeze(-1))
            self._cooldown[..., 0] = 0
        self._fires = beam
        row = (beam * (self.grid.nowhere + 1) + self.cells) * 4 + self.facing
        reach = self._rays.index_select(0, row.flatten()).view_as(self._reach)
        flat = reach.flatten(1)
        stopped = self.things.gather(1, flat).view_as(reach) == self._stops.take(beam)[..., None, None]
        ends = stopped | (self._standing.gather(1, flat).view_as(reach) > 0)
        behind = ends.cumsum(-1) > ends
        self._reach = reach.masked_fill(behind, self.grid.nowhere)
        code = self._beam_codes.take(beam)[..., None, None].expand_as(reach).flatten(1)
        self._beamed = torch.zeros_like(self._beamed).scatter_reduce_(1, self._reach.flatten(1), code, "amax")

    def _zap(self) -> Tensor:
        """Who is hit, boolean ``[B, N]``; whoever is hit is out from now on."""
        seats = self._seats_at(self.reached("zap").flatten(1))
        zapped = torch.zeros(*self.batch_size, self.n_agents + 1, dtype=torch.bool, device=self.device)
        zapped = zapped.scatter_(1, seats, True)[:, :-1]
        if self.rules.zap_timeout:
            self.out = torch.where(zapped, self.rules.zap_timeout, self.out)
            self.cells = self.cells.masked_fill(zapped, self.grid.nowhere)
        return zapped

    def _come_back(self, back: Tensor) -> None:
        """Agents in the mask ``back`` ``[B, N]`` appear on start cells drawn at random among those where nobody
        stood in this step, looking anywhere.
        """
        rows = back.any(-1).nonzero().squeeze(-1)
        if len(rows) == 0:
            return
        back = back[rows]
        taken = self._standing[rows, self._spawns] > 0
        free_first = self.random(*taken.shape).masked_fill(taken, -1.0).topk(self.n_agents).indices
        place = free_first.gather(1, (back.cumsum(-1) - 1).clamp(min=0)) + self._spawns.start
        self.cells[rows] = torch.where(back, place, self.cells[rows])
        self.facing[rows] = torch.where(back, (self.random(*back.shape) * 4).long(), self.facing[rows])

    def _seats_at(self, cells: Tensor) -> Tensor:
        """Who stands on ``cells`` ``[B, *K]``, ``N`` for nobody."""
        return self._seat_of.index_select(0, self._standing.gather(1, cells).flatten()).view_as(cells)

    def _stand(self) -> None:
        """Note who stands where."""
        standing = torch.zeros_like(self._standing)
        standing.scatter_(1, self.cells, self._pose_codes.take(self._first_poses + self.facing))
        standing[:, self.grid.nowhere] = 0
        self._standing = standing

    def _look(self) -> None:
        """Note what is to be seen of every cell; nothing of nowhere."""
        self._seen = self.things + self._beamed + self._standing
        self._seen[:, self.grid.nowhere] = 0

    def _shape(self, rows: int, columns: int, channels: int) -> list[int]:
        return [rows * columns * channels] if self.observation == "flat" else [rows, columns, channels]


def resolve_moves(cells: Tensor, landing: Tensor, priority: Tensor, occupant: Tensor) -> Tensor:
    """Where agents are after they all moved at once: no two on one cell, no swaps, chains and rings move together.

    Args:
        cells (Tensor): where they are, ``[B, N]``; numbers may repeat among agents that stay.
        landing (Tensor): where each wants to be, ``[B, N]``.
        priority (Tensor): of those that enter one cell, who has the largest gets it, ``[B, N]``; all differ, none is
            below 0.
        occupant (Tensor): which agent is where each wants to be, its own number if there is none, ``[B, N]``.

    Returns:
        Tensor: ``[B, N]``.
    """
    n_agents = cells.shape[-1]
    moves = landing != cells
    rank = priority.masked_fill(~moves, -1)
    same = landing.unsqueeze(-1) == landing.unsqueeze(-2)
    loses = (same & (rank.unsqueeze(-1) < rank.unsqueeze(-2))).any(-1)
    # One that moves waits for another whose own cell is the goal, and is never its own occupant.
    swaps = (landing.gather(-1, occupant) == cells) & moves
    able = moves & ~(loses | swaps)
    # Pointers that double their reach tell whether all along the chain of occupants are able.
    for _ in range((n_agents - 1).bit_length()):
        able = able & able.gather(-1, occupant)
        occupant = occupant.gather(-1, occupant)
    return torch.where(able, landing, cells)


def check_rules(rules: GridRules) -> None:
    """Raise one ``ValueError`` that names the key, the value and what is allowed, if the shared rules do not fit."""
    check_option("task.actions", rules.actions, rules.actions in ACTIONS, " | ".join(ACTIONS))
    check_option("task.view", rules.view, type(rules.view) is int and rules.view >= 1, "an integer >= 1")
    check_option(
        "task.view_behind",
        rules.view_behind,
        rules.view_behind is None or 0 <= rules.view_behind < rules.view,
        f"null (as many as ahead) or 0 to {rules.view - 1} (task.view - 1)",
    )
    for key in ("zap_length", "zap_cooldown", "zap_timeout"):
        check_option(f"task.{key}", getattr(rules, key), getattr(rules, key) >= 0, "an integer >= 0")
    check_width("task.zap_width", rules.zap_width)
    for key in ("zap_penalty", "zap_cost"):
        check_option(
            f"task.{key}", getattr(rules, key), 0 <= getattr(rules, key) < float("inf"), "a finite number >= 0"
        )


def check_memory(view: int, channels: int, num_envs: int, device: torch.device | str) -> None:
    """Raise a ``ValueError`` if the windows of one step, ``channels`` of all agents together, exceed the device's
    memory.
    """
    size = 4 * num_envs * channels * view**2
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else size
    check_option(
        "task.view",
        view,
        size <= memory,
        f"windows that fit in memory: {num_envs} environments take {size / 2**30:,.0f} GiB a step, "
        f"there are {memory / 2**30:,.0f} GiB",
    )


def check_width(key: str, width: int) -> None:
    """Raise a ``ValueError`` unless ``width`` is that of a beam."""
    check_option(key, width, width >= 1 and width % 2 == 1, "an odd integer >= 1")


def check_probability(key: str, value: float) -> None:
    """Raise a ``ValueError`` unless ``value`` is a probability."""
    check_option(key, value, 0 <= value <= 1, "0 <= probability <= 1")


def _move_tables(grid: GridMap, actions: str, n_actions: int) -> tuple[Tensor, Tensor]:
    """Where an action leads, ``[A, 4, n + 2]``, and where the agent looks then, ``[A, 4]``, by its orientation and
    cell.
    """
    one, zero = torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    beside = relative_cells(grid, one, zero)[..., 0].T
    here = torch.arange(grid.nowhere + 1).expand(4, -1)
    beside = torch.where(beside == grid.wall, here, beside)
    landing = here.repeat(n_actions, 1, 1)
    facing = torch.arange(4).repeat(n_actions, 1)
    # The four moves come after "stay".
    if actions == "compass":
        landing[1:5] = beside.unsqueeze(1)
        facing[1:5] = torch.arange(4).unsqueeze(1)
    else:
        for side in range(4):
            landing[1 + side] = beside.roll(-side, 0)
        facing[5:7] = torch.stack([facing[0] - 1, facing[0] + 1]) % 4
    return landing, facing


def _ray_table(grid: GridMap, beams: Sequence[Beam]) -> Tensor:
    """Where no beam and each of ``beams`` goes: ``[(1 + beams) (n + 2) 4, width, length]`` of the widest and the
    longest, by beam, cell and orientation; nowhere for no cell.
    """
    width, length = (max((beam[side] for beam in beams), default=1) for side in (1, 0))
    table = torch.full((len(beams) + 1, grid.nowhere + 1, 4, width, length), grid.nowhere)
    for number, beam in enumerate(beams, 1):
        table[number, ..., : beam.width, : beam.length] = ray_cells(grid, beam.length, beam.width)
    return table.flatten(0, 2)


def _appearances(n_agents: int, things: Sequence[str | None], beams: Sequence[str], observation: str) -> Tensor:
    """What a cell looks like to every agent in every orientation, ``[N, 4, codes, C]``.

    A code is the thing, plus the number of things times the sum of the beam (0 for none) and the number of beams plus
    one times who stands there (0 for nobody, else 1 plus the orientation plus four times the seat).
    """
    n_things, n_beams = len(things), len(beams) + 1
    code = torch.arange(n_things * n_beams * (1 + 4 * n_agents))
    thing, beam, standing = code % n_things, code // n_things % n_beams, code // (n_things * n_beams)
    somebody = standing > 0
    viewer = torch.arange(n_agents).view(-1, 1, 1)
    turned = torch.arange(4).view(-1, 1)
    # As the viewer sees them: seats after its own, orientations relative to its own.
    seat = (((standing - 1) // 4 - viewer) % n_agents).expand(-1, 4, -1)
    facing = ((standing - 1) % 4 - turned).remainder(4).expand(n_agents, -1, -1)
    if observation == "rgb":
        colours = torch.stack([rgb(colour) for colour in things])[thing]
        colours = torch.where((beam > 0).unsqueeze(-1), torch.stack([rgb(None), *map(rgb, beams)])[beam], colours)
        agents = torch.stack([rgb(colour) for colour in COLOURS])[seat]
        return torch.where(somebody.unsqueeze(-1), agents, colours)
    fixed = torch.cat([one_hot(thing, n_things)[:, 1:], one_hot(beam, n_beams)[:, 1:]], -1)
    agents = torch.cat([one_hot(seat, n_agents), one_hot(facing, 4)], -1) * somebody.unsqueeze(-1)
    return torch.cat([fixed.expand(n_agents, 4, -1, -1), agents], -1).float()


@dataclass
class GridWorldOptions:
    """Options that all grid worlds have, see :class:`GridWorldEnv`. Rules that are ``None`` are those of the variant.

    Args:
        variant (str): one of the game's published sets of rules.
        map (str or list of str, optional): the name of a map of the game, or a map's rows.
    """

    n_agents: int = MISSING
    variant: str = MISSING
    map: Any = MISSING
    max_steps: int | None = MISSING
    view: int | None = MISSING
    view_behind: int | None = MISSING
    actions: str | None = MISSING
    zap_length: int | None = MISSING
    zap_width: int | None = MISSING
    zap_cooldown: int | None = MISSING
    zap_timeout: int | None = MISSING
    zap_penalty: float | None = MISSING
    zap_cost: float | None = MISSING
    observation: str = MISSING
    continuation_probability: float = MISSING
    grouping: str = MISSING

    def rules_among(self, variants: Mapping[str, Any], maps: Mapping[str, str]) -> tuple[Any, list[str]]:
        """The variant's rules, with what is set beside it, and the rows of the map."""
        check_option("task.variant", self.variant, self.variant in variants, " | ".join(variants))
        rules = variants[self.variant]
        own = {field.name: getattr(self, field.name) for field in fields(rules)}
        rules = type(rules)(**{**vars(rules), **{key: value for key, value in own.items() if value is not None}})
        if not isinstance(rules.map, str):
            return rules, rules.map
        check_option("task.map", rules.map, rules.map in maps, f"{' | '.join(maps)}, or a list of rows")
        return rules, maps[rules.map].strip("\n").split("\n")

    def shared(self, num_envs: int, device: torch.device | str, seed: int | None) -> dict[str, Any]:
        """The environment's keyword arguments that are no rules."""
        return {
            "observation": self.observation,
            "continuation_probability": self.continuation_probability,
            "grouping": self.grouping,
            "num_envs": num_envs,
            "device": device,
            "seed": seed,
        }


def grid_metrics(trajectories: TensorDictBase, valid: Tensor, counts: Sequence[str] = ("apples",)) -> dict[str, Tensor]:
    """Measures that all grid worlds have.

    Args:
        trajectories (TensorDictBase): ``[E, T]``, as collected from a :class:`GridWorldEnv`.
        valid (Tensor): boolean ``[E, T]``, whether the step belongs to the trajectory (or pads it).
        counts (sequence of str): names of ``info`` that are added up over an episode.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``peace``, the share of agent-steps not spent zapped out; ``zaps``, shots in
            the episode; what ``counts`` names; and all counts by agent, ``agent_<i>_zaps``.
    """
    weight = valid.unsqueeze(-1)
    out = joint_entry(trajectories, "next", "info", "out") * weight
    metrics = {"peace": 1 - out.sum((-1, -2)) / (weight.sum((-1, -2)) * out.shape[-1])}
    for name in (*counts, "zaps"):
        by_agent = (joint_entry(trajectories, "next", "info", name) * weight).sum(-2)
        metrics[name] = by_agent.sum(-1)
        metrics.update({f"agent_{agent}_{name}": value for agent, value in enumerate(by_agent.unbind(-1))})
    return metrics


def mean_over_steps(trajectories: TensorDictBase, valid: Tensor, name: str) -> Tensor:
    """Mean of what ``info`` names over the steps of each trajectory and all agents, ``[E]``."""
    values = joint_entry(trajectories, "next", "info", name).mean(-1) * valid
    return values.sum(-1) / valid.sum(-1)
