"""Start cells of a grid world: common ones, and those that some seats have for themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import SPAWN, GridMap
from benchmarl_reciprocator.tasks.options import check_option


class StartCells:
    """Where agents start, and where they come back after a time-out.

    Args:
        grid (GridMap): the map.
        n_agents (int): number of agents ``N``.
        own (mapping): seats that have start cells of their own, by the symbol of these cells. A map without such cells
            has no such seats.
        device (torch.device): device of all tensors.

    Attributes:
        by_seat (bool): whether any seat has start cells of its own.

    Raises:
        ValueError: if some seats have too few start cells.
    """

    def __init__(self, grid: GridMap, n_agents: int, own: Mapping[str, Sequence[int]], device: torch.device) -> None:
        self.n_agents = n_agents
        self._groups: list[tuple[slice, Tensor]] = []
        others = set(range(n_agents))
        for symbol, named in own.items():
            cells, seats = grid.cells(symbol), [seat for seat in named if seat < n_agents]
            size = cells.stop - cells.start
            if size == 0:
                continue
            check_option(
                f"the number of start cells {symbol!r} in task.map",
                size,
                size >= len(seats),
                f"0 or at least {len(seats)} (seats {', '.join(map(str, seats))} start there)",
            )
            self._groups.append((cells, torch.tensor(seats, device=device)))
            others -= set(seats)
        self.by_seat = bool(self._groups)
        if others:
            self._groups.insert(0, (grid.cells(SPAWN), torch.tensor(sorted(others), device=device)))

    def draw(self, n_envs: int, random: Callable[..., Tensor]) -> Tensor:
        """Start cells at random, all different: ``[n_envs, N]``.

        Args:
            n_envs (int): number of environments.
            random (callable): gives uniform random numbers of a shape.
        """
        (cells, seats), *further = self._groups
        drawn = _free_cells(random(n_envs, cells.stop - cells.start), cells, len(seats))
        if not further:
            return drawn
        found = drawn.new_empty(n_envs, self.n_agents)
        found[:, seats] = drawn
        for cells, seats in further:
            found[:, seats] = _free_cells(random(n_envs, cells.stop - cells.start), cells, len(seats))
        return found

    def come_back(self, back: Tensor, taken: Tensor, random: Callable[..., Tensor]) -> tuple[Tensor, Tensor | None]:
        """Free start cells for agents that come back, all different.

        Args:
            back (Tensor): who comes back, boolean ``[B, N]``.
            taken (Tensor): cells where somebody stands, boolean ``[B, n + 2]``.
            random (callable): gives uniform random numbers of a shape.

        Returns:
            tuple[Tensor, Tensor or None]: a cell for each, and who has none yet, boolean; ``[B, N]`` each. Only where
                seats have start cells of their own can somebody have none; else ``None``.
        """
        if not self.by_seat:
            cells, _ = self._groups[0]
            best, number = _ranked(back, taken, cells, random)
            return best.indices.gather(1, number).add_(cells.start), None
        found = torch.zeros(back.shape, dtype=torch.long, device=back.device)
        waits = torch.zeros_like(back)
        for cells, seats in self._groups:
            best, number = _ranked(back[:, seats], taken, cells, random)
            found[:, seats] = best.indices.gather(1, number) + cells.start
            waits[:, seats] = back[:, seats] & (best.values.gather(1, number) < 0)
        return found, waits


def _free_cells(scores: Tensor, cells: slice, number: int) -> Tensor:
    """The cells with the largest scores ``[B, cells]``: ``[B, number]``."""
    return scores.topk(number).indices + cells.start


def _ranked(
    back: Tensor, taken: Tensor, cells: slice, random: Callable[..., Tensor]
) -> tuple[torch.return_types.topk, Tensor]:
    """As many cells as there are agents in a random order, those that are taken last, with scores below 0; and at which
    of them each agent that comes back is, ``[B, N]``.
    """
    scores = random(len(back), cells.stop - cells.start).masked_fill_(taken[:, cells], -1.0)
    return scores.topk(back.shape[1]), back.cumsum(-1).sub_(1).clamp_(min=0)
