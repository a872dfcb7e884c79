"""All that a report speaks of, put in order: populations, tasks, their measures, and every run's scores at the end."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from benchmarl.algorithms import algorithm_config_registry

from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.evaluation.figures import population_styles
from benchmarl_reciprocator.evaluation.records import file_names
from benchmarl_reciprocator.evaluation.reports.words import plain, title_of
from benchmarl_reciprocator.evaluation.result_files import RUN, Results, final_rows
from benchmarl_reciprocator.evaluation.sections import Measured, literal
from benchmarl_reciprocator.evaluation.statistics import area_under_curve, interquartile_mean, stands_from
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.measure import CooperationMeasure

# They optimise the mean reward of their group: a cooperative reference, not self-interested agents.
GROUP_MEAN = ("qmix", "vdn")
MARK = " †"
SEAT = re.compile(r"agent_(\d+)_(\w+)")
BOUND = re.compile(r"all_(\w+)_return")


# How far from the lower to the upper end of its measure cooperation must come to be said to stand
STANDS = 0.8
# Of the whole training: the area under the learning curve (the mean score), and from when on cooperation stands for
# good, in frames and in seconds, nan if never
OF_TRAINING = ("area_under_curve", "stands_frames", "stands_seconds")


@dataclass
class OrderedResults:
    """Results in the order in which a report shows them.

    Args:
        results (Results): of one version of every task.
        final (DataFrame): a row for each run: the mean over the last fifth of training of all that was measured, with
            ``score`` (an episode's return, mean of agents), ``worst_off`` and, where a task has bounds, ``normalised``;
            and, of the whole training, :data:`OF_TRAINING`.
        tasks (list of str): in their order.
        populations (list of str): this package's own method first, the cooperative references last.
        own (list of str): populations with a Reciprocator.
        references (list of str): populations that optimise the mean reward of a group.
        measures (dict): the measure of cooperation of every task that has one.
        left_out (list of str): runs that are of another version of their task, and why they do not count.
    """

    results: Results
    final: pd.DataFrame
    tasks: list[str]
    populations: list[str]
    own: list[str]
    references: list[str]
    measures: dict[str, CooperationMeasure]
    left_out: list[str]

    def label(self, population: str) -> str:
        """A population's name in tables and figures: as people write it, unless another's would look the same."""
        alike = [one for one in self.populations if plain(one) == plain(population)]
        name = plain(population) if len(alike) == 1 else population
        return name + (MARK if population in self.references else "")

    def named(self, population: str) -> str:
        """:meth:`label` as inline markdown."""
        return literal(self.label(population))

    @property
    def labels(self) -> dict[str, str]:
        """The names of all populations in tables and figures."""
        return {population: self.label(population) for population in self.populations}

    @property
    def styles(self) -> dict[str, dict[str, Any]]:
        """How lines of populations are drawn, by label."""
        return population_styles(list(self.labels.values()), [self.label(population) for population in self.own])

    def title(self, task: str) -> str:
        """A task's name in headings, beside its spelling in the suite where another's would look the same."""
        titles = {one: title_of(one, len(self.runs_of(one)["agents"].iloc[0])) for one in self.tasks}
        return titles[task] if list(titles.values()).count(titles[task]) == 1 else f"{titles[task]} ({task})"

    @property
    def files(self) -> dict[str, str]:
        """A word for every task by which the names of its files end."""
        return file_names(self.tasks)

    def runs_of(self, task: str, population: str | None = None) -> pd.DataFrame:
        """The rows of ``results.runs`` of a task, or of a population on it."""
        return _of(self.results.runs, task, population)

    def ends_of(self, task: str, population: str | None = None) -> pd.DataFrame:
        """The rows of ``final`` of a task, or of a population on it."""
        return _of(self.final, task, population)

    def populations_on(self, task: str) -> list[str]:
        """Those that were run on a task."""
        found = set(self.ends_of(task)["population"])
        return [population for population in self.populations if population in found]

    def scores(self, task: str, column: str) -> dict[str, np.ndarray]:
        """Of every population on a task that has it, the column of ``final``, ``[seeds]``."""
        values = {
            population: self.ends_of(task, population)[column].dropna().to_numpy(float)
            for population in self.populations_on(task)
        }
        return {population: seeds for population, seeds in values.items() if len(seeds)}

    def selfish(self, populations: Sequence[str]) -> list[str]:
        """Those that are compared with each other: without the references, unless there are no others."""
        return [one for one in populations if one not in self.references] or list(populations)

    def bounds(self, task: str) -> dict[str, float]:
        """Returns of scripted play on a task, by what is played."""
        rows = self.ends_of(task)
        found = {match[1]: rows[column].mean() for column in rows if (match := BOUND.fullmatch(column))}
        return {f"all {plain(play)}": value for play, value in found.items() if not math.isnan(value)}

    @property
    def seeds(self) -> int:
        """The smallest number of seeds of a population on a task."""
        return int(self.final.groupby(["task", "population"]).size().min())


def in_order(results: Results) -> OrderedResults:
    """Put results in order. Of results on several versions of a task, those of the newest count."""
    register()
    results, left_out = _of_one_version(results)
    runs = results.runs
    agents = {name: {agent for row in rows["agents"] for agent in row} for name, rows in runs.groupby("population")}
    reciprocators = {agent for agent in set().union(*agents.values()) if _is_reciprocator(agent)}
    own = {name: len(members - reciprocators) == 0 for name, members in agents.items() if members & reciprocators}
    references = [name for name, members in agents.items() if members & set(GROUP_MEAN)]

    def rank(population: str) -> int:
        if population in references:
            return 3
        return 2 if population not in own else int(not own[population])

    populations = sorted(dict.fromkeys(runs["population"]), key=rank)
    measures = {
        task: measure
        for task, rows in runs.groupby("task")
        if (measure := next((one for one in rows["cooperation"] if one is not None), None)) is not None
        and measure.metric in results.evaluations
    }
    return OrderedResults(
        results=results,
        final=_final(results, measures),
        tasks=list(dict.fromkeys(runs["task"])),
        populations=populations,
        own=[population for population in populations if population in own],
        references=references,
        measures=measures,
        left_out=left_out,
    )


def measured(values: pd.Series, bounds: tuple[float, float] | None = None) -> Measured:
    """The interquartile mean over seeds with its interval."""
    seeds = values.dropna().to_numpy(float)
    return Measured(*interquartile_mean(seeds[:, None]), bounds=bounds) if len(seeds) else Measured(math.nan)


def _of(rows: pd.DataFrame, task: str, population: str | None) -> pd.DataFrame:
    chosen = rows["task"] == task
    return rows[chosen if population is None else chosen & (rows["population"] == population)]


def _is_reciprocator(algorithm: str) -> bool:
    return issubclass(algorithm_config_registry.get(algorithm, object), ReciprocityConfig)


def _of_one_version(results: Results) -> tuple[Results, list[str]]:
    """The results on the newest version of every task, and what was left out. Runs of before there were versions are
    taken as they are.
    """
    runs = results.runs
    newest = runs.groupby("task")["task_version"].transform("max")
    other = runs["task_version"].notna() & (runs["task_version"] != newest)
    if not other.any():
        return results, []
    left_out = [
        f"{task}, {population}, seed {seed}: was run on version {int(version)} of the task, the others on version "
        f"{int(latest)}; rules, presets or maps differ between them. Report it apart, or run it again"
        for (task, population, seed, version), latest in zip(
            runs.loc[other, [*RUN, "task_version"]].itertuples(index=False, name=None), newest[other]
        )
    ]
    kept = runs.loc[~other, RUN]
    evaluations, diagnostics, times = (
        table.merge(kept, on=RUN) if set(RUN) <= set(table) and len(table) else table
        for table in (results.evaluations, results.diagnostics, results.times)
    )
    return Results(evaluations, diagnostics, runs[~other].reset_index(drop=True), results.skipped, times), left_out


def _final(results: Results, measures: Mapping[str, CooperationMeasure]) -> pd.DataFrame:
    final = final_rows(results.evaluations, by=RUN, runs=results.runs)
    final["score"] = _score(final)
    seats = [column for column in final if (match := SEAT.fullmatch(column)) and match[2] == "return"]
    final["worst_off"] = final[seats].min(axis=1) if seats else math.nan
    normalised = normalised_scores(final)
    if normalised is not None:
        final["normalised"] = normalised
    return final.merge(_of_training(results, measures), on=RUN, how="left")


def normalised_scores(rows: pd.DataFrame) -> pd.Series | None:
    """Returns normalised by scripted play: 0 where all defect, or are greedy, and 1 where all cooperate.

    Args:
        rows (DataFrame): of evaluations, or means of some.

    Returns:
        Series: ``nan`` where a task has no such bounds, or they are the same; ``None`` where no task has any.
    """
    others = [column for column in rows if (match := BOUND.fullmatch(column)) and match[1] != "cooperate"]
    if "all_cooperate_return" not in rows or not others:
        return None
    worst, best = rows[others].bfill(axis=1).iloc[:, 0], rows["all_cooperate_return"]
    return ((_score(rows) - worst) / (best - worst)).where((best - worst).abs() > 1e-9)


def _score(rows: pd.DataFrame) -> pd.Series:
    """An episode's return, mean of agents."""
    return rows["utilitarian"].fillna(rows["return"]) if "utilitarian" in rows else rows["return"]


def _of_training(results: Results, measures: Mapping[str, CooperationMeasure]) -> pd.DataFrame:
    """:data:`OF_TRAINING` of every run."""
    clocks = dict([*results.times.groupby(RUN)]) if len(results.times) else {}
    rows = []
    for run, curve in results.evaluations.sort_values("frames").groupby(RUN, sort=False):
        area = area_under_curve(curve["frames"], _score(curve))
        frames = seconds = math.nan
        measure = measures.get(run[0])
        if measure is not None:
            threshold = measure.low + STANDS * (measure.high - measure.low)
            frames = stands_from(curve["frames"], curve[measure.metric], threshold)
        if run in clocks and not math.isnan(frames):
            clock = clocks[run].sort_values("frames")
            # The iteration at whose end it was evaluated
            seconds = float(clock.loc[clock["frames"] >= frames, "seconds"].min())
        rows.append({**dict(zip(RUN, run)), **dict(zip(OF_TRAINING, (area, frames, seconds)))})
    return pd.DataFrame(rows)
