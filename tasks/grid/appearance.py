"""What a cell of a grid world looks like to each agent: one table for everything that may be on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding, one_hot

from benchmarl_reciprocator.tasks.palette import COLOURS, rgb

OBSERVATIONS = ("image", "rgb", "flat")


class Appearance:
    """Codes for what is on a cell, and a table of what each code looks like to each agent.

    A code is the sum of a number for the thing, one for the beam over the cell and one for the agent on it, so that an
    environment adds up three tensors and looks up the sum.

    Args:
        n_agents (int): number of agents ``N``.
        things (sequence): colour of every kind of thing, in the order of their numbers; ``None`` for nothing.
        beams (sequence of str): colour of every beam, in the order of their numbers, which begin with 1.
        observation (str): one of :data:`OBSERVATIONS`.
        turns (bool): whether views turn with the agent.
        device (torch.device): device of all tensors.

    Attributes:
        beam_unit (int): what a beam adds, over its number.
        beam_codes (Tensor): what each beam adds, 0 for none: ``[1 + beams]``, 32-bit integers.
        n_channels (int): number of channels ``C`` of a cell.
    """

    def __init__(
        self,
        n_agents: int,
        things: Sequence[str | None],
        beams: Sequence[str],
        observation: str,
        turns: bool,
        device: torch.device | str,
    ) -> None:
        table = appearances(n_agents, things, beams, observation)
        if not turns:
            table = table[:, :1]
        _, orientations, self._n_codes, self.n_channels = table.shape
        self._table = table.flatten(0, 2).to(device)
        seats = torch.arange(n_agents, device=device)
        self._first_code = seats * orientations * self._n_codes
        self.beam_unit = len(things)
        standing_unit = self.beam_unit * (len(beams) + 1)
        self.beam_codes = (torch.arange(len(beams) + 1, device=device) * self.beam_unit).int()
        # What an agent adds, by four times its seat plus its orientation.
        self._first_pose = 4 * seats
        self._pose_codes = (torch.arange(1, 4 * n_agents + 1, device=device) * standing_unit).int()
        self._seat_of = torch.full((4 * n_agents * standing_unit + 1,), n_agents, device=device)
        self._seat_of[self._pose_codes.long()] = seats.repeat_interleave(4)

    def pose_codes(self, facing: Tensor) -> Tensor:
        """What agents with the orientations ``facing`` ``[B, N]`` add to the code of their cell, 32-bit integers."""
        return self._pose_codes.take(self._first_pose + facing)

    def seats(self, standing: Tensor) -> Tensor:
        """Seats of the agents with these pose codes, ``N`` for nobody (0): ``[*B]``."""
        return self._seat_of.index_select(0, standing.flatten()).view_as(standing)

    def to_all(self, codes: Tensor, turned: Tensor) -> Tensor:
        """What each agent sees of the cells in its own window.

        Args:
            codes (Tensor): of the cells that each sees, ``[B, N, V]``; changed in place.
            turned (Tensor): orientations of their windows, ``[B, N]``.

        Returns:
            Tensor: ``[B, N, V, C]``.
        """
        codes += (self._first_code + turned * self._n_codes).int().unsqueeze(-1)
        return embedding(codes, self._table)

    def to_seat(self, codes: Tensor, seat: int) -> Tensor:
        """What the cells with ``codes`` ``[*B]`` look like to the agent in one seat that looks north: ``[*B, C]``."""
        return embedding(codes + self._first_code[seat].int(), self._table)


def appearances(n_agents: int, things: Sequence[str | None], beams: Sequence[str], observation: str) -> Tensor:
    """What a cell looks like to each agent in each orientation, ``[N, 4, codes, C]``.

    With ``K`` things and ``M`` beams, a code is ``thing + K (beam + (M + 1) pose)``, where beam is 0 for none and pose
    is 0 for nobody, else ``1 + orientation + 4 seat``.
    """
    n_things, n_beams = len(things), len(beams) + 1
    code = torch.arange(n_things * n_beams * (1 + 4 * n_agents))
    thing, beam, standing = code % n_things, code // n_things % n_beams, code // (n_things * n_beams)
    somebody = standing > 0
    viewer = torch.arange(n_agents).view(-1, 1, 1)
    turned = torch.arange(4).view(-1, 1)
    # As the viewer sees them: seats after its own, orientations relative to its own.
    seat = (((standing - 1) // 4 - viewer) % n_agents).expand(-1, 4, -1)
    facing = ((standing - 1) % 4 - turned).remainder(4).expand(n_agents, -1, -1)
    if observation == "rgb":
        colours = torch.stack([rgb(colour) for colour in things])[thing]
        colours = torch.where((beam > 0).unsqueeze(-1), torch.stack([rgb(None), *map(rgb, beams)])[beam], colours)
        agents = torch.stack([rgb(colour) for colour in COLOURS])[seat]
        return torch.where(somebody.unsqueeze(-1), agents, colours)
    fixed = torch.cat([one_hot(thing, n_things)[:, 1:], one_hot(beam, n_beams)[:, 1:]], -1)
    agents = torch.cat([one_hot(seat, n_agents), one_hot(facing, 4)], -1) * somebody.unsqueeze(-1)
    return torch.cat([fixed.expand(n_agents, 4, -1, -1), agents], -1).float()
