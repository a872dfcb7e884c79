"""Pictures of games without a board: bars, as high as what they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarl_reciprocator.tasks.palette import SMOOTHING

# Of a bar and of the space between groups of bars, in pixels
WIDTH, GAP, HEIGHT = 24, 16, 160


def draw_bars(groups: Sequence[Sequence[tuple[float, str]]]) -> np.ndarray:
    """Draw groups of bars side by side, from the bottom of the picture.

    Args:
        groups (sequence): of every bar its height, as a share of the picture's from 0 to 1 (what is beyond is cut off),
            and its colour, ``"#RRGGBB"``.

    Returns:
        ndarray: ``[H, W, 3]``, bytes.
    """
    # Loaded by who draws
    from PIL import Image, ImageDraw

    width = sum(len(group) * WIDTH + GAP for group in groups) + GAP
    # Encoders of videos want even sides.
    width += width % 2
    image = Image.new("RGB", (width * SMOOTHING, HEIGHT * SMOOTHING), "#FAFAFA")
    draw = ImageDraw.Draw(image)
    left = GAP
    for group in groups:
        for height, colour in group:
            top = HEIGHT * (1 - min(max(height, 0.0), 1.0))
            box = [left * SMOOTHING, top * SMOOTHING, (left + WIDTH - 2) * SMOOTHING, HEIGHT * SMOOTHING]
            draw.rectangle(box, fill=colour)
            left += WIDTH
        left += GAP
    return np.array(image.resize((width, HEIGHT), Image.Resampling.LANCZOS))
