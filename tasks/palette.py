"""The colours of agents in all pictures."""

from __future__ import annotations

import torch
from torch import Tensor

# Okabe and Ito's colour-blind-safe palette, then greys and tints for the ninth and tenth agent.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#F0E442",
    "#7F7F7F",
    "#8C564B",
    "#1A1A1A",
)
# Pictures are drawn this many times larger and then scaled down.
SMOOTHING = 4
BACKGROUND = "#000000"


def rgb(colour: str | None) -> Tensor:
    """A colour, as ``"#RRGGBB"``, as three numbers in ``[0, 1]``; black for none."""
    return torch.tensor(list(bytes.fromhex((colour or BACKGROUND).removeprefix("#")))) / 255
