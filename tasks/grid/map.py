"""Maps of grid worlds: from text to tables of cells, so that moving, looking and firing are look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.rules import Beam
from benchmarl_reciprocator.tasks.options import check_option, one_of

WALL, FLOOR, SPAWN = "@", " ", "P"
# Row and column of a step north, east, south and west: a quarter turn to the right is one further.
COMPASS = ((-1, 0), (0, 1), (1, 0), (0, -1))


@dataclass(frozen=True)
class GridMap:
    """A map whose ``n`` walkable cells are numbered symbol by symbol, so that those of one symbol are a slice.

    Number ``n`` stands for walls and everything outside the map, and ``n + 1`` for nowhere: where agents are during a
    time-out.

    Args:
        shape (tuple of int): rows ``H`` and columns ``W``.
        places (Tensor): row and column of every walkable cell, ``[n, 2]``.
        layout (Tensor): number of the cell at every row and column, ``[H, W]``.
        slices (dict): the cells of each symbol of the game.
    """

    shape: tuple[int, int]
    places: Tensor
    layout: Tensor
    slices: dict[str, slice]

    @property
    def wall(self) -> int:
        """The number of walls."""
        return len(self.places)

    @property
    def nowhere(self) -> int:
        """The number of the cell of agents that are out."""
        return len(self.places) + 1

    def cells(self, symbols: str) -> slice:
        """Cells of symbols that are consecutive in the game's list."""
        parts = [self.slices[symbol] for symbol in symbols]
        return slice(parts[0].start, parts[-1].stop)

    def symbols(self) -> str:
        """The symbol of every walkable cell, in the order of their numbers."""
        return "".join(symbol * (part.stop - part.start) for symbol, part in self.slices.items())


def shipped_maps(game: str) -> dict[str, list[str]]:
    """Rows of the maps that ship with a game, by name: the files of ``maps/<game>``, without the comment on top."""
    files = sorted((Path(__file__).parent / "maps" / game).glob("*.txt"))
    lines = {file.stem: file.read_text(encoding="utf-8").splitlines() for file in files}
    return {name: [row for row in rows if not row.startswith("#")] for name, rows in lines.items()}


def read_map(rows: Sequence[str], symbols: str, n_agents: int) -> GridMap:
    """A map from text.

    Args:
        rows (sequence of str): one string each, all of the same length. ``@`` is a wall, a space is floor and ``P``
            floor where agents may start; what is beyond the edge is wall.
        symbols (str): the game's further symbols, in the order in which their cells are numbered.
        n_agents (int): the least number of start cells.

    Raises:
        ValueError: if the map is not a list of strings, rows have unequal lengths, a symbol is unknown or start cells
            are too few, naming row and column, counted from 1.
    """
    key = "task.map"
    is_text = isinstance(rows, Sequence) and not isinstance(rows, str) and all(isinstance(row, str) for row in rows)
    check_option(key, rows, is_text and len(rows) > 0, "a list of strings, one for each row")
    numbered = symbols + SPAWN + FLOOR
    names = one_of(map(repr, WALL + numbered))
    found: dict[str, list[tuple[int, int]]] = {symbol: [] for symbol in numbered}
    for row, line in enumerate(rows):
        if len(line) != len(rows[0]):
            raise ValueError(
                f"row {row + 1} of {key} must be {len(rows[0])} cells long, as row 1 is, but is {len(line)} cells long"
            )
        for column, symbol in enumerate(line):
            where = f"row {row + 1}, column {column + 1} of {key}"
            check_option(where, symbol, symbol == WALL or symbol in found, names)
            if symbol != WALL:
                found[symbol].append((row, column))
    check_option(
        f"the number of start cells {SPAWN!r} in {key}",
        len(found[SPAWN]),
        len(found[SPAWN]) >= n_agents,
        f"at least {n_agents} (task.n_agents)",
    )
    places = torch.tensor([place for of_symbol in found.values() for place in of_symbol])
    layout = torch.full((len(rows), len(rows[0])), len(places))
    layout[places[:, 0], places[:, 1]] = torch.arange(len(places))
    slices, first = {}, 0
    for symbol, of_symbol in found.items():
        slices[symbol] = slice(first, first + len(of_symbol))
        first += len(of_symbol)
    return GridMap((len(rows), len(rows[0])), places, layout, slices)


def relative_cells(grid: GridMap, ahead: Tensor, right: Tensor) -> Tensor:
    """Cells at given offsets from an agent, for every cell and orientation that it may have.

    Args:
        grid (GridMap): the map.
        ahead (Tensor): how far in front of the agent, ``[*K]``.
        right (Tensor): how far to its right, ``[*K]``.

    Returns:
        Tensor: ``[n + 2, 4, *K]``, numbers of cells; the wall outside the map, and nowhere from nowhere.
    """
    padded = torch.full((grid.shape[0] + 1, grid.shape[1] + 1), grid.wall)
    padded[:-1, :-1] = grid.layout
    compass = torch.tensor(COMPASS)
    turned = compass.roll(-1, 0)
    ones = (1,) * ahead.ndim
    place = grid.places.view(-1, 1, *ones, 2)
    place = (
        place + ahead.unsqueeze(-1) * compass.view(1, 4, *ones, 2) + right.unsqueeze(-1) * turned.view(1, 4, *ones, 2)
    )
    size = torch.tensor(grid.shape)
    # What is outside is sent to the last row and column, which are wall.
    row, column = torch.where((place >= 0) & (place < size), place, size).unbind(-1)
    cells = torch.full((grid.nowhere + 1, 4, *ahead.shape), grid.nowhere)
    cells[: grid.wall] = padded[row, column]
    cells[grid.wall] = grid.wall
    return cells


def window_cells(grid: GridMap, view: int, behind: int) -> Tensor:
    """What an agent sees: the ``view`` by ``view`` cells around it, ``behind`` rows of them behind it.

    Returns:
        Tensor: ``[n + 2, 4, view^2]`` by its cell and orientation, row by row from the farthest ahead, left to right.
    """
    ahead = torch.arange(view - 1 - behind, -1 - behind, -1).view(-1, 1).expand(view, view)
    right = (torch.arange(view) - view // 2).expand(view, view)
    return relative_cells(grid, ahead, right).flatten(2)


def ray_cells(grid: GridMap, beam: Beam) -> Tensor:
    """Where a beam goes: its ``width`` parallel rays of at most ``length`` cells, from left to right.

    A ray ends before a wall.

    Returns:
        Tensor: ``[n + 2, 4, width, length]`` by the agent's cell and orientation; nowhere behind a wall and beyond a
        ray's end.
    """
    right = (torch.arange(beam.width) - beam.width // 2).view(-1, 1).expand(beam.width, beam.length)
    step = torch.arange(beam.length).expand(beam.width, beam.length)
    first = torch.where(right == 0, 1, 0) if beam.shape == "beside" else 1
    cells = relative_cells(grid, first + step, right)
    beyond = step >= torch.tensor(beam.ray_lengths()).unsqueeze(-1)
    over = ((cells == grid.wall) | beyond).cummax(-1).values
    return cells.masked_fill(over, grid.nowhere)


def ray_table(grid: GridMap, beams: Sequence[Beam]) -> Tensor:
    """Where no beam and each of ``beams`` goes: ``[(1 + beams) (n + 2) 4, width, length]`` with the
    largest width and length, by beam, cell and orientation; nowhere for no cell.
    """
    width, length = max((beam.width for beam in beams), default=1), max((beam.length for beam in beams), default=1)
    table = torch.full((len(beams) + 1, grid.nowhere + 1, 4, width, length), grid.nowhere)
    for number, beam in enumerate(beams, 1):
        table[number, ..., : beam.width, : beam.length] = ray_cells(grid, beam)
    return table.flatten(0, 2)
