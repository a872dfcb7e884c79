"""Agents on the cells of a grid world: who is where, out of the world for a while, or frozen."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.appearance import Appearance
from benchmarl_reciprocator.tasks.grid.map import GridMap
from benchmarl_reciprocator.tasks.grid.starts import StartCells
from benchmarl_reciprocator.tasks.grid.things import Things


class Agents(Things):
    """The part of a grid world that knows where agents are.

    Attributes:
        grid (GridMap): the map.
        cells (Tensor): cell of each agent, ``[B, N]``.
        facing (Tensor): its orientation, ``[B, N]``: 0 north, 1 east, 2 south, 3 west.
        out (Tensor): remaining steps of its time-out, ``[B, N]``.
        frozen (Tensor): how many of its next actions are lost, ``[B, N]``.
        marks (dict): who has each mark, boolean ``[B, N]``, by name.
    """

    grid: GridMap
    facing: Tensor
    out: Tensor
    frozen: Tensor
    marks: dict[str, Tensor]
    _appearance: Appearance
    # What their marks add to their poses, None for nothing
    _marked: Tensor | None
    _starts: StartCells

    def able(self) -> Tensor:
        """Who can act in this step, boolean ``[B, N]``: whoever is in the world and not frozen."""
        return (self.out == 0) & (self.frozen == 0)

    def freeze(self, who: Tensor, steps: int | Tensor) -> None:
        """Let agents lose their next actions: ``who`` is boolean ``[B, N]``, and so many ``steps`` their number."""
        self.frozen = torch.where(who, steps, self.frozen)

    def leave(self, who: Tensor, steps: int) -> None:
        """Take the agents in the mask ``who`` ``[B, N]`` out of the world for so many steps, from the next on."""
        self.out = self.out.masked_fill(who, steps)
        self.cells = self.cells.masked_fill(who, self.grid.nowhere)

    def seats_at(self, cells: Tensor) -> Tensor:
        """Who stands on ``cells`` ``[B, *K]``, ``N`` for nobody."""
        return self._appearance.seats(self._standing.gather(1, cells.flatten(1))).view_as(cells)

    def come_back(self, back: Tensor) -> None:
        """Put the agents in the mask ``back`` ``[B, N]`` on random start cells where nobody stood in this step, with
        random orientations. Whoever finds none waits for the next step.
        """
        rows = back.any(-1).nonzero().squeeze(-1)
        if len(rows) == 0:
            return
        back = back[rows]
        place, waits = self._starts.come_back(back, self._standing[rows] > 0, self.random)
        facing = (self.random(*back.shape) * 4).long()
        if waits is not None:
            self.out[rows] = torch.where(waits & (self.cells[rows] == self.grid.nowhere), 1, self.out[rows])
            back = back & ~waits
        self.cells[rows] = torch.where(back, place, self.cells[rows])
        self.facing[rows] = torch.where(back, facing, self.facing[rows])

    def mark(self) -> None:
        """Note who has which mark."""
        if not self.marks:
            return
        if "frozen" in self.marks:
            torch.gt(self.frozen, 0, out=self.marks["frozen"])
        self._marked = self._appearance.marked(self.marks)

    def stand(self) -> None:
        """Note who stands where."""
        standing = torch.zeros_like(self._standing)
        standing.scatter_(1, self.cells, self._appearance.pose_codes(self.facing, self._marked))
        standing.select(1, self.grid.nowhere).zero_()
        self._standing = standing
