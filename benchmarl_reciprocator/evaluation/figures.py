"""Figures of cross-play: heat maps and the replicator dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from benchmarl_reciprocator.results import COLOURS


def heat_map(
    means: np.ndarray, lows: np.ndarray, highs: np.ndarray, names: Sequence[str], label: str, file: Path
) -> None:
    """A matrix of means, each with its interval beneath; the colours stay apart for the colour-blind and in grey.

    Args:
        means (ndarray): ``[P, P]``, of who is in the row against who is in the column; ``nan`` stays blank.
        lows (ndarray): ``[P, P]``, lower ends; ``nan`` where there is no interval.
        highs (ndarray): ``[P, P]``, upper ends.
        names (sequence of str): ``P``.
        label (str): what is shown.
        file (Path): where the figure goes.
    """
    size = len(names)
    side = 0.62 * size
    figure, axis = plt.subplots(figsize=(side + 2.0, side + 1.3), layout="constrained")
    known = means[np.isfinite(means)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    image = axis.imshow(means, cmap="cividis", vmin=low, vmax=high if high > low else low + 1)
    for i, j in zip(*np.nonzero(np.isfinite(means))):
        bright = means[i, j] > (low + high) / 2
        colour = "black" if bright and high > low else "white"
        interval = np.isfinite(lows[i, j])
        axis.text(j, i - 0.14 * interval, f"{_number(means[i, j])}", ha="center", va="center", fontsize=8, color=colour)
        if interval:
            text = f"{_number(lows[i, j])} to\n{_number(highs[i, j])}"
            axis.text(j, i + 0.2, text, ha="center", va="center", fontsize=5.5, color=colour, linespacing=0.95)
    ticks = [fill(name.replace("_", " "), 16) for name in names]
    axis.set_xticks(range(size), ticks, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
    axis.set_yticks(range(size), ticks, fontsize=7)
    axis.set_xlabel("against", fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=300)
    plt.close(figure)


def _number(value: float) -> str:
    """Two digits, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def shares_over_time(times: Sequence[float], shares: np.ndarray, names: Sequence[str], file: Path) -> None:
    """How the shares of populations develop under the replicator dynamics.

    Args:
        times (sequence of float): ``T``.
        shares (ndarray): ``[T, P]``.
        names (sequence of str): ``P``.
        file (Path): where the figure goes.
    """
    figure, axis = plt.subplots(figsize=(3.5, 2.4), layout="constrained")
    for index, name in enumerate(names):
        style = ("-", "--", "-.", ":")[index // len(COLOURS) % 4]
        label = name.replace("_", " ")
        axis.plot(times, shares[:, index], style, color=COLOURS[index % len(COLOURS)], linewidth=1.4, label=label)
    axis.set_xlim(times[0], times[-1])
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("time (in units of 1 / range of scores)", fontsize=8)
    axis.set_ylabel("share of the population", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=6, frameon=False, loc="outside right center")
    figure.savefig(file, dpi=300)
    plt.close(figure)
