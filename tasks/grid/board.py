"""Pictures of grid worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarl_reciprocator.tasks.palette import COLOURS, SMOOTHING

if TYPE_CHECKING:
    from PIL import ImageDraw

FLOOR_COLOUR, OUTLINE = "#E9E4D8", "#FFFFFF"


def draw_grid(
    layout: Sequence[Sequence[int]],
    floors: Sequence[str | None],
    things: Sequence[str | None],
    beams: Sequence[str | None],
    agents: Sequence[tuple[int, int]],
    cell: int = 24,
) -> np.ndarray:
    """Draw a world: floors and walls as squares, things as discs, agents as discs with an arrowhead.

    Args:
        layout (nested sequences): number of the cell at every row and column.
        floors (sequence): colour of each cell's floor, ``None`` for plain.
        things (sequence): colour of what lies on each cell, ``None`` for nothing.
        beams (sequence): colour of the beam over each cell, ``None`` for none.
        agents (sequence of tuple): cell and orientation of every agent; one on a cell that is not in ``layout`` is out.
        cell (int): side of a cell, in pixels.

    Returns:
        ndarray: ``[H, W, 3]``, bytes.
    """
    # Loaded by who draws
    from PIL import Image, ImageColor, ImageDraw

    scale = cell * SMOOTHING
    height, width = len(layout), len(layout[0])
    image = Image.new("RGB", (width * scale, height * scale), FLOOR_COLOUR)
    draw = ImageDraw.Draw(image, "RGBA")
    places = {}
    for row, numbers in enumerate(layout):
        for column, number in enumerate(numbers):
            x, y = column * scale, row * scale
            places[number] = (x, y)
            box = [x, y, x + scale - 1, y + scale - 1]
            is_wall = number == len(floors) - 1
            draw.rectangle(box, fill=things[number] if is_wall else floors[number] or FLOOR_COLOUR)
            thing, beam = things[number], beams[number]
            if thing and not is_wall:
                _draw_thing(draw, x, y, scale, thing)
            if beam:
                draw.rectangle(box, fill=(*ImageColor.getrgb(beam), 130))
            if not is_wall:
                draw.rectangle(box, outline=(0, 0, 0, 28), width=SMOOTHING // 2)
    for seat, (number, facing) in enumerate(agents):
        if number < len(floors) - 1:
            _draw_agent(draw, *places[number], scale, facing, COLOURS[seat])
    return np.array(image.resize((width * cell, height * cell), Image.Resampling.LANCZOS))


def _draw_thing(draw: ImageDraw.ImageDraw, x: float, y: float, scale: int, colour: str) -> None:
    radius, middle = 0.3 * scale, scale / 2
    draw.ellipse([x + middle - radius, y + middle - radius, x + middle + radius, y + middle + radius], fill=colour)


def _draw_agent(draw: ImageDraw.ImageDraw, x: float, y: float, scale: int, facing: int, colour: str) -> None:
    """A disc with an arrowhead on it that shows where the agent looks."""
    middle = np.array([x + scale / 2, y + scale / 2])
    radius = 0.44 * scale
    draw.ellipse([*(middle - radius), *(middle + radius)], fill=colour, outline=OUTLINE, width=SMOOTHING)
    ahead = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)][facing])
    right = np.array([-ahead[1], ahead[0]])
    corners = [
        middle + (0.34 * ahead) * scale,
        *(middle + (-0.12 * ahead + side * 0.22 * right) * scale for side in (1, -1)),
    ]
    draw.polygon([tuple(corner) for corner in corners], fill=OUTLINE)
