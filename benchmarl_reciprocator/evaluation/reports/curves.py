"""Figures over training: what is measured of play, and what the Reciprocators logged."""

from __future__ import annotations

import math
import re
from pathlib import Path

from benchmarl_reciprocator.evaluation.figures import plot_curves
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults
from benchmarl_reciprocator.evaluation.reports.scores import OUTCOMES
from benchmarl_reciprocator.evaluation.result_files import RUN
from benchmarl_reciprocator.evaluation.sections import Figure, Paragraph, Section, literal

DIAGNOSTICS = {
    "influence": "value influence (reward)",
    "balance": "influence balance (reward)",
    "intrinsic_reward_share": "intrinsic share of reward",
}
# Logged by algorithm.estimate_check_interval, once in so many iterations
AGREEMENT = {
    "agreement_immediate_current_correlation": "correlation with exact influence",
    "agreement_future_current_correlation": "the same of the future part",
}
# So many points in time are all that the eye can use.
POINTS = 40


def curve_sections(ordered: OrderedResults, output: Path) -> list[Section]:
    """Return, cooperation and social outcome over training, a figure for each task, drawn into ``output``."""
    figures = []
    for task in ordered.tasks:
        rows = ordered.results.evaluations
        rows = rows[rows["task"] == task].dropna(axis=1, how="all")
        rows = rows.assign(population=rows["population"].map(ordered.labels))
        score = "utilitarian" if "utilitarian" in rows else "return"
        measures = {score: "return (mean of agents)"}
        measure = ordered.measures.get(task)
        if measure is not None and measure.metric in rows:
            measures[measure.metric] = measure.label
        measures |= {name: name for name in OUTCOMES if name in rows and rows[name].nunique() > 1}
        file = output / f"curves_{ordered.files[task]}"
        title = ordered.title(task)
        plot_curves(rows, measures, ordered.styles, "frames", file, title, {score: ordered.bounds(task)})
        figures.append(Figure(f"{file.name}.png", f"{literal(title)} over training"))
    return [Section("Over training", figures)]


def diagnostic_sections(ordered: OrderedResults, output: Path) -> list[Section]:
    """The size of influence and balance over pairs of agents, the intrinsic share and, where it was compared, how well
    the estimate agrees with exact influence, drawn into ``output``.
    """
    diagnostics = ordered.results.diagnostics
    if diagnostics.empty:
        return []
    figures = []
    for task in (task for task in ordered.tasks if task in set(diagnostics["task"])):
        rows = diagnostics[diagnostics["task"] == task]
        shown = rows[RUN[1:]].assign(iteration=rows["iteration"], population=rows["population"].map(ordered.labels))
        for measure in DIAGNOSTICS:
            columns = [column for column in rows if re.search(rf"(^|_){measure}(_\d+_on_\d+)?$", column)]
            shown[measure] = rows[columns].abs().mean(axis=1) if columns else math.nan
        compared = {name: label for name, label in AGREEMENT.items() if name in rows and rows[name].notna().any()}
        shown = shown.join(rows[list(compared)])
        every = max(1, int(shown["iteration"].max()) // POINTS)
        shown = shown[(shown["iteration"] % every == 0) | shown[list(compared)].notna().any(axis=1)]
        file = output / f"diagnostics_{ordered.files[task]}"
        title = ordered.title(task)
        plot_curves(shown, {**DIAGNOSTICS, **compared}, ordered.styles, "iteration", file, title)
        figures.append(Figure(f"{file.name}.png", f"Diagnostics of {literal(title)}"))
    text = Paragraph("Means over pairs of agents, of sizes (influence, balance).")
    return [Section("Inside the Reciprocator", [text, *figures])]
