"""Beams of a grid world: who fires which, where its rays go, and when it can be fired again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import GridMap, ray_table
from benchmarl_reciprocator.tasks.grid.rules import Beam
from benchmarl_reciprocator.tasks.options import check_option, one_of

# The number of no thing.
NO_THING = -2


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

    Attributes:
        number (dict): number of each beam by name, from 1 on; 0 is none.
        fires (Tensor): number of the beam that each agent fires in this step, ``[B, N]``.
        reach (Tensor): cells that it reaches, including that of what stops a ray: ``[B, N, width, length]``, nowhere
            for no cell.
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
    ) -> None:
        for name, beam in beams.items():
            known = beam.stopped_by is None or beam.stopped_by in things
            check_option(f"stopped_by of the beam {name!r}", beam.stopped_by, known, one_of([None, *things]))
        self.number = {name: number for number, name in enumerate(beams, 1)}
        self._nowhere = grid.nowhere
        self._rays = ray_table(grid, list(beams.values())).to(device)
        self.rays = self._rays.unflatten(0, (-1, grid.nowhere + 1, 4))
        self._beam_of = torch.tensor([0] * n_moves + [*self.number.values()], device=device)
        stops = [things[beam.stopped_by] if beam.stopped_by is not None else NO_THING for beam in beams.values()]
        self._stops = torch.tensor([NO_THING, *stops], dtype=torch.int32, device=device)
        cooldowns = [0, *(beam.cooldown for beam in beams.values())]
        self._cooldowns = torch.tensor(cooldowns, device=device) if any(cooldowns) else None
        self.fires = torch.zeros(n_envs, n_agents, dtype=torch.long, device=device)
        self.reach = torch.full((n_envs, n_agents, *self._rays.shape[1:]), grid.nowhere, device=device)
        # Steps until each beam can be fired again.
        self._wait = torch.zeros(n_envs, n_agents, len(beams) + 1, dtype=torch.long, device=device)

    def start(self, rows: Tensor) -> None:
        """In the environments ``rows``, every beam can be fired."""
        self._wait[rows] = 0

    def fire(self, actions: Tensor, cells: Tensor, facing: Tensor, things: Tensor, standing: Tensor) -> None:
        """Agents that choose to fire do so, if their beam has cooled down.

        Args:
            actions (Tensor): ``[B, N]``.
            cells (Tensor): where agents are, ``[B, N]``.
            facing (Tensor): where they look, ``[B, N]``.
            things (Tensor): what lies on every cell, ``[B, n + 2]``.
            standing (Tensor): above 0 where an agent is, ``[B, n + 2]``.
        """
        beam = self._beam_of.take(actions)
        if self._cooldowns is not None:
            beam = beam * (self._wait.gather(-1, beam.unsqueeze(-1)).squeeze(-1) == 0)
            cooler = (self._wait - 1).clamp(min=0)
            self._wait = cooler.scatter(-1, beam.unsqueeze(-1), self._cooldowns.take(beam).unsqueeze(-1))
            self._wait[..., 0] = 0
        self.fires = beam
        row = (beam * (self._nowhere + 1) + cells) * 4 + facing
        reach = self._rays.index_select(0, row.flatten()).view_as(self.reach)
        flat = reach.flatten(1)
        stopped = things.gather(1, flat).view_as(reach) == self._stops.take(beam)[..., None, None]
        ends = stopped | (standing.gather(1, flat).view_as(reach) > 0)
        behind = ends.cumsum(-1) > ends
        self.reach = reach.masked_fill(behind, self._nowhere)

    def fired(self, beam: str) -> Tensor:
        """Who fires a beam of that name in this step, boolean ``[B, N]``."""
        return self.fires == self.number[beam]

    def reached(self, beam: str) -> Tensor:
        """Cells that beams of that name reach in this step, as in ``reach``."""
        return torch.where(self.fired(beam)[..., None, None], self.reach, self._nowhere)
