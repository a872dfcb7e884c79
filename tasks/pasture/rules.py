"""The options of the shared pasture. They stand by themselves, since VMAS takes a while to load."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS

MAX_AGENTS = len(COLOURS)
# The world reaches from -1 to 1. Patches lie on a ring around its middle.
PATCH_RING = 0.6


@dataclass(frozen=True, kw_only=True)
class PastureRules:
    """Rules of the shared pasture. An ungrazed patch with the share ``g`` of its grass grows logistically in a step, to
    ``g + growth g (1 - g)``: fastest where half of it is left.

    Args:
        n_agents (int): number of grazers ``N``, 2 to 10.
        n_patches (int): number of patches ``P``.
        patch_radius (float): radius of a patch; the world is 2 wide.
        capacity (float): reward for all the grass of a full patch.
        growth (float): rate of regrowth, in ``(0, 1]``.
        appetite (float): share of a patch's grass that one grazer eats in a step, in ``(0, 1]``.
        extinction (float): a patch with less than this share of grass is lost, in ``[0, 1)``.
    """

    n_agents: int = 3
    n_patches: int = 2
    patch_radius: float = 0.3
    capacity: float = 10.0
    growth: float = 0.1
    appetite: float = 0.1
    extinction: float = 0.05

    def check(self) -> None:
        """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
        check_option(
            "task.n_agents", self.n_agents, 2 <= self.n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}"
        )
        check_option("task.n_patches", self.n_patches, 1 <= self.n_patches <= 6, "an integer from 1 to 6")
        apart = PATCH_RING * math.sin(math.pi / self.n_patches) if self.n_patches > 1 else 1.0
        largest = min(1 - PATCH_RING, apart) + 1e-6
        check_option(
            "task.patch_radius",
            self.patch_radius,
            0 < self.patch_radius <= largest,
            f"above 0 and at most {math.floor(100 * largest) / 100}, so that patches are in the world and apart",
        )
        check_option("task.capacity", self.capacity, 0 < self.capacity < math.inf, "a finite number > 0")
        for key in ("growth", "appetite"):
            check_option(f"task.{key}", getattr(self, key), 0 < getattr(self, key) <= 1, "above 0 and at most 1")
        check_option("task.extinction", self.extinction, 0 <= self.extinction < 1, "at least 0 and below 1")
