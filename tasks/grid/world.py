"""Grid worlds: the environment that Cleanup, Harvest and your own games share, on a map of cells."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.agents import Agents
from benchmarl_reciprocator.tasks.grid.appearance import OBSERVATIONS, Appearance
from benchmarl_reciprocator.tasks.grid.board import draw_grid
from benchmarl_reciprocator.tasks.grid.firing import Firing
from benchmarl_reciprocator.tasks.grid.map import FLOOR, SPAWN, read_map, window_cells
from benchmarl_reciprocator.tasks.grid.movement import move_tables, resolve_moves
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS, Beam, GridRules, check_memory, check_rules
from benchmarl_reciprocator.tasks.grid.starts import StartCells
from benchmarl_reciprocator.tasks.options import check_option, one_of

WALL_COLOUR, ZAP_COLOUR = "#5B5F66", "#F5C400"


class GridWorldEnv(Agents):
    """Agents with an orientation on a map of cells, where things lie.

    A game names its things and its map's symbols, and states its own rules in :meth:`resolve`. In a step all agents
    move simultaneously, then the game's own rules apply, then zapping, and then agents whose time-out is over come back
    on random free start cells.

    **Movement.** No two agents share a cell. Of several that enter a cell, one drawn at random gets it, and the others
    stay. A cell whose agent leaves in the same step can be entered, so a chain moves together, and so does a ring of
    three or more; two agents do not swap. An agent that cannot enter stays, and blocks those behind it.

    **Beams** meet agents where they are after the moves. What several change is changed by the first in :meth:`order`.

    **Frozen agents** (:meth:`freeze`) stay where they are and do nothing; their beams do not cool down.

    **Observations.** Windows of cells around each agent, which turn with it: ``"image"``, ``[k, k, C]`` zeros and ones
    with channels ``[wall, things, beams, self, others in the order of seats after it, looks the same way, right, back,
    left, marks]``; ``"flat"``, the same as a vector; ``"rgb"``, ``[k, k, 3]`` in ``[0, 1]``, a pixel for a cell. A
    game's :meth:`numbers` follow, each as a plane of its own (or on the agent's cell alone, which is faster), or at the
    end of the vector. What is outside the map looks like a wall; an agent that is out sees nothing but its numbers.
    The state is the whole map in the same form, as the first agent would see it, with everybody's numbers, in an image
    each on the agent's cell.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (GridRules): the variant.
        rows (sequence of str): the map, see :func:`~benchmarl_reciprocator.tasks.grid.map.read_map`.
        things (mapping): colour of each kind of thing that may lie on a cell, by name.
        start (mapping): what lies on the cells of each symbol of the game at the start of an episode: the name of a
            thing or ``None``. Cells are numbered in this order.
        floors (mapping, optional): colour of the floor, by symbol.
        beams (mapping, optional): beams other than zapping, by the name of their action.
        info (sequence of str): what :meth:`resolve` reports, one number for each agent.
        further_actions (sequence of str): actions that only :meth:`resolve` knows; they come last.
        marks (mapping, optional): colour of what everybody sees of an agent, by name: who is marked so stands in
            :attr:`marks`. A game in which agents are frozen has a mark ``"frozen"``.
        n_numbers (int): how many numbers each agent knows beside what it sees, see :meth:`numbers`.
        numbers_everywhere (bool): whether an image has them on all cells of its planes, else on the agent's own.
        own_starts (mapping, optional): seats that start, and come back, on cells of their own, by the symbol of these
            cells, which is one of ``start``'s.
        things_of_seats (sequence of str): a kind of thing for every seat, in their order and that of ``things``. Each
            agent sees its own first among them, and then those of the seats after it.
        observation (str): ``"image"``, ``"rgb"`` or ``"flat"``.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`, whose ``max_steps`` comes from the rules.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
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
        further_actions: Sequence[str] = (),
        marks: Mapping[str, str] | None = None,
        n_numbers: int = 0,
        numbers_everywhere: bool = True,
        own_starts: Mapping[str, Sequence[int]] | None = None,
        things_of_seats: Sequence[str] = (),
        observation: str = "image",
        **kwargs: Any,
    ) -> None:
        check_rules(n_agents, rules)
        check_option("task.observation", observation, observation in OBSERVATIONS, one_of(OBSERVATIONS))
        grid = read_map(rows, "".join(start), n_agents)
        largest = 2 * max(grid.shape) - 1
        check_option("task.view", rules.view, rules.view <= largest, f"at most {largest}, which shows the whole map")
        self.rules = rules
        self.grid = grid
        self.observation = observation
        self.beams = {**({"zap": rules.zap_beam(ZAP_COLOUR)} if rules.zap_length else {}), **(beams or {})}
        names = [*ACTIONS[rules.actions], *self.beams, *further_actions]
        self.actions = {name: number for number, name in enumerate(names)}
        self.things_named = {name: number for number, name in enumerate(("nothing", "wall", *things))}
        self._colours = [None, WALL_COLOUR, *things.values()]
        self._floors = dict(floors or {})
        device = torch.device(kwargs.get("device", "cpu"))
        self._turns = rules.actions != "compass"
        beam_colours = [beam.colour for beam in self.beams.values()]
        behind = rules.view // 2 if rules.view_behind is None else rules.view_behind
        own = None if numbers_everywhere else (rules.view - 1 - behind) * rules.view + rules.view // 2
        of_seats = self.things_named[things_of_seats[0]] if things_of_seats else None
        self._appearance = Appearance(
            n_agents, self._colours, beam_colours, observation, self._turns, device, marks, n_numbers, own, of_seats
        )
        check_memory(rules.view, n_agents * self._appearance.n_channels, kwargs["num_envs"], device)
        super().__init__(
            [len(self.actions)] * n_agents,
            observation_shape=self._appearance.shape(rules.view, rules.view),
            state_shape=self._appearance.shape(*grid.shape, n_agents),
            info={name: 1 for name in (*info, "zaps", "zapped", "out")},
            max_steps=rules.max_steps,
            **kwargs,
        )
        device, batch = self.device, self.batch_size
        landing, facing = move_tables(grid, rules.actions, len(self.actions))
        self._landing, self._turned = landing.flatten().to(device), facing.flatten().to(device)
        self._windows = window_cells(grid, rules.view, behind).flatten(0, 1).to(device)
        # Where on the map each cell is, [n + 2].
        self._places = torch.full((grid.nowhere + 1,), grid.layout.numel(), device=device)
        self._places[: grid.wall] = (grid.places * torch.tensor([grid.shape[1], 1])).sum(-1).to(device)
        self._starts = StartCells(grid, n_agents, own_starts or {}, device)
        self._seats = torch.arange(n_agents, device=device)
        n_moves = len(ACTIONS[rules.actions])
        self._firing = Firing(
            self.beams, n_moves, grid, self.things_named, batch[0], n_agents, device, len(further_actions)
        )
        self._first_cells = torch.arange(batch[0], device=device).view(-1, 1, 1) * (grid.nowhere + 1)
        # Where in the flat table of what is seen the whole map is, [B * rows * columns].
        self._layout = (grid.layout.to(device) + self._first_cells).flatten()
        contents = {**start, SPAWN: None, FLOOR: None}
        first = [self.things_named[contents[symbol] or "nothing"] for symbol in grid.symbols()]
        # By cell, at the start of an episode. Nowhere has not even nothing, which a game might turn into something.
        self.first_things = torch.tensor([*first, self.things_named["wall"], -1], dtype=torch.int32, device=device)

        # What lies on every cell, [B, n + 2]; and what the beam that passed over it in the last step and the agent that
        # stands there add to the code of its appearance.
        self.things = self.first_things.repeat(*batch, 1)
        self._beamed = torch.zeros_like(self.things)
        self._standing = torch.zeros_like(self.things)
        self._seen = torch.zeros_like(self.things)
        self.cells = torch.full((*batch, n_agents), grid.nowhere, device=device)
        self.facing = torch.zeros_like(self.cells)
        self.out = torch.zeros_like(self.cells)
        self.frozen = torch.zeros_like(self.cells)
        self._marked = None
        self.marks = {name: torch.zeros_like(self.cells, dtype=torch.bool) for name in marks or {}}

    @abstractmethod
    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Apply the game's own rules, once all have moved.

        Args:
            actions (Tensor): ``[B, N]``; of agents that are out or frozen, "stay".

        Returns:
            tuple[Tensor, dict[str, Tensor]]: rewards and what ``info`` names, ``[B, N]`` each.
        """

    def start(self, where: Tensor) -> None:
        rows = where.nonzero().squeeze(-1)
        self.things[rows], self._beamed[rows] = self.first_things, 0
        self.cells[rows] = self._starts.draw(len(rows), self.random)
        self.facing[rows] = (self.random(len(rows), self.n_agents) * 4).long()
        self.out[rows] = self.frozen[rows] = 0
        for has in self.marks.values():
            has[rows] = False
        self.lay_out(rows)
        self._firing.start(rows)
        self.mark()
        self.stand()
        self._look()

    def lay_out(self, rows: Tensor) -> None:
        """Start an episode of the game's own in the environments ``rows``: what is drawn anew, and what it counts."""

    def place(self, cells: Tensor | None = None, facing: Tensor | None = None, things: Tensor | None = None) -> None:
        """Set cells and orientations of agents, ``[B, N]`` each, and what lies on every cell, ``[B, n + 2]``."""
        for name, value in (("cells", cells), ("facing", facing), ("things", things)):
            if value is not None:
                setattr(self, name, value.to(getattr(self, name)).clone())
        self.mark()
        self.stand()
        self._look()

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        playing = self.out == 0
        able = self.able()
        actions = actions * able
        back = self.out == 1
        self.out = (self.out - 1).clamp_(min=0)
        if "frozen" in self.marks:
            self.frozen = (self.frozen - 1).clamp_(min=0)
        self._move(actions)
        moved = self.cells
        self._fire(actions, able)
        rewards, info = self.resolve(actions)
        zaps = hits = torch.zeros_like(playing)
        if self.rules.zap_length:
            zaps, hits = self.fired("zap"), self._zap()
        if self.rules.zap_penalty or self.rules.zap_cost:
            rewards = rewards - self.rules.zap_penalty * hits - self.rules.zap_cost * zaps
        self.come_back(hits > 0 if self.rules.zap_restart else back)
        self.mark()
        if self.rules.zap_length or self.cells is not moved or self.marks:
            self.stand()
        self._look()
        info = {**info, "zaps": zaps, "zapped": hits > 0, "out": ~playing}
        # A copy, since a game may report the same tensor in info.
        return rewards.clone(), {name: value.float().unsqueeze(-1) for name, value in info.items()}

    def observations(self) -> Tensor:
        turned = self.facing if self._turns else torch.zeros_like(self.facing)
        window = self._windows.index_select(0, (self.cells * 4 + turned).flatten()).view(*self.cells.shape, -1)
        window += self._first_cells
        codes = self._seen.flatten().index_select(0, window.flatten()).view_as(window)
        seen = self._appearance.to_all(codes, turned, self._numbers())
        return seen.view(*self.cells.shape, *self._appearance.shape(self.rules.view, self.rules.view))

    def state(self, first_seat: int = 0) -> Tensor:
        codes = self._seen.flatten().index_select(0, self._layout).view(*self.batch_size, -1)
        seen = self._appearance.to_seat(codes, first_seat, self._numbers(), self._places.take(self.cells))
        return seen.view(*self.batch_size, *self._appearance.shape(*self.grid.shape, self.n_agents))

    def numbers(self) -> Tensor:
        """What each agent knows beside what it sees, such as what it carries: ``[B, N, n_numbers]``, float."""
        raise NotImplementedError

    def ends(self) -> Tensor:
        ends, rules = super().ends(), self.rules
        if rules.end_chance == 0:
            return ends
        late = (self._steps >= rules.min_steps) & ((self._steps - rules.min_steps) % rules.end_interval == 0)
        return ends | ((self.random(*self.batch_size, 1) < rules.end_chance) & late.unsqueeze(-1))

    @property
    def interchangeable_seats(self) -> bool:
        """True, unless some seats start on cells of their own, or a game's own rules tell seats apart: agents start
        anywhere and nobody moves first.
        """
        return not self._starts.by_seat

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes, see
        :func:`~benchmarl_reciprocator.tasks.grid.board.draw_grid`.
        """
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        beams = [None, *(beam.colour for beam in self.beams.values())]
        floors = [self._floors.get(symbol) for symbol in self.grid.symbols()]
        return draw_grid(
            self.grid.layout.tolist(),
            [*floors, None],
            [self._colours[thing] for thing in self.things[0].tolist()],
            [beams[beam] for beam in self.beam_over[0].tolist()],
            list(zip(self.cells[0].tolist(), self.facing[0].tolist())),
        )

    @property
    def beam_over(self) -> Tensor:
        """Number of the beam that passed over each cell in the last step, 0 for none: ``[B, n + 2]``."""
        return self._beamed // self._appearance.beam_unit

    def rays(self, beam: str) -> Tensor:
        """Cells that a beam reaches if nothing is in its way, by the cell and the orientation of the agent that fires:
        ``[n + 2, 4, width, length]``, nowhere for no cell.
        """
        return self._firing.rays[self._firing.number[beam]]

    def move_tables(self) -> tuple[Tensor, Tensor]:
        """Where an action leads an agent on its own, ``[A, 4, n + 2]``, and where it looks afterwards, ``[A, 4]``, by
        its orientation and cell.
        """
        return self._landing.view(len(self.actions), 4, -1), self._turned.view(-1, 4)

    def fired(self, beam: str) -> Tensor:
        """Who fires the beam of that name in this step, boolean ``[B, N]``."""
        return self._firing.fired(beam)

    def reached(self, beam: str) -> Tensor:
        """Cells that the beams of that name reach in this step, including those of what stops their rays:
        ``[B, N, width, length]``, nowhere for no cell.
        """
        return self._firing.reached(beam)

    def shots(self, beam: str) -> tuple[Tensor, Tensor, Tensor]:
        """The beams of that name that are fired in this step: in which environments and by which seats, ``[S]`` each,
        and the cells that each reaches, in ``things.flatten()``: ``[S, width * length]``.
        """
        fired = self._firing.shots
        chosen = (fired.beam == self._firing.number[beam]).nonzero().squeeze(-1)
        agent = fired.agent.index_select(0, chosen)
        row = agent // self.n_agents
        return row, agent - row * self.n_agents, fired.places.index_select(0, chosen).flatten(1)

    def in_the_way(self) -> Tensor:
        """What lies on every cell for beams that things stop, ``[B, n + 2]``. A game may let some of it be passed."""
        return self.things

    def wait(self, beam: str) -> Tensor:
        """Steps until each agent can fire the beam of that name again, ``[B, N]``."""
        return self._firing.wait(beam)

    def _numbers(self) -> Tensor | None:
        return self.numbers() if self._appearance.n_numbers else None

    def _move(self, actions: Tensor) -> None:
        """Move all agents simultaneously, see :class:`GridWorldEnv`."""
        landing = self._landing.take((actions * 4 + self.facing) * (self.grid.nowhere + 1) + self.cells)
        self.facing = self._turned.take(actions * 4 + self.facing)
        occupant = self.seats_at(landing)
        occupant = torch.where(occupant < self.n_agents, occupant, self._seats)
        # Integers from so large a range that no two are equal.
        priority = torch.randint(2**62, landing.shape, generator=self._generator, device=self.device)
        self.cells = resolve_moves(self.cells, landing, priority, occupant)
        self.stand()

    def _fire(self, actions: Tensor, able: Tensor) -> None:
        """Let agents fire, and note over which cells."""
        order = None if self._firing.in_turn is None else self.order()
        shots = self._firing.fire(actions, self.cells, self.facing, able, self.in_the_way(), self._standing, order)
        code = self._appearance.beam_codes.take(shots.beam).view(-1, 1, 1).expand_as(shots.places)
        self._beamed = torch.zeros_like(self._beamed)
        self._beamed.view(-1).scatter_reduce_(0, shots.places.flatten(), code.flatten(), "amax")

    def _zap(self) -> Tensor:
        """By how many beams each is hit, ``[B, N]``; with a time-out, whoever is hit is out from now on."""
        seats = self.seats_at(self.reached("zap").flatten(1))
        hits = torch.zeros(*self.batch_size, self.n_agents + 1, dtype=torch.long, device=self.device)
        hits = hits.scatter_add_(1, seats, torch.ones_like(seats))[:, :-1]
        if self.rules.zap_timeout:
            self.leave(hits > 0, self.rules.zap_timeout)
        return hits

    def _look(self) -> None:
        """Note what every cell looks like; nothing for nowhere."""
        self._seen = self.things + self._beamed + self._standing
        self._seen[:, self.grid.nowhere] = 0
