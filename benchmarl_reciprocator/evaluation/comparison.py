"""Results of the same suite, old against new: by how much each population changed on each task, beyond noise or not.

A run of the new results is held against the run of the same seed, where both sides have at least two seeds in common
(the interval is then of the mean of their differences), else all seeds of one side against all of the other. Intervals
are bootstrapped over seeds. A bootstrap of few seeds is too narrow, that of three misses zero by chance in one of four
comparisons: so intervals are at least as wide as Student's, or Welch's where seeds are not paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from benchmarl_reciprocator.evaluation.result_files import RUN, Results, final_rows
from benchmarl_reciprocator.evaluation.sections import literal
from benchmarl_reciprocator.evaluation.statistics import Interval, mean_interval
from benchmarl_reciprocator.tasks.measure import CooperationMeasure

CONFIDENCE = 0.95
RESAMPLES = 2000
# What a difference came to.
IDENTICAL, WITHIN, CHANGED, UNDECIDED = "identical", "within noise", "changed", "one seed: cannot tell"
# Less than this share of the numbers themselves is rounding.
ROUNDING = 1e-6
SCORE = "return"
Key = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """How a measure of one population on one task changed.

    Args:
        task (str): the task's name in the suite.
        population (str): the population's.
        measure (str): the column of the evaluations.
        label (str): what tables call it.
        old (float): mean over the old seeds of the last fifth of training.
        new (float): the same of the new ones.
        difference (Interval): new less old, with its interval; ``nan`` ends where one seed says nothing about others.
        old_seeds (int): number of seeds that count on the old side.
        new_seeds (int): on the new side.
        paired (bool): whether every new run was held against the old one of its seed.
        verdict (str): :data:`IDENTICAL`, :data:`WITHIN`, :data:`CHANGED` or :data:`UNDECIDED`.
    """

    task: str
    population: str
    measure: str
    label: str
    old: float
    new: float
    difference: Interval
    old_seeds: int
    new_seeds: int
    paired: bool
    verdict: str


@dataclass
class Comparison:
    """Old results against new ones.

    Args:
        differences (list of Difference): of all populations and tasks that both sides have.
        identical (list of tuple): task, population and seed of runs whose evaluations are the same to the last digit.
        differing (list of tuple): of the other runs that both sides have.
        only_old (list of tuple): of runs that the new results lack.
        only_new (list of tuple): of runs that the old results lack.
        refused (list of str): tasks that were not compared, and why.
        notes (list of str): what else is not the same.
    """

    differences: list[Difference] = field(default_factory=list)
    identical: list[tuple[str, str, int]] = field(default_factory=list)
    differing: list[tuple[str, str, int]] = field(default_factory=list)
    only_old: list[tuple[str, str, int]] = field(default_factory=list)
    only_new: list[tuple[str, str, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def changed(self) -> list[Difference]:
        """The differences that are beyond noise."""
        return [one for one in self.differences if one.verdict == CHANGED]

    @property
    def all_identical(self) -> bool:
        """Whether both sides have the same runs, all of them the same to the last digit."""
        return bool(self.identical) and not (self.differing or self.only_old or self.only_new or self.refused)


def compare(old: Results, new: Results, confidence: float = CONFIDENCE) -> Comparison:
    """Hold new results against old ones.

    Args:
        old (Results): as :func:`~benchmarl_reciprocator.evaluation.result_files.read_results` finds them.
        new (Results): the same.
        confidence (float): of the intervals, by which a difference is beyond noise or not.

    Raises:
        ValueError: if a side has no results, both have none in common, or all that they have in common is of different
            task versions.
    """
    for side, results in (("old", old), ("new", new)):
        if results.runs.empty:
            raise ValueError(f"the {side} results must hold at least one finished run, but there is none")
    found = Comparison()
    keys = {side: _keys(results.runs) for side, results in (("old", old), ("new", new))}
    shared = [key for key in keys["old"] if key in set(keys["new"])]
    if not shared:
        there = "; ".join(f"{side} has {_names(held)}" for side, held in keys.items())
        raise ValueError(f"old and new results must have a population on a task in common, but {there}")
    refused = _refused(old.runs, new.runs)
    found.refused = list(refused.values())
    shared = [key for key in shared if key[0] not in refused]
    if not shared:
        raise ValueError("; ".join(found.refused))
    _sort_runs(found, old, new, set(refused))
    ends = {"old": _ends(old), "new": _ends(new)}
    for key in shared:
        found.notes += _notes(key, _of(old.runs, key), _of(new.runs, key))
        identical = {seed for task, population, seed in found.identical if (task, population) == key}
        before, after = _of(ends["old"], key), _of(ends["new"], key)
        for measure, label in _measures(key, old.runs, new.runs, before, after):
            found.differences.append(_difference(key, measure, label, before, after, identical, confidence))
    return found


def interval_of_difference(old: np.ndarray, new: np.ndarray, paired: bool, confidence: float = CONFIDENCE) -> Interval:
    """Mean of ``new`` less that of ``old``.

    Args:
        old (ndarray): ``[seeds]``.
        new (ndarray): ``[seeds]``, in the order of ``old`` if they are paired.
        paired (bool): whether they are.
        confidence (float): of the interval.

    Returns:
        Interval: with the wider ends of a percentile bootstrap and of Student's or Welch's interval; ``nan`` ends where
        a side has fewer than two seeds.
    """
    if min(len(old), len(new)) < 2:
        return Interval(float(new.mean() - old.mean()), math.nan, math.nan)
    if paired:
        estimate, low, high = mean_interval(list(new - old), confidence)
        error = float(np.std(new - old, ddof=1)) / math.sqrt(len(new))
        freedom = len(new) - 1.0
    else:
        estimate = float(new.mean() - old.mean())
        rng = np.random.default_rng(0)
        means = [rng.choice(values, (RESAMPLES, len(values))).mean(1) for values in (new, old)]
        ends = np.quantile(means[0] - means[1], [(1 - confidence) / 2, (1 + confidence) / 2])
        low, high = float(ends[0]), float(ends[1])
        squares = [float(np.var(values, ddof=1)) / len(values) for values in (old, new)]
        error = math.sqrt(sum(squares))
        parts = sum(square**2 / (len(values) - 1) for square, values in zip(squares, (old, new)))
        freedom = error**4 / parts if parts > 0 else 1.0
    half = error * float(stats.t.ppf((1 + confidence) / 2, freedom))
    return Interval(estimate, min(low, estimate - half), max(high, estimate + half))


def _difference(
    key: Key, measure: str, label: str, old: pd.DataFrame, new: pd.DataFrame, identical: set[int], confidence: float
) -> Difference:
    before, after = (rows.set_index("seed")[measure].dropna().astype(float) for rows in (old, new))
    shared = before.index.intersection(after.index)
    one_pair = len(shared) == 1 and min(len(before), len(after)) == 1
    paired = len(shared) >= 2 or one_pair
    if paired:
        before, after = before.loc[shared], after.loc[shared]
    difference = interval_of_difference(before.to_numpy(), after.to_numpy(), paired, confidence)
    if paired and set(shared) <= identical:
        verdict = IDENTICAL
    elif abs(difference.estimate) <= ROUNDING * max(1.0, abs(before.mean())):
        verdict = WITHIN
    elif math.isnan(difference.low):
        verdict = UNDECIDED
    else:
        verdict = CHANGED if difference.low > 0 or difference.high < 0 else WITHIN
    means = (float(before.mean()), float(after.mean()))
    return Difference(*key, measure, label, *means, difference, len(before), len(after), paired, verdict)


def _sort_runs(found: Comparison, old: Results, new: Results, refused: set[str]) -> None:
    """Tell apart the runs that are on both sides, identical or not, and those on one side."""
    runs = {side: _runs(results.runs, refused) for side, results in (("old", old), ("new", new))}
    found.only_old = [run for run in runs["old"] if run not in set(runs["new"])]
    found.only_new = [run for run in runs["new"] if run not in set(runs["old"])]
    before, after = (dict(list(results.evaluations.groupby(RUN))) for results in (old, new))
    for run in runs["old"]:
        if run in set(runs["new"]):
            same = _same(before[run], after[run])
            (found.identical if same else found.differing).append(run)


def _same(old: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Whether two runs were evaluated at the same times with the same results, as far as both measured the same."""
    tables = [rows.dropna(axis="columns", how="all").select_dtypes("number") for rows in (old, new)]
    columns = [column for column in tables[0] if column in tables[1]]
    before, after = (table[columns].sort_values("frames").to_numpy(float) for table in tables)
    return before.shape == after.shape and bool(np.array_equal(before, after, equal_nan=True))


def _refused(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, str]:
    """Tasks whose versions differ, by name, with the reason. Where a side does not tell its version, they are taken to
    be the same.
    """
    before, after = _versions(old), _versions(new)
    reasons = {}
    for task in before:
        if task in after and before[task] and after[task] and before[task] != after[task]:
            versions = [", ".join(map(str, sorted(side[task]))) for side in (before, after)]
            reasons[task] = (
                f"{task} must be of one task version to be compared, but is version {versions[0]} in the old results "
                f"and {versions[1]} in the new: its rules, maps or presets are not the same"
            )
    return reasons


def _versions(runs: pd.DataFrame) -> dict[str, set[int]]:
    if "task_version" not in runs:
        return {str(task): set() for task in runs["task"]}
    return {
        str(task): {int(version) for version in rows["task_version"].dropna()} for task, rows in runs.groupby("task")
    }


def _notes(key: Key, old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """What should be known of a population on a task before its difference is believed."""
    name = literal(f"{key[0]}, {key[1]}")
    notes = []
    overrides = [_overrides(rows) for rows in (old, new)]
    if all(overrides) and overrides[0] != overrides[1]:
        gone = [entry for entry in overrides[0] if entry not in overrides[1]]
        came = [entry for entry in overrides[1] if entry not in overrides[0]]
        changes = [f"without `{' '.join(gone)}`"] * bool(gone) + [f"with `{' '.join(came)}`"] * bool(came)
        notes.append(f"{name}: the new runs are {' and '.join(changes) or 'by the same overrides in another order'}")
    frames = [sorted(set(rows["frames"])) for rows in (old, new)]
    if frames[0] != frames[1]:
        shown = [", ".join(f"{count:,}" for count in side) for side in frames]
        notes.append(f"{name}: trained for {shown[1]} frames, before for {shown[0]}")
    if "task_version" in old and bool(old["task_version"].isna().all()) != bool(new["task_version"].isna().all()):
        notes.append(f"{name}: only one side tells the version of the task, which is taken to be that of the other")
    return notes


def _overrides(runs: pd.DataFrame) -> list[str]:
    """Of the last run that tells them; a population's runs of several seeds have the same."""
    told = [entry for entry in runs.get("overrides", pd.Series(dtype=object)) if isinstance(entry, list)]
    return told[-1] if told else []


def _measures(
    key: Key, old_runs: pd.DataFrame, new_runs: pd.DataFrame, old: pd.DataFrame, new: pd.DataFrame
) -> list[tuple[str, str]]:
    """What is compared: the return, and the task's measure of cooperation where it has one; column and label."""
    measures = [(SCORE, "return")]
    told = [
        measure
        for runs in (new_runs, old_runs)
        if "cooperation" in runs
        for measure in _of(runs, key)["cooperation"]
        if isinstance(measure, CooperationMeasure)
    ]
    measures += [(measure.metric, measure.label) for measure in told[:1]]
    return [
        (column, label)
        for column, label in measures
        if all(column in side and side[column].notna().any() for side in (old, new))
    ]


def _ends(results: Results) -> pd.DataFrame:
    """A row for each run: means over the last fifth of training, the return being the mean of all agents' returns."""
    ends = final_rows(results.evaluations, by=RUN, runs=results.runs)
    if "utilitarian" in ends:
        ends[SCORE] = ends["utilitarian"].fillna(ends["return"])
    return ends


def _keys(runs: pd.DataFrame) -> list[Key]:
    return list(dict.fromkeys(zip(runs["task"].astype(str), runs["population"].astype(str))))


def _runs(runs: pd.DataFrame, without: set[str]) -> list[tuple[str, str, int]]:
    rows = runs[RUN].sort_values(RUN).itertuples(index=False, name=None)
    return [(str(task), str(population), int(seed)) for task, population, seed in rows if task not in without]


def _of(rows: pd.DataFrame, key: Key) -> pd.DataFrame:
    return rows[(rows["task"] == key[0]) & (rows["population"] == key[1])]


def _names(keys: list[Key]) -> str:
    shown = [f"{population} on {task}" for task, population in keys[:4]]
    return ", ".join([*shown, *(["..."] * (len(keys) > 4))])
