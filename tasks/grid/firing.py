"""Beams of a grid world: who fires which, where its rays go, and when it can be fired again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import GridMap, ray_table
from benchmarl_reciprocator.tasks.grid.rules import Beam
from benchmarl_reciprocator.tasks.options import check_option, one_of

# The number of no thing.
NO_THING = -2


@dataclass(frozen=True)
class Shots:
    """The beams that ``S`` agents fire in a step.

    Args:
        agent (Tensor): who fires, as ``environment * N + seat``: ``[S]``, ascending.
        beam (Tensor): number of the beam, ``[S]``.
        places (Tensor): cells that it reaches, including that of what stops a ray, in a flat table of the cells of all
            environments: ``[S, width, length]``, its environment's nowhere for no cell.
    """

    agent: Tensor
    beam: Tensor
    places: Tensor


class Firing:
    """The beams of all agents in ``B`` environments.

    Args:
        beams (mapping): by the name of their action; these actions come after the moves, in this order.
        n_moves (int): number of actions before them.
        grid (GridMap): the map.
        things (mapping): numbers of kinds of things, by name.
        n_envs (int): number of environments ``B``.
        n_agents (int): number of agents ``N``.
        device (torch.device): device of all tensors.
        n_further (int): number of actions after them.

    Attributes:
        number (dict): number of each beam by name, from 1 on; 0 is none.
        fires (Tensor): number of the beam that each agent fires in this step, ``[B, N]``.
        shots (Shots): the beams that are fired in this step.
        in_turn (Tensor, optional): whether each beam acts in turn, boolean ``[1 + beams]``; ``None`` if none does.
        rays (Tensor): cells that it reaches if nothing is in the way, ``[1 + beams, n + 2, 4, width, length]``, by
            beam, and by cell and orientation of the agent that fires.
    """

    def __init__(
        self,
        beams: Mapping[str, Beam],
        n_moves: int,
        grid: GridMap,
        things: Mapping[str, int],
        n_envs: int,
        n_agents: int,
        device: torch.device,
        n_further: int = 0,
    ) -> None:
        for name, beam in beams.items():
            for thing in beam.stoppers():
                check_option(f"stopped_by of the beam {name!r}", thing, thing in things, one_of([None, *things]))
        self.number = {name: number for number, name in enumerate(beams, 1)}
        self._nowhere = grid.nowhere
        self._rays = ray_table(grid, list(beams.values())).to(device)
        self.rays = self._rays.unflatten(0, (-1, grid.nowhere + 1, 4))
        self._beam_of = torch.tensor([0] * n_moves + [*self.number.values()] + [0] * n_further, device=device)
        stops = [[things[thing] for thing in beam.stoppers()] for beam in beams.values()]
        most = max([1, *map(len, stops)])
        rows = [row + [NO_THING] * (most - len(row)) for row in [[], *stops]]
        # By beam, a kind that stops it, as often as one has several.
        self._stops = torch.tensor(rows, dtype=torch.int32, device=device).T.contiguous().unbind()
        cooldowns = [0, *(beam.cooldown for beam in beams.values())]
        self._cooldowns = torch.tensor(cooldowns, device=device) if any(cooldowns) else None
        through = [False, *(beam.through_agents for beam in beams.values())]
        self._through = torch.tensor(through, device=device) if any(through) else None
        in_turn = [False, *(beam.in_turn for beam in beams.values())]
        self.in_turn = torch.tensor(in_turn, device=device) if any(in_turn) else None
        self.fires = torch.zeros(n_envs, n_agents, dtype=torch.long, device=device)
        nobody = self.fires[0, :0]
        self.shots = Shots(nobody, nobody, self._rays[:0])
        # Steps until each beam can be fired again.
        self._wait = torch.zeros(n_envs, n_agents, len(beams) + 1, dtype=torch.long, device=device)

    def start(self, rows: Tensor) -> None:
        """In the environments ``rows``, every beam can be fired."""
        self._wait[rows] = 0

    def wait(self, beam: str) -> Tensor:
        """Steps until each agent can fire the beam of that name again, ``[B, N]``."""
        return self._wait[..., self.number[beam]]

    def fire(
        self,
        actions: Tensor,
        cells: Tensor,
        facing: Tensor,
        able: Tensor,
        things: Tensor,
        standing: Tensor,
        order: Tensor | None,
    ) -> Shots:
        """Agents that choose to fire do so, if their beam has cooled down.

        Args:
            actions (Tensor): ``[B, N]``.
            cells (Tensor): where agents are, ``[B, N]``.
            facing (Tensor): where they look, ``[B, N]``.
            able (Tensor): who could fire in this step, boolean ``[B, N]``; the beams of the others do not cool down.
            things (Tensor): what lies on every cell for what beams stop at, ``[B, n + 2]``.
            standing (Tensor): above 0 where an agent is, ``[B, n + 2]``.
            order (Tensor, optional): each agent's place in the order of beams that act in turn, ``[B, N]``; needed only
                where some do.

        Returns:
            Shots: the beams that they fire.
        """
        beam = self._beam_of.take(actions)
        if self._cooldowns is not None:
            beam = beam * (self._wait.gather(-1, beam.unsqueeze(-1)).squeeze(-1) == 0)
            cooler = (self._wait - able.unsqueeze(-1).long()).clamp_(min=0)
            self._wait = cooler.scatter_(-1, beam.unsqueeze(-1), self._cooldowns.take(beam).unsqueeze(-1))
        self.fires = beam
        flat = beam.flatten()
        shot = flat.nonzero().squeeze(-1)
        beam, n_cells = flat.index_select(0, shot), self._nowhere + 1
        row = (beam * n_cells + cells.flatten().index_select(0, shot)) * 4 + facing.flatten().index_select(0, shot)
        reach = self._rays.index_select(0, row)
        # Where each environment's cells begin, by shot.
        begin = (shot // cells.shape[1]).mul_(n_cells).view(-1, 1, 1)
        places = reach + begin
        lying = things.take(places)
        kinds = beam.view(-1, 1, 1)
        first, *further = self._stops
        stopped = lying == first.take(kinds)
        for kind in further:
            stopped |= lying == kind.take(kinds)
        meets = standing.take(places) > 0
        if self._through is not None:
            meets &= ~self._through.take(kinds)
        ends = stopped | meets
        behind = ends.cumsum(-1) > ends
        if self.in_turn is not None and order is not None:
            turns = order.flatten().index_select(0, shot).view(-1, 1, 1)
            self._one_by_one(self.in_turn.take(kinds), stopped, meets, behind, places, turns, things.numel())
        reach.masked_fill_(behind, self._nowhere)
        self.shots = Shots(shot, beam, reach + begin)
        return self.shots

    def _one_by_one(
        self,
        in_turn: Tensor,
        stopped: Tensor,
        meets: Tensor,
        behind: Tensor,
        places: Tensor,
        turns: Tensor,
        n_places: int,
    ) -> None:
        """Let beams act one after another that do: a ray is stopped by the first thing that no earlier one has changed.

        Every ray claims the first thing in its way. Of several that claim a thing the first in the order gets it, and
        the others claim the next in their way, until all claims differ.

        Args:
            in_turn (Tensor): whether it is such a beam, by shot, boolean ``[S, 1, 1]``.
            stopped (Tensor): what stops a ray if it is there, boolean ``[S, width, length]``.
            meets (Tensor): where an agent does.
            behind (Tensor): cells behind what stops a ray, if all act simultaneously; changed in place.
            places (Tensor): cells of the rays, in all environments, ``[S, width, length]``.
            turns (Tensor): each shooter's place in the order, ``[S, 1, 1]``.
            n_places (int): number of cells in all environments.
        """
        claims = stopped & in_turn & ~behind
        # Where no two claim the same, all stays as it is.
        claimed = places[claims].sort().values
        if not (claimed[1:] == claimed[:-1]).any():
            return
        turns = turns.expand_as(places)
        in_way = stopped & in_turn & ~(meets.cumsum(-1) > meets)
        number = in_way.cumsum(-1)
        next_claim = torch.ones_like(number[..., :1])
        while True:
            claims = in_way & (number == next_claim)
            loses = (first_claims(places, claims, turns, n_places) < turns) & claims
            if not loses.any():
                break
            next_claim = next_claim + loses.any(-1, keepdim=True)
        ends = torch.where(in_turn, claims, stopped) | meets
        torch.gt(ends.cumsum(-1), ends, out=behind)

    def fired(self, beam: str) -> Tensor:
        """Who fires a beam of that name in this step, boolean ``[B, N]``."""
        return self.fires == self.number[beam]

    def reached(self, beam: str) -> Tensor:
        """Cells that beams of that name reach in this step, including those of what stops their rays:
        ``[B, N, width, length]``, nowhere for no cell.
        """
        shots = self.shots
        chosen = (shots.beam == self.number[beam]).nonzero().squeeze(-1)
        agent = shots.agent.index_select(0, chosen)
        begin = agent // self.fires.shape[1] * (self._nowhere + 1)
        cells = shots.places.index_select(0, chosen) - begin.view(-1, 1, 1)
        reach = cells.new_full((self.fires.numel(), *cells.shape[1:]), self._nowhere).index_copy_(0, agent, cells)
        return reach.unflatten(0, self.fires.shape)


def change_things(things: Tensor, reach: Tensor, kind: int, into: int, order: Tensor) -> Tensor:
    """Turn things of one kind, on cells that agents reach, into another: each once, by the first agent in the order.

    Args:
        things (Tensor): numbers of what lies on every cell, ``[B, n + 2]``, 32-bit integers; changed in place.
        reach (Tensor): cells that each agent reaches, all different but for nowhere, ``[B, N, *K]``.
        kind (int): number of the kind that is changed.
        into (int): number of the kind that it is turned into.
        order (Tensor): each agent's place in the order, from 0 to ``N - 1``, ``[B, N]``.

    Returns:
        Tensor: how many things each agent changed, integers ``[B, N]``.
    """
    flat = reach.flatten(1)
    found = things.gather(1, flat)
    hit = found == kind
    # The table of things takes down who comes first, in numbers below those of all things.
    place = (order - order.shape[1] + NO_THING).int().unsqueeze(-1)
    claims = torch.where(hit.unflatten(1, (order.shape[1], -1)), place, found.unflatten(1, (order.shape[1], -1)))
    things.scatter_reduce_(1, flat, claims.flatten(1), "amin")
    first = things.gather(1, flat).view_as(claims) == place
    things.scatter_(1, flat, found.masked_fill_(hit, into))
    return first.sum(-1)


def first_claims(cells: Tensor, claims: Tensor, order: Tensor, n_cells: int) -> Tensor:
    """The least ``order`` of those that claim each cell.

    Args:
        cells (Tensor): numbers of cells, ``[*K]``.
        claims (Tensor): whether each is claimed, boolean ``[*K]``.
        order (Tensor): integers ``[*K]``.
        n_cells (int): number of cells.

    Returns:
        Tensor: ``[*K]``, by ``cells``; above all ``order`` for a cell that nobody claims.
    """
    never = torch.iinfo(order.dtype).max
    first = torch.full((n_cells,), never, dtype=order.dtype, device=order.device)
    first.scatter_reduce_(0, cells.flatten(), order.masked_fill(~claims, never).flatten(), "amin")
    return first.take(cells)
