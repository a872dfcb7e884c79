"""Simultaneous moves of the agents of a grid world."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import GridMap, relative_cells


def resolve_moves(cells: Tensor, landing: Tensor, priority: Tensor, occupant: Tensor) -> Tensor:
    """Cells of agents after a simultaneous move: no two on one cell, no swaps; chains and rings move together.

    Args:
        cells (Tensor): where they are, ``[B, N]``; agents that stay may share a number.
        landing (Tensor): where each wants to be, ``[B, N]``.
        priority (Tensor): among those that enter a cell, the one with the largest gets it, ``[B, N]``; all differ, and
            none is below 0.
        occupant (Tensor): which agent is where each wants to be, or its own number if there is none: ``[B, N]``.

    Returns:
        Tensor: ``[B, N]``.
    """
    n_agents = cells.shape[-1]
    moves = landing != cells
    rank = priority.masked_fill(~moves, -1)
    same = landing.unsqueeze(-1) == landing.unsqueeze(-2)
    loses = (same & (rank.unsqueeze(-1) < rank.unsqueeze(-2))).any(-1)
    # An agent that moves depends on the occupant of its goal, and is never its own occupant.
    swaps = (landing.gather(-1, occupant) == cells) & moves
    able = moves & ~(loses | swaps)
    # Pointer doubling: whether all agents along the chain of occupants are able to move.
    for _ in range((n_agents - 1).bit_length()):
        able = able & able.gather(-1, occupant)
        occupant = occupant.gather(-1, occupant)
    return torch.where(able, landing, cells)


def move_tables(grid: GridMap, actions: str, n_actions: int) -> tuple[Tensor, Tensor]:
    """Where an action leads, ``[A, 4, n + 2]``, and where the agent looks afterwards, ``[A, 4]``, by its orientation
    and cell.
    """
    one, zero = torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    beside = relative_cells(grid, one, zero)[..., 0].T
    here = torch.arange(grid.nowhere + 1).expand(4, -1)
    beside = torch.where(beside == grid.wall, here, beside)
    landing = here.repeat(n_actions, 1, 1)
    facing = torch.arange(4).repeat(n_actions, 1)
    # The moves come after "stay", then the turns.
    if actions == "steer":
        landing[1] = beside
    elif actions == "turn":
        for side in range(4):
            landing[1 + side] = beside.roll(-side, 0)
    else:
        landing[1:5] = beside.unsqueeze(1)
    if actions == "compass":
        facing[1:5] = torch.arange(4).unsqueeze(1)
    else:
        left = 2 if actions == "steer" else 5
        facing[left : left + 2] = torch.stack([facing[0] - 1, facing[0] + 1]) % 4
    return landing, facing
