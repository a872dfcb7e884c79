"""Grid worlds where things appear rarely, without a draw for every cell."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv


class RareGrowthEnv(GridWorldEnv):
    """A grid world on whose cells things appear rarely."""

    # Where things grew last, and the places of these cells
    _growing: slice | None = None
    _growing_places: Tensor

    def grow_rarely(self, cells: slice, chances: Mapping[str, float]) -> None:
        """Let things appear on free cells, where nothing lies and nobody stands, as :meth:`grow` does, with as many
        random numbers as things appear, and some to spare.

        Args:
            cells (slice): where they may appear.
            chances (mapping): probability of each thing on each free cell, by name; together at most 1.
        """
        size, total = cells.stop - cells.start, sum(chances.values())
        if total == 0:
            return
        trials = self.things.shape[0] * size
        place = self._places_of(cells).take(rare_events(trials, total, self._generator, self.device))
        lying = self.things.take(place)
        free = (lying | self._standing.take(place)) == 0
        (first, chance), *further = chances.items()
        kinds = torch.full_like(lying, self.things_named[first])
        if further:
            drawn = self.random(len(place)) * total
            for name, more in further:
                kinds = torch.where(drawn >= chance, self.things_named[name], kinds)
                chance += more
        self.things.put_(place, torch.where(free, kinds, lying))

    def _places_of(self, cells: slice) -> Tensor:
        """Where in ``things.flatten()`` these cells are, by environment and cell; the last is nowhere, which is no free
        cell and stands in for none: ``[B * cells + 1]``. Made once for the same cells.
        """
        if self._growing != cells:
            places = torch.arange(self.things.numel(), device=self.device).view(self.things.shape)[:, cells]
            self._growing = cells
            self._growing_places = F.pad(places.flatten(), (0, 1), value=self.grid.nowhere)
        return self._growing_places


def rare_events(trials: int, chance: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Which of so many independent trials succeed: their numbers from 0, in ascending order, and then numbers from
    ``trials`` on, ``[K]``, where ``K`` does not depend on chance.

    It draws how many fail between one success and the next, which is geometrically distributed.

    Args:
        trials (int): number of trials.
        chance (float): probability of success of each, above 0.
        generator (torch.Generator): draws.
        device (torch.device): where it is.
    """
    expected = trials * chance
    # In no more than one of 10^20 calls would more succeed.
    draws = min(trials, math.ceil(expected + 10 * math.sqrt(expected) + 20))
    if chance >= 1:
        return torch.arange(trials, device=device)
    uniform = torch.rand(draws, generator=generator, dtype=torch.float64, device=device)
    # The logarithm of a number in (0, 1] is finite.
    failures = torch.log1p(-uniform).div_(math.log1p(-chance)).floor_()
    return failures.add_(1).cumsum_(0).sub_(1).clamp_(max=trials).long()
