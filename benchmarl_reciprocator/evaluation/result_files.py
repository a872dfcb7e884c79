"""Finds and reads what runs leave on disk: BenchMARL's evaluation JSON and CSV, and the records of suites."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarl.environments import task_config_registry

from benchmarl_reciprocator.agents.setup import read_task_file
from benchmarl_reciprocator.evaluation.layout import PROGRESS, find_records, runs_folder
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.measure import CooperationMeasure

# What identifies a run in every table below.
RUN = ["task", "population", "seed"]
DIAGNOSTICS = "reciprocity_"
# By which BenchMARL's JSON is nested.
KEYS = ["environment", "task", "algorithm", "seed"]


@dataclass
class Results:
    """All that was found in a folder.

    Args:
        evaluations (DataFrame): a row for each evaluation: ``task``, ``population``, ``seed``, ``frames`` and the mean
            over its episodes of each metric.
        diagnostics (DataFrame): a row for each iteration of a run of Reciprocators: ``task``, ``population``,
            ``seed``, ``iteration`` and what was logged under ``reciprocity/``.
        runs (DataFrame): a row for each run: ``task``, ``population``, ``seed``, ``frames``, ``agents`` (the algorithm
            of each seat), ``registered`` (the task as BenchMARL knows it), ``task_version`` (``None``: not known),
            ``cooperation`` (a :class:`~benchmarl_reciprocator.tasks.measure.CooperationMeasure` or ``None``) and, where
            a record tells them, times, setting and overrides.
        skipped (list of str): what could not be read, and why.
        times (DataFrame): a row for each iteration of a run that logged it: ``task``, ``population``, ``seed``,
            ``frames`` and ``seconds``, both since its training began.
    """

    evaluations: pd.DataFrame
    diagnostics: pd.DataFrame
    runs: pd.DataFrame
    skipped: list[str] = field(default_factory=list)
    times: pd.DataFrame = field(default_factory=pd.DataFrame)


def read_results(folder: Path) -> Results:
    """Everything in a suite's folder, or in one that BenchMARL's own commands filled.

    Args:
        folder (Path): is searched at any depth.

    Returns:
        Results: empty tables if nothing was found. Files that cannot be read are in ``skipped``.
    """
    evaluations, diagnostics, runs, skipped, times = [], [], [], [], []
    recorded = set()
    folder = runs_folder(folder)
    for file in find_records(folder):
        try:
            record = json.loads(file.read_text())
            json_file = file.parent / record["json"]
            recorded.add(json_file.resolve())
            frame = _of_the_run(read_evaluations(json_file), record["seed"], json_file)
            names = {key: record[key] for key in RUN}
            run = {key: value for key, value in record.items() if key != "json"}
            run |= _task_of(json_file.parent, frame, record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            skipped.append(f"{file}: {error}")
            continue
        evaluations.append(frame.drop(columns="environment").assign(**names))
        runs.append(run)
        diagnostics.append(_read_diagnostics(json_file.parent).assign(**names))
        times.append(_read_times(json_file.parent).assign(**names))
    for file in sorted(folder.rglob("*.json")):
        if file.resolve() in recorded or file.stem != file.parent.name:
            continue
        # An experiment of BenchMARL's own commands, or a suite's run that has not finished.
        if (file.parents[1] / PROGRESS).is_file():
            continue
        try:
            frame = read_evaluations(file)
        except ValueError as error:
            skipped.append(str(error))
            continue
        # One run, unless it went on as another or files were merged.
        for (_, task, algorithm, seed), rows in frame.groupby(KEYS, sort=False):
            names = {"task": task, "population": algorithm, "seed": int(seed)}
            agents = n_agents(rows) * [algorithm]
            frames = max(int(rows["frames"].max()), _frames_collected(file.parent))
            runs.append({**names, "frames": frames, "agents": agents, **_task_of(file.parent, rows, {})})
            evaluations.append(rows.drop(columns="environment").assign(**names))
            diagnostics.append(_read_diagnostics(file.parent).assign(**names))
            times.append(_read_times(file.parent).assign(**names))
    tables = (_concatenated(evaluations), _concatenated(diagnostics), pd.DataFrame(runs))
    results = Results(*tables, skipped, _concatenated(times))
    return _told_apart(results)


def _task_of(experiment: Path, evaluations: pd.DataFrame, record: dict[str, Any]) -> dict[str, Any]:
    """Which task a run was on, its version and its measure of cooperation: of the run's record, else of the task's file
    in the experiment's folder, else of the registered task of that name.
    """
    registered = f"{evaluations['environment'].iloc[0]}/{evaluations['task'].iloc[0]}".lower()
    written = record if "task_version" in record else read_task_file(experiment)
    if written is not record and written is not None and written.get("task", registered) != registered:
        # Of the task that the experiment began with.
        written = None
    if written is None:
        measure = _registered_cooperation(registered)
        # Options may have taken it away.
        known = measure is not None and measure.metric in evaluations
        return {"registered": registered, "task_version": None, "cooperation": measure if known else None}
    measure = written.get("cooperation")
    version = written["task_version"] if written is record else written.get("version")
    return {
        "registered": registered,
        "task_version": version,
        "cooperation": CooperationMeasure(**measure) if measure else None,
    }


def _of_the_run(evaluations: pd.DataFrame, seed: int, file: Path) -> pd.DataFrame:
    """The rows of the run that a record is of.

    Raises:
        ValueError: if the record does not tell which they are.
    """
    rows = evaluations[evaluations["seed"] == seed].reset_index(drop=True)
    kinds = rows[KEYS].drop_duplicates()
    if len(kinds) != 1:
        held = [f"{kind.task} by {kind.algorithm}" for kind in kinds.itertuples(index=False)]
        raise ValueError(
            f"{file} must hold one task and algorithm with seed {seed}, but holds {' and '.join(held) or 'none'}"
        )
    return rows


def _frames_collected(experiment: Path) -> int:
    """How many frames a run was trained on, by the CSV files of TorchRL's logger; 0 where they do not tell."""
    for file in experiment.rglob("scalars/counters_total_frames.csv"):
        values = _read_scalar(file)
        if values is not None and len(values):
            return int(values.max())
    return 0


@cache
def _registered_cooperation(name: str) -> CooperationMeasure | None:
    register()
    task = task_config_registry.get(name)
    return getattr(task.get_from_yaml(), "cooperation", None) if task is not None else None


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=RUN)


def _told_apart(results: Results) -> Results:
    """Keep the last of runs with the same name and seed but other overrides, and say so: they are not replications."""
    if results.runs.empty:
        return results
    again = results.runs.duplicated(RUN, keep="last")
    if again.any():
        names = results.runs.loc[again, RUN].itertuples(index=False, name=None)
        results.skipped += [
            f"{task}, {population}, seed {seed}: found more than once, the last counts (other overrides under the same "
            "name? name them apart)"
            for task, population, seed in names
        ]
        results.runs = results.runs[~again].reset_index(drop=True)
        results.evaluations = results.evaluations.drop_duplicates([*RUN, "frames"], keep="last")
        if not results.diagnostics.empty:
            results.diagnostics = results.diagnostics.drop_duplicates([*RUN, "iteration"], keep="last")
        if not results.times.empty:
            results.times = results.times.drop_duplicates([*RUN, "frames"], keep="last")
    return results


def read_evaluations(json_file: Path) -> pd.DataFrame:
    """Evaluations of one run.

    Args:
        json_file (Path): as BenchMARL writes it: environment, task, algorithm, seed, step, metric, episodes.

    Returns:
        DataFrame: a row for each evaluation, with ``frames``, ``environment``, ``task``, ``algorithm``, ``seed`` and,
            for each metric, the mean over its episodes.

    Raises:
        ValueError: if the file is not such a JSON, or holds no evaluation.
    """
    try:
        content: dict[str, Any] = json.loads(json_file.read_text())
        rows = []
        for environment, tasks in content.items():
            for task, algorithms in tasks.items():
                for algorithm, seeds in algorithms.items():
                    for seed, steps in seeds.items():
                        run = {"environment": environment, "task": task, "algorithm": algorithm}
                        run["seed"] = int(seed.removeprefix("seed_"))
                        rows += [
                            {**run, "frames": metrics.pop("step_count"), **_means(metrics)}
                            for step, metrics in steps.items()
                            if step.startswith("step_")
                        ]
        return pd.DataFrame(rows).sort_values("frames", ignore_index=True)
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{json_file} is not an evaluation JSON of BenchMARL ({error!r})") from error


def _means(metrics: dict[str, list[float]]) -> dict[str, float]:
    with warnings.catch_warnings():
        # A measure by previous outcome is undefined where that outcome did not occur.
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return {name: float(np.nanmean(values)) for name, values in metrics.items()}


def n_agents(evaluations: pd.DataFrame) -> int:
    """Number of agents of which there is a return, at least one."""
    seats = evaluations.columns.str.fullmatch(r"agent_\d+_return").sum()
    return max(1, int(seats))


def _read_diagnostics(experiment: Path) -> pd.DataFrame:
    """What a run logged of reciprocity, from the CSV files of TorchRL's logger."""
    columns = {}
    for file in sorted(experiment.rglob(f"scalars/{DIAGNOSTICS}*.csv")):
        values = _read_scalar(file)
        if values is not None:
            columns[file.stem.removeprefix(DIAGNOSTICS)] = values
    return pd.DataFrame(columns).rename_axis("iteration").reset_index() if columns else pd.DataFrame()


def _read_times(experiment: Path) -> pd.DataFrame:
    """Frames and seconds after every iteration, from the CSV files of TorchRL's logger; empty where it wrote none."""
    columns = {}
    for name, key in (("frames", "counters_total_frames"), ("seconds", "timers_total_time")):
        found = (_read_scalar(file) for file in sorted(experiment.rglob(f"scalars/{key}.csv")))
        columns[name] = next((values for values in found if values is not None), pd.Series(dtype=float))
    return pd.DataFrame(columns).dropna().reset_index(drop=True)


def _read_scalar(file: Path) -> pd.Series | None:
    """A CSV file of TorchRL's logger, by iteration; ``None`` where it cannot be read."""
    try:
        values = pd.read_csv(file, names=["iteration", "value"]).drop_duplicates("iteration", keep="last")
        return values.set_index("iteration")["value"]
    except (OSError, ValueError):
        return None


def final_rows(
    evaluations: pd.DataFrame, by: list[str], share: float = 0.2, runs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean over the last evaluations of every run; over its last one where it was not evaluated at its end.

    Args:
        evaluations (DataFrame): of one or more runs.
        by (list of str): the columns that tell runs apart.
        share (float): which share of the frames counts as the end.
        runs (DataFrame, optional): the ``frames`` that every run was trained on; default: those of its last evaluation.

    Returns:
        DataFrame: a row for each run.
    """
    last = evaluations.groupby(by, sort=False)["frames"].transform("max")
    trained = last
    if runs is not None and len(evaluations):
        told = evaluations[by].merge(runs[[*by, "frames"]].drop_duplicates(by), on=by, how="left")["frames"]
        trained = told.set_axis(evaluations.index).fillna(last).clip(lower=last)
    # No evaluation may be that late.
    start = ((1 - share) * trained).where(last > (1 - share) * trained, last - 1)
    end = evaluations[evaluations["frames"] > start]
    return end.groupby(by, sort=False).mean(numeric_only=True).reset_index()


def evaluated_too_early(results: Results) -> list[str]:
    """Runs that were not evaluated when their training was over, a line each: their scores are of before."""
    if results.runs.empty or results.evaluations.empty:
        return []
    last = results.evaluations.groupby(RUN)["frames"].max()
    return [
        f"{task}, {population}, seed {seed}: last evaluated at frame {int(last[task, population, seed]):,} of "
        f"{int(frames):,}"
        for task, population, seed, frames in results.runs[[*RUN, "frames"]].itertuples(index=False, name=None)
        if (task, population, seed) in last.index and last[task, population, seed] < frames
    ]
