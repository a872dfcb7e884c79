"""Grid worlds where things appear rarely, without a draw for every cell."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv


class RareGrowthEnv(GridWorldEnv):
    """A grid world on whose cells things appear rarely."""

    def grow_rarely(self, cells: slice, chances: Mapping[str, float]) -> None:
        """Let things appear on free cells, where nothing lies and nobody stands, as :meth:`grow` does, with as many
        random numbers as things appear, and some to spare.

        Args:
            cells (slice): where they may appear.
            chances (mapping): probability of each thing on each free cell, by name; together at most 1.
        """
        size, total = cells.stop - cells.start, sum(chances.values())
        found = rare_events(self.batch_size[0] * size, total, self._generator)
        row, cell = found // size, found % size + cells.start
        free = (self.things[row, cell] | self._standing[row, cell]) == 0
        row, cell = row[free], cell[free]
        drawn, so_far = self.random(len(row)) * total, 0.0
        kinds = torch.zeros(len(row), dtype=self.things.dtype, device=self.device)
        for name, chance in chances.items():
            kinds = torch.where(drawn >= so_far, self.things_named[name], kinds)
            so_far += chance
        self.things[row, cell] = kinds


def rare_events(trials: int, chance: float, generator: torch.Generator) -> Tensor:
    """Which of so many independent trials succeed, in ascending order: ``[successes]``, integers from 0.

    It draws how many fail between one success and the next, which is geometrically distributed.

    Args:
        trials (int): number of trials.
        chance (float): probability of success of each.
        generator (torch.Generator): draws, and tells the device.
    """
    if chance <= 0:
        return torch.empty(0, dtype=torch.long, device=generator.device)
    expected = trials * chance
    # In no more than one of 10^20 calls would more succeed.
    draws = min(trials, math.ceil(expected + 10 * math.sqrt(expected) + 20))
    # In (0, 1], whose logarithm is finite.
    uniform = 1 - torch.rand(draws, generator=generator, dtype=torch.float64, device=generator.device)
    failures = torch.floor(uniform.log_() / math.log1p(-chance)) if chance < 1 else torch.zeros_like(uniform)
    found = failures.add_(1).cumsum_(0).sub_(1)
    return found[found < trials].long()
