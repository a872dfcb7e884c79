"""Pictures of a Coins board."""

from __future__ import annotations

import math

import numpy as np

from benchmarl_reciprocator.tasks.palette import COLOURS, SMOOTHING


def draw_board(agents: list[int], coins: list[int], grid_size: int, cell: int = 64) -> np.ndarray:
    """Draw a board: agents as discs, coins as rings in their owner's colour; what shares a cell is drawn side by side.

    Args:
        agents (list of int): cells of the agents, row times ``grid_size`` plus column.
        coins (list of int): cells of every agent's coin; ``grid_size**2`` for one that is not on the board.
        grid_size (int): side of the board, in cells.
        cell (int): side of a cell, in pixels.

    Returns:
        ndarray: ``[H, W, 3]``, bytes.
    """
    # Loaded by who draws
    from PIL import Image, ImageDraw

    scale = cell * SMOOTHING
    side = grid_size * scale
    image = Image.new("RGB", (side, side), "#FAFAFA")
    draw = ImageDraw.Draw(image)
    for line in range(grid_size + 1):
        at = line * scale
        for ends in ([(at, 0), (at, side)], [(0, at), (side, at)]):
            draw.line(ends, fill="#B0B0B0", width=SMOOTHING)
    content: dict[int, list[tuple[str, str]]] = {}
    for seat, place in enumerate(agents):
        content.setdefault(place, []).append(("agent", COLOURS[seat]))
    for owner, place in enumerate(coins):
        if place < grid_size**2:
            content.setdefault(place, []).append(("coin", COLOURS[owner]))
    for place, things in content.items():
        per_row = math.ceil(math.sqrt(len(things)))
        rows = math.ceil(len(things) / per_row)
        room = scale / per_row
        top = (scale - rows * room) / 2
        for number, (kind, colour) in enumerate(things):
            x = place % grid_size * scale + (number % per_row + 0.5) * room
            y = place // grid_size * scale + top + (number // per_row + 0.5) * room
            radius = (0.38 if kind == "agent" else 0.24) * room
            box = [x - radius, y - radius, x + radius, y + radius]
            if kind == "agent":
                draw.ellipse(box, fill=colour)
            else:
                draw.ellipse(box, fill="#FFFFFF", outline=colour, width=max(1, int(radius / 2)))
    return np.array(image.resize((grid_size * cell, grid_size * cell), Image.Resampling.LANCZOS))
