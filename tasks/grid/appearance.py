"""What a cell of a grid world looks like to each agent: one table for everything that may be on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
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
        marks (mapping, optional): what else everybody sees of an agent, by name, and its colour.
        n_numbers (int): how many numbers an agent knows beside what it sees.
        numbers_at (int, optional): the place in its window where an image has them; ``None``: everywhere.
        first_of_seats (int, optional): number of the kind of thing that belongs to the first seat, if things belong to
            seats: those of the other seats follow.

    Attributes:
        beam_unit (int): what a beam adds, over its number.
        beam_codes (Tensor): what each beam adds, 0 for none: ``[1 + beams]``, 32-bit integers.
        n_channels (int): number of channels of a cell in what one agent sees, those of its numbers included.
    """

    def __init__(
        self,
        n_agents: int,
        things: Sequence[str | None],
        beams: Sequence[str],
        observation: str,
        turns: bool,
        device: torch.device | str,
        marks: Mapping[str, str] | None = None,
        n_numbers: int = 0,
        numbers_at: int | None = None,
        first_of_seats: int | None = None,
    ) -> None:
        self._numbers_at = slice(None) if numbers_at is None else slice(numbers_at, numbers_at + 1)
        self._marks = list(marks or {})
        self.n_numbers = n_numbers
        table = appearances(n_agents, things, beams, observation, list((marks or {}).values()), first_of_seats)
        if not turns:
            table = table[:, :1]
        self._flat = observation == "flat"
        self._cell_channels = table.shape[-1]
        # Planes for numbers: zeros, which are written over
        planes = 0 if self._flat else n_numbers
        self._table = F.pad(table, (0, planes)).flatten(0, 2).to(device)
        _, orientations, self._n_codes, _ = table.shape
        self.n_channels = self._cell_channels + planes
        seats = torch.arange(n_agents, device=device)
        self._first_code = (seats * orientations * self._n_codes).int()
        self._turn_codes = (torch.arange(4, device=device) * self._n_codes).int()
        self.beam_unit = len(things)
        standing_unit = self.beam_unit * (len(beams) + 1)
        self.beam_codes = (torch.arange(len(beams) + 1, device=device) * self.beam_unit).int()
        # What an agent adds, by its pose: orientation, marks, seat.
        poses = 4 * 2 ** len(self._marks)
        self._first_pose = poses * seats
        self._pose_codes = (torch.arange(1, poses * n_agents + 1, device=device) * standing_unit).int()
        self._seat_of = torch.full((poses * n_agents * standing_unit + 1,), n_agents, device=device)
        self._seat_of[self._pose_codes.long()] = seats.repeat_interleave(poses)

    def marked(self, marks: Mapping[str, Tensor]) -> Tensor:
        """What agents add to their poses, by who has each mark, boolean ``[B, N]``, by name: integers ``[B, N]``."""
        first, *others = self._marks
        code = marks[first] * 4
        for number, name in enumerate(others, 1):
            code.add_(marks[name], alpha=4 * 2**number)
        return code

    def pose_codes(self, facing: Tensor, marked: Tensor | None) -> Tensor:
        """What agents add to the code of their cell, 32-bit integers ``[B, N]``.

        Args:
            facing (Tensor): their orientations, ``[B, N]``.
            marked (Tensor, optional): see :meth:`marked`.
        """
        pose = self._first_pose + facing
        return self._pose_codes.take(pose if marked is None else pose.add_(marked))

    def seats(self, standing: Tensor) -> Tensor:
        """Seats of the agents with these pose codes, ``N`` for nobody (0): ``[*B]``."""
        return self._seat_of.index_select(0, standing.flatten()).view_as(standing)

    def shape(self, rows: int, columns: int, knowing: int = 1) -> list[int]:
        """Shape of what is seen of so many cells, with the numbers of so many agents."""
        if self._flat:
            return [rows * columns * self._cell_channels + knowing * self.n_numbers]
        return [rows, columns, self.n_channels]

    def to_all(self, codes: Tensor, turned: Tensor, numbers: Tensor | None) -> Tensor:
        """What each agent sees of the cells in its own window.

        Args:
            codes (Tensor): of the cells that each sees, ``[B, N, V]``; changed in place.
            turned (Tensor): orientations of their windows, ``[B, N]``.
            numbers (Tensor, optional): what each knows beside, ``[B, N, M]``.

        Returns:
            Tensor: ``[B, N, V, C]``, or ``[B, N, V C + M]`` if flat.
        """
        codes += (self._first_code + self._turn_codes.take(turned)).unsqueeze(-1)
        seen = embedding(codes, self._table)
        if numbers is None:
            return seen
        if self._flat:
            return torch.cat([seen.flatten(-2), numbers], -1)
        seen[..., self._numbers_at, self._cell_channels :] = numbers.unsqueeze(-2)
        return seen

    def to_seat(self, codes: Tensor, seat: int, numbers: Tensor | None, places: Tensor) -> Tensor:
        """What cells look like to the agent in one seat that looks north.

        Args:
            codes (Tensor): of the cells, ``[B, V]``.
            seat (int): its seat.
            numbers (Tensor, optional): what each agent knows beside, ``[B, N, M]``.
            places (Tensor): where in ``codes`` each agent is, ``V`` for one that is out: ``[B, N]``.

        Returns:
            Tensor: ``[B, V, C]`` with an agent's numbers on its cell, or flat with all of them at the end, in the order
                of seats after the agent's own.
        """
        seen = embedding(codes + self._first_code[seat], self._table)
        if numbers is None:
            return seen
        if self._flat:
            return torch.cat([seen.flatten(-2), numbers.roll(-seat, 1).flatten(1)], -1)
        n_cells = codes.shape[1]
        known = (places < n_cells).flatten().nonzero().squeeze(-1)
        at = places.flatten().index_select(0, known) + known // places.shape[1] * n_cells
        planes = seen.flatten(0, 1)[:, self._cell_channels :]
        planes.index_copy_(0, at, numbers.flatten(0, 1).index_select(0, known))
        return seen


def appearances(
    n_agents: int,
    things: Sequence[str | None],
    beams: Sequence[str],
    observation: str,
    marks: Sequence[str] = (),
    first_of_seats: int | None = None,
) -> Tensor:
    """What a cell looks like to each agent in each orientation, ``[N, 4, codes, C]``.

    With ``K`` things, ``M`` beams and ``F`` marks, a code is ``thing + K (beam + (M + 1) pose)``, where beam is 0 for
    none and pose is 0 for nobody, else ``1 + orientation + 4 (marks + 2^F seat)``, with a binary digit for each mark.
    Things that belong to seats, from number ``first_of_seats`` on, look like those of the seats after the viewer's own,
    as agents do.
    """
    n_things, n_beams, looks = len(things), len(beams) + 1, 4 * 2 ** len(marks)
    code = torch.arange(n_things * n_beams * (1 + looks * n_agents))
    thing, beam, standing = code % n_things, code // n_things % n_beams, code // (n_things * n_beams)
    somebody = standing > 0
    viewer = torch.arange(n_agents).view(-1, 1, 1)
    turned = torch.arange(4).view(-1, 1)
    # As the viewer sees them: seats after its own, orientations relative to its own.
    seat = (((standing - 1) // looks - viewer) % n_agents).expand(-1, 4, -1)
    facing = ((standing - 1) % 4 - turned).remainder(4).expand(n_agents, -1, -1)
    marked = [((standing - 1) // (4 * 2**number) % 2 * somebody).bool() for number in range(len(marks))]
    # Of things that belong to seats, the viewer's own is the first.
    seen = thing.expand(n_agents, 1, -1)
    if first_of_seats is not None:
        owner = thing - first_of_seats
        of_seats = (owner >= 0) & (owner < n_agents)
        seen = torch.where(of_seats, first_of_seats + (owner - viewer) % n_agents, seen)
    if observation == "rgb":
        colours = torch.stack([rgb(colour) for colour in things])[seen]
        colours = torch.where((beam > 0).unsqueeze(-1), torch.stack([rgb(None), *map(rgb, beams)])[beam], colours)
        agents = torch.stack([rgb(colour) for colour in COLOURS])[seat]
        for has, colour in zip(marked, marks):
            agents = torch.where(has.unsqueeze(-1), (agents + rgb(colour)) / 2, agents)
        return torch.where(somebody.unsqueeze(-1), agents, colours)
    over = one_hot(beam, n_beams)[:, 1:].expand(n_agents, 1, -1, -1)
    fixed = torch.cat([one_hot(seen, n_things)[..., 1:], over], -1)
    agents = torch.cat([one_hot(seat, n_agents), one_hot(facing, 4)], -1) * somebody.unsqueeze(-1)
    shown = [has.expand(n_agents, 4, -1).unsqueeze(-1) for has in marked]
    return torch.cat([fixed.expand(n_agents, 4, -1, -1), agents, *shown], -1).float()
