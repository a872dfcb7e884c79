"""Scripted grazers of the shared pasture, with discrete actions, from what an agent observes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.players import Player

# How many steps ahead a grazer extrapolates its velocity, so that it brakes in time.
BRAKING = 0.3
# How far from the edge of a patch a grazer waits, and how near to its goal it stops pushing.
GAP, CLOSE = 0.1, 0.05


class Grazer(Player):
    """Goes to the centre of the best patch: the one with most grass, less a cost of distance. It grazes on no patch
    with less than ``spare`` of its grass, and stays off such a patch until more has grown.

    Args:
        n_patches (int): number of patches ``P``.
        radius (float): radius of a patch.
        spare (float): share of grass below which it lets a patch recover; 0 for greedy.
    """

    def __init__(self, n_patches: int, radius: float, spare: float) -> None:
        self.n_patches = n_patches
        self.radius = radius
        self.spare = spare

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        n = self.n_patches
        velocity = observation[..., 2:4]
        ways = observation[..., 4 : 4 + 2 * n].unflatten(-1, (n, 2))
        grass = observation[..., 4 + 2 * n : 4 + 3 * n]
        distances = ways.norm(dim=-1)
        ripe = (grass >= self.spare) & (grass > 0)
        best = (grass - distances / 4).masked_fill(~ripe, -torch.inf).argmax(-1)
        nearest = distances.argmin(-1)
        to_best, to_nearest = (ways.gather(-2, p[..., None, None].expand_as(ways[..., :1, :])) for p in (best, nearest))
        to_best, to_nearest = to_best.squeeze(-2), to_nearest.squeeze(-2)
        # Without a ripe patch: away from the nearest one, to just beyond its edge.
        distance = distances.amin(-1, keepdim=True)
        off = to_nearest * (1 - (self.radius + GAP) / distance.clamp(min=1e-6)).clamp(max=0)
        way = torch.where(ripe.any(-1, keepdim=True), to_best, off)
        return one_hot(direction(way - BRAKING * velocity), 9).float(), memory


class Random(Player):
    """Acts uniformly at random."""

    def __init__(self, n_patches: int, radius: float) -> None:
        pass

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return observation.new_full((*observation.shape[:-1], 9), 1 / 9), memory


def direction(way: Tensor) -> Tensor:
    """VMAS's discrete action that pushes along ``way`` ``[*B, 2]``, and not along an axis where it is short: ``[*B]``.

    An action is three times that of the first axis plus that of the second; for each axis 0 is none, 1 negative and 2
    positive.
    """
    axes = torch.where(way.abs() < CLOSE, 0, torch.where(way < 0, 1, 2))
    return 3 * axes[..., 0] + axes[..., 1]


def cooperate(n_patches: int, radius: float) -> Grazer:
    """Lets patches recover to half of their grass, where they grow fastest."""
    return Grazer(n_patches, radius, spare=0.5)


def greedy(n_patches: int, radius: float) -> Grazer:
    """Always grazes."""
    return Grazer(n_patches, radius, spare=0.0)


PLAYERS = {"cooperate": cooperate, "greedy": greedy, "random": Random}
