"""Figures of reports and of cross-play: colour-blind-safe, legible at the width of a paper's column.

Drawn without pyplot, so that neither its backend nor its open figures change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarl_reciprocator.evaluation.statistics import Interval, interquartile_means_over_time

# Okabe and Ito's colour-blind-safe palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")
# The warm colours of the palette for this package's own method, the others for what it is compared with.
OWN = ("#D55E00", "#E69F00")
OTHERS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#5F5F5F")
# What :func:`population_styles` gives, by population.
Styles = Mapping[str, Mapping[str, Any]]
# Of one population, values of what is varied, numbers or names, each with what it came to
Line = list[tuple[float | str, Interval]]
# Panels side by side: three fill a page's width.
PER_ROW = 3


def population_styles(populations: Sequence[str], own: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """How lines of each population are drawn, the same in all figures of a report; told apart by dashes in grey too.

    Args:
        populations (sequence of str): in the order of legends.
        own (collection of str): those of this package's method, the first two of which are drawn strongly.
    """
    strong = [name for name in populations if name in own][: len(OWN)]
    others = [name for name in populations if name not in strong]
    styles = {}
    for index, name in enumerate(populations):
        if name in strong:
            drawn = {"color": OWN[strong.index(name)], "linewidth": 2.2, "zorder": 3}
        else:
            drawn = {"color": OTHERS[others.index(name) % len(OTHERS)], "linewidth": 1.2, "zorder": 2}
        styles[name] = {**drawn, "linestyle": STYLES[index % len(STYLES)]}
    return styles


def heat_map(
    means: np.ndarray,
    lows: np.ndarray,
    highs: np.ndarray,
    names: Sequence[str],
    label: str,
    file: Path,
    bounds: tuple[float, float] | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """A matrix of means, each with its interval beneath; the colours stay apart for the colour-blind and in grey.

    Args:
        means (ndarray): ``[P, Q]``, of who is in the row against who is in the column; ``nan`` stays blank.
        lows (ndarray): ``[P, Q]``, lower ends; ``nan`` where there is no interval.
        highs (ndarray): ``[P, Q]``, upper ends.
        names (sequence of str): ``P``.
        label (str): what is shown.
        file (Path): where the figure goes.
        bounds (tuple of float, optional): values of the first and the last colour; default: the least and the largest.
        columns (sequence of str, optional): ``Q`` names of columns; default: those of the rows, whom they play against.
    """
    across = names if columns is None else columns
    figure = _figure(0.62 * len(across) + 2.0, 0.62 * len(names) + 1.3)
    axis = figure.subplots()
    known = means[np.isfinite(means)]
    low, high = bounds or ((known.min(), known.max()) if len(known) else (0.0, 1.0))
    image = axis.imshow(means, cmap="cividis", vmin=low, vmax=high if high > low else low + 1)
    for i, j in zip(*np.nonzero(np.isfinite(means))):
        bright = means[i, j] > (low + high) / 2
        colour = "black" if bright and high > low else "white"
        interval = np.isfinite(lows[i, j])
        axis.text(j, i - 0.14 * interval, f"{_number(means[i, j])}", ha="center", va="center", fontsize=8, color=colour)
        if interval:
            text = f"{_number(lows[i, j])} to\n{_number(highs[i, j])}"
            axis.text(j, i + 0.2, text, ha="center", va="center", fontsize=5.5, color=colour, linespacing=0.95)
    ticks, ticks_across = ([fill(name.replace("_", " "), 16) for name in of] for of in (names, across))
    axis.set_xticks(range(len(across)), ticks_across, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
    axis.set_yticks(range(len(names)), ticks, fontsize=7)
    if columns is None:
        axis.set_xlabel("against", fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=300)


def _number(value: float) -> str:
    """Two digits, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def shares_over_time(
    times: Sequence[float], shares: np.ndarray, names: Sequence[str], file: Path, own: Collection[str] = ()
) -> None:
    """How the shares of populations develop under the replicator dynamics.

    Args:
        times (sequence of float): ``T``.
        shares (ndarray): ``[T, P]``.
        names (sequence of str): ``P``.
        file (Path): where the figure goes.
        own (collection of str): those of this package's method.
    """
    figure = _figure(3.5, 2.4)
    axis = figure.subplots()
    for (name, style), share in zip(population_styles(names, own).items(), shares.T):
        axis.plot(times, share, label=name.replace("_", " "), **style)
    axis.set_xlim(times[0], times[-1])
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("time (in units of 1 / range of scores)", fontsize=8)
    axis.set_ylabel("share of the population", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=6, frameon=False, loc="outside right center")
    figure.savefig(file, dpi=300)


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file.with_suffix(".png"), dpi=200)
    # Without a date, so that the same data give the same file.
    figure.savefig(file.with_suffix(".pdf"), metadata={"CreationDate": None})


def _tidy(axis: Axes, title: str = "", x: str = "", y: str = "") -> None:
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.spines[["top", "right"]].set_visible(False)


def plot_curves(
    rows: pd.DataFrame,
    measures: Mapping[str, str],
    styles: Styles,
    time: str,
    file: Path,
    title: str,
    marks: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Measures over training, a panel for each: the interquartile mean over seeds and its 95% interval.

    Args:
        rows (DataFrame): with ``population``, ``seed``, ``time`` and the measures.
        measures (mapping): labels by column.
        styles (mapping): of :func:`population_styles`, in the order of the legend; a figure may lack some.
        time (str): the column of the horizontal axis, ``"frames"`` or ``"iteration"``.
        file (Path): without its ending.
        title (str): of the whole.
        marks (mapping, optional): by measure, values for dotted lines, by name.
    """
    columns = min(len(measures), PER_ROW)
    lines = -(-len(measures) // columns)
    # Room for the legend, three populations a line.
    figure = _figure(2.4 * max(columns, 2), 1.9 * lines + 0.5 + 0.16 * (-(-len(styles) // 3)))
    axes = figure.subplots(lines, columns, squeeze=False)
    drawn: dict[str, Any] = {}
    for axis in axes.flat[len(measures) :]:
        axis.remove()
    unit = 1e6 if time == "frames" else 1
    for axis, (measure, label) in zip(axes.flat, measures.items()):
        for population, style in styles.items():
            runs = rows[rows["population"] == population]
            table = runs.pivot_table(index="seed", columns=time, values=measure).dropna(axis=1)
            if table.empty:
                continue
            curve = interquartile_means_over_time(table.to_numpy())
            x = table.columns.to_numpy(dtype=float) / unit
            (drawn[population],) = axis.plot(x, curve[:, 0], **style)
            if len(table) > 1:
                axis.fill_between(x, curve[:, 1], curve[:, 2], color=style["color"], alpha=0.2, linewidth=0)
        for name, value in (marks or {}).get(measure, {}).items():
            axis.axhline(value, color="#7F7F7F", linewidth=0.8, linestyle=(0, (1, 2)))
            axis.annotate(name, (0.99, value), xycoords=("axes fraction", "data"), fontsize=6, ha="right", va="bottom")
        _tidy(axis, x="million frames" if time == "frames" else time, y=label)
    figure.suptitle(title, fontsize=9)
    shown = [population for population in styles if population in drawn]
    figure.legend(
        [drawn[population] for population in shown],
        shown,
        loc="outside lower center",
        ncols=3,
        fontsize=7,
        frameon=False,
        handlelength=2.8,
    )
    _finish(figure, file)


def plot_against(
    panels: Sequence[tuple[str, bool, str, Mapping[str, Line]]], styles: Styles, columns: int, file: Path
) -> None:
    """Outcomes against what is varied, with intervals as bars.

    Args:
        panels (sequence of tuple): row by row: the horizontal axis's label and whether it is logarithmic, the vertical
            one's label, and the lines by name.
        styles (mapping): of :func:`population_styles`, by the names of lines, in the order of the legend.
        columns (int): how many panels a row has.
        file (Path): without its ending.
    """
    rows = -(-len(panels) // columns)
    shown = [name for name in styles if any(name in lines for *_, lines in panels)]
    figure = _figure(max(2.6 * columns, 3.6), 2.0 * rows + 0.3 + 0.16 * (-(-len(shown) // 3)))
    drawn: dict[str, Any] = {}
    for axis, (x_label, log, y_label, lines) in zip(figure.subplots(rows, columns, squeeze=False).flat, panels):
        _tidy(axis, x=x_label, y=y_label)
        if log:
            axis.set_xscale("log")
        values = list(dict.fromkeys(value for line in lines.values() for value, _ in line))
        named = any(isinstance(value, str) for value in values)
        axis.set_xticks(range(len(values)) if named else values, [fill(str(value), 14) for value in values])
        axis.minorticks_off()
        if named:
            axis.set_xlim(-0.5, len(values) - 0.5)
        for name in (name for name in shown if name in lines):
            places = [values.index(value) if named else value for value, _ in lines[name]]
            estimates, lows, highs = np.array([interval for _, interval in lines[name]], float).T
            lengths = np.nan_to_num(np.abs([estimates - lows, highs - estimates]))
            style = {**styles[name], **({"linestyle": "none"} if named else {})}
            drawn[name] = axis.errorbar(
                places, estimates, lengths, marker="o", markersize=3, elinewidth=1, capsize=2, **style
            )
    figure.legend(
        [drawn[name] for name in shown], shown, loc="outside lower center", ncols=3, fontsize=7, frameon=False
    )
    _finish(figure, file)


def plot_intervals(intervals: Mapping[str, Interval], styles: Styles, label: str, file: Path) -> None:
    """Point estimates with their intervals, a row for each population, coloured as in :func:`plot_curves`."""
    figure = _figure(3.6, 0.5 + 0.24 * len(intervals))
    axis = figure.subplots()
    for row, (name, (estimate, low, high)) in enumerate(intervals.items()):
        colour = styles[name]["color"]
        if not np.isnan(low):
            axis.barh(row, max(high - low, 0.004), left=low, height=0.5, color=colour, alpha=0.45)
        axis.plot([estimate, estimate], [row - 0.32, row + 0.32], color="black", linewidth=1.6)
    axis.set_yticks(range(len(intervals)), list(intervals), fontsize=7)
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -0.05), max(high, 1.05))
    axis.grid(axis="x", linewidth=0.3)
    _tidy(axis, x=label)
    _finish(figure, file)


def plot_bands(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], styles: Styles, label: str, file: Path) -> None:
    """Lines over frames with their intervals as bands.

    Args:
        lines (mapping): frames ``[T]`` and estimates with lower and upper ends ``[T, 3]``, by population.
        styles (mapping): of :func:`population_styles`.
        label (str): of the vertical axis.
        file (Path): without its ending.
    """
    figure = _figure(3.6, 2.6)
    axis = figure.subplots()
    for name, (frames, values) in lines.items():
        axis.plot(frames / 1e6, values[:, 0], label=name, **styles[name])
        axis.fill_between(frames / 1e6, *values[:, 1:].T, color=styles[name]["color"], alpha=0.15, linewidth=0)
    _tidy(axis, x="million frames", y=label)
    figure.legend(loc="outside lower center", ncols=2, fontsize=6.5, frameon=False)
    _finish(figure, file)


def plot_profiles(
    profiles: Mapping[str, tuple[np.ndarray, np.ndarray]],
    styles: Styles,
    thresholds: Sequence[float] | np.ndarray,
    label: str,
    file: Path,
) -> None:
    """Performance profiles: the share of runs above each score, with the interval as a band."""
    figure = _figure(3.6, 2.6)
    axis = figure.subplots()
    for name, (shares, (low, high)) in profiles.items():
        style = styles[name]
        axis.plot(thresholds, shares, label=name, **style)
        axis.fill_between(thresholds, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axis.set_ylim(-0.03, 1.03)
    _tidy(axis, x=label, y="share of runs above")
    figure.legend(loc="outside lower center", ncols=2, fontsize=6.5, frameon=False)
    _finish(figure, file)
