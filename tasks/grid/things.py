"""What lies on the cells of a grid world, and how it comes and goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.grid.firing import change_things


class Things(SocialDilemmaEnv):
    """The part of a grid world that knows what lies where.

    Attributes:
        things_named (mapping): number of each kind of thing by name, 0 for "nothing" and 1 for "wall".
        things (Tensor): what lies on every cell, ``[B, n + 2]``, 32-bit integers.
        cells (Tensor): where agents are, ``[B, N]``.
    """

    things_named: Mapping[str, int]
    things: Tensor
    cells: Tensor
    _seats: Tensor
    _standing: Tensor

    def take(self, thing: str) -> Tensor:
        """Let agents take such a thing from their cell: who did, boolean ``[B, N]``."""
        under = self.things.gather(1, self.cells)
        taken = under == self.things_named[thing]
        self.things.scatter_(1, self.cells, under.masked_fill(taken, 0))
        return taken

    def change(self, reach: Tensor, thing: str, into: str) -> Tensor:
        """Turn things of one kind on the cells ``reach`` ``[B, N, *K]`` into another: how many each agent changed,
        ``[B, N]``. What several reach is changed by the first of them in :meth:`order`.
        """
        return change_things(self.things, reach, self.things_named[thing], self.things_named[into], self.order())

    def order(self) -> Tensor:
        """Each agent's place in a circle of seats that begins one seat further in every step, ``[B, N]``."""
        return (self._seats - self._steps.unsqueeze(-1)) % self.n_agents

    def grow(self, cells: slice, thing: str, chance: Tensor | float) -> None:
        """Let things appear with some probability on each free cell, where nothing lies and nobody stands.

        Args:
            cells (slice): where they may appear.
            thing (str): its name.
            chance (Tensor or float): probability for each cell, broadcast to ``[B, cells]``.
        """
        lying = self.things[:, cells]
        grows = self.random(*lying.shape).lt_(chance).int()
        lying.addcmul_(self.free(cells), grows, value=self.things_named[thing])

    def free(self, cells: slice) -> Tensor:
        """1 where nothing lies and nobody stands: ``[B, cells]``, 32-bit integers."""
        return (self.things[:, cells] | self._standing[:, cells]).eq_(0)

    def spawn_one(self, cells: slice, thing: str, chance: Tensor | float, over: str) -> None:
        """Let a thing replace one of another kind, drawn at random, with some probability; agents may stand there.

        Args:
            cells (slice): where it may appear.
            thing (str): its name.
            chance (Tensor or float): probability in each environment, broadcast to ``[B, 1]``.
            over (str): the kind that it replaces.
        """
        lying = self.things[:, cells]
        most, drawn = self.random(*lying.shape).mul_(self.lies(cells, over)).max(-1, keepdim=True)
        happens = (self.random(*self.batch_size, 1) < chance) & (most > 0)
        lying.scatter_(1, drawn, torch.where(happens, self.things_named[thing], lying.gather(1, drawn)))

    def lies(self, cells: slice, thing: str) -> Tensor:
        """1 where such a thing lies: ``[B, cells]``, float."""
        # An in-place comparison keeps the dtype, and is several times as fast as one that returns booleans.
        return (self.things[:, cells] - self.things_named[thing]).eq_(0).float()

    def draw_kinds(self, rows: Tensor, cells: slice, kinds: Sequence[str]) -> None:
        """In the environments ``rows``, put a thing on each of these cells, of a kind drawn at random."""
        numbers = self.things.new_tensor([self.things_named[kind] for kind in kinds])
        drawn = (self.random(len(rows), cells.stop - cells.start) * len(kinds)).long()
        self.things[rows, cells] = numbers[drawn]

    def restore(self, where: Tensor, cells: slice, as_before: Tensor) -> None:
        """Put back what is missing on cells where nobody stands, all at once.

        Args:
            where (Tensor): where, boolean, broadcast to ``[B, cells]``.
            cells (slice): which cells.
            as_before (Tensor): number of the thing that belongs on each of them, ``[B, cells]``.
        """
        lying = self.things[:, cells]
        lying.addcmul_(self.free(cells) * where, as_before.to(lying.dtype))
