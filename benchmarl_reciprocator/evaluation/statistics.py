"""Means over seeds, and aggregates over tasks by rliable (Agarwal et al. 2021, arXiv 2108.13264), with 95% bootstrap
intervals.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from rliable import library
from scipy.integrate import trapezoid
from scipy.stats import bootstrap, trim_mean, ttest_ind

RESAMPLES = 2000
# Below this the interval says little: it is stated beside it.
FEW_SEEDS = 3


class Interval(NamedTuple):
    """A point estimate and its 95% interval; ``nan`` ends where one seed says nothing about others."""

    estimate: float
    low: float
    high: float


def mean_interval(values: Iterable[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean and its percentile bootstrap interval.

    Args:
        values (iterable of float): one for each seed; those that are ``nan`` or ``None`` do not count.
        confidence (float): of the interval.
        seed (int): of the resampling.

    Returns:
        Interval: mean, lower and upper end; ``nan`` ends with fewer than two values, which say
        nothing about others.
    """
    known = np.array([value for value in values if not pd.isna(value)], dtype=float)
    if len(known) < 2:
        return Interval(known.item() if len(known) else math.nan, math.nan, math.nan)
    interval = bootstrap(
        (known,), np.mean, confidence_level=confidence, n_resamples=2000, method="percentile", rng=seed
    ).confidence_interval
    return Interval(known.mean().item(), float(interval.low), float(interval.high))


def nested_mean_interval(
    tables: Iterable[np.ndarray | Sequence[Sequence[float]]], confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Mean over seeds of their agents' means, with the percentile interval of a bootstrap of two levels.

    First seeds are drawn with replacement; then, within every seed that was drawn, the agents of both sides, each side
    apart, with replacement; the mean is over all meetings of those that were drawn (crossed agents, as in Owen 2007,
    Ann. Appl. Stat. 1, 386). Where not all of a seed met (agents that trained together do not meet themselves), the
    first side's agents are drawn, each with all its meetings. Neither scipy's bootstrap nor rliable's stratified one
    draws within what it has drawn. With one meeting for each seed it is :func:`mean_interval`.

    Args:
        tables (iterable of ndarray): one for each seed, ``[A, B]`` by the agents of both sides; ``nan`` where two did
            not meet or nothing is known. Agents and seeds of which nothing is known do not count.
        confidence (float): of the interval.
        seed (int): of the resampling.

    Returns:
        Interval: mean, lower and upper end; ``nan`` ends with fewer than two seeds, whose agents learned together and
        say nothing about others.
    """
    known = []
    for table in tables:
        table = np.asarray(table, dtype=float)
        met = ~np.isnan(table)
        if met.any():
            known.append(table[met.any(1)][:, met.any(0)])
    means = [np.nanmean(table).item() for table in known]
    if len(known) < 2 or all(table.size == 1 for table in known):
        return mean_interval(means, confidence, seed)
    n = len(known)
    rng = np.random.default_rng(seed)
    # What each seed would come to in each of the n places for which seeds are drawn
    inner = np.stack([_resampled_means(table, n, 2 * index, seed) for index, table in enumerate(known)])
    drawn = rng.integers(n, size=(1, n, RESAMPLES))
    resampled = np.take_along_axis(inner, drawn, 0)[0].mean(0)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Interval(float(np.mean(means)), float(low), float(high))


def _resampled_means(table: np.ndarray, places: int, stream: int, seed: int) -> np.ndarray:
    """Means ``[places, RESAMPLES]`` of a seed's meetings ``[A, B]`` whose agents are drawn with replacement."""
    met = ~np.isnan(table)
    rows = _times_drawn(table.shape[0], places, stream, seed)
    if met.all():
        columns = _times_drawn(table.shape[1], places, stream + 1, seed)
        return np.einsum("pra,ab,prb->pr", rows, table, columns) / table.size
    return (rows @ np.nansum(table, 1)) / (rows @ met.sum(1))


# The same for every cell of a table
@lru_cache(maxsize=256)
def _times_drawn(n: int, places: int, stream: int, seed: int) -> np.ndarray:
    """How often each of ``n`` is drawn in ``n`` draws with replacement, ``[places, RESAMPLES, n]``."""
    rng = np.random.default_rng([seed, stream])
    return rng.multinomial(n, [1 / n] * n, size=(places, RESAMPLES)).astype(float)


def show(mean: float, low: float, high: float, digits: int = 2) -> str:
    """``mean [low, high]``, the mean alone where there is no interval, and a dash where there is nothing."""
    if math.isnan(mean):
        return "-"
    # No minus before a zero.
    mean, low, high = (value if math.isnan(value) else round(value, digits) + 0.0 for value in (mean, low, high))
    return f"{mean:.{digits}f}" + ("" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


def trimmed_mean(scores: np.ndarray) -> float:
    """The mean of the middle half of all scores: ``rliable.metrics.aggregate_iqm`` without the checks that scipy makes
    in every call, which would take most of a report's time.
    """
    flat = scores.ravel()
    cut = len(flat) // 4
    return float(np.partition(flat, (cut, len(flat) - cut - 1))[cut : len(flat) - cut].mean())


def share_of_wins(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pairs of runs that ``one`` wins, draws by half, averaged over tasks: likewise
    ``rliable.metrics.probability_of_improvement``.

    Args:
        one (ndarray): ``[seeds, tasks]``.
        other (ndarray): ``[other seeds, tasks]``.
    """
    pairs = one[:, None] - other
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean((0, 1)).mean())


@contextmanager
def _repeatable() -> Iterator[None]:
    # rliable draws from numpy's global generator.
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def interquartile_mean(scores: np.ndarray) -> Interval:
    """Interquartile mean over seeds and tasks.

    Args:
        scores (ndarray): ``[seeds, tasks]``.
    """
    scores = np.ascontiguousarray(scores, dtype=float)
    return _interquartile_mean(scores.tobytes(), scores.shape)


# A report shows many a number in several places.
@lru_cache(maxsize=4096)
def _interquartile_mean(content: bytes, shape: tuple[int, ...]) -> Interval:
    scores = np.frombuffer(content).reshape(shape)
    if len(scores) < 2:
        return Interval(trimmed_mean(scores) if scores.size else math.nan, math.nan, math.nan)
    with _repeatable():
        point, ends = library.get_interval_estimates(
            {"": scores}, lambda x: np.array([trimmed_mean(x)]), reps=RESAMPLES
        )
    return Interval(float(point[""][0]), float(ends[""][0, 0]), float(ends[""][1, 0]))


def difference(one: np.ndarray, other: np.ndarray) -> Interval:
    """By how much the interquartile mean of one population is above that of another.

    The interval is a bootstrap's, seeds resampled apart, and at least as wide as that of Yuen's test for trimmed means
    (Welch's with fewer than four seeds): a bootstrap of three seeds is far too narrow.

    Args:
        one (ndarray): scores ``[seeds]``.
        other (ndarray): scores ``[other seeds]``.

    Returns:
        Interval: of the difference; ``nan`` ends if either has fewer than two seeds.
    """
    point = trimmed_mean(one) - trimmed_mean(other)
    if min(len(one), len(other)) < 2:
        return Interval(point, math.nan, math.nan)
    rng = np.random.default_rng(0)
    resampled = [rng.choice(scores, (RESAMPLES, len(scores))) for scores in (one, other)]
    ends = np.percentile(np.subtract(*(trim_mean(scores, 0.25, axis=1) for scores in resampled)), [2.5, 97.5])
    with warnings.catch_warnings():
        # Of seeds that all came to the same
        warnings.simplefilter("ignore", RuntimeWarning)
        wider = ttest_ind(one, other, equal_var=False, trim=0.25).confidence_interval()
    return Interval(point, float(np.fmin(ends[0], wider.low)), float(np.fmax(ends[1], wider.high)))


def within_noise_of_the_best(scores: Mapping[str, np.ndarray]) -> list[str]:
    """Who has the highest interquartile mean, and all whose difference from it has an interval that holds zero, to the
    two digits that tables show.

    Args:
        scores (mapping): ``[seeds]`` by population.

    Returns:
        list of str: the best first, the others in the order of their means; empty if one seed alone says nothing of
        noise.
    """
    ranked = sorted(scores, key=lambda name: -trimmed_mean(scores[name]))
    if not ranked or min(map(len, scores.values())) < 2:
        return []
    best = scores[ranked[0]]
    return [name for name in ranked if name == ranked[0] or round(difference(best, scores[name]).low, 2) <= 0]


def interquartile_means_over_time(scores: np.ndarray) -> np.ndarray:
    """Interquartile mean over seeds, and tasks where there are several, at every time.

    Args:
        scores (ndarray): ``[seeds, times]`` or ``[seeds, tasks, times]``; seeds are resampled for each task apart.

    Returns:
        ndarray: ``[times, 3]``: estimate, lower and upper end.
    """
    if len(scores) < 2:
        means = trim_mean(scores.reshape(-1, scores.shape[-1]), proportiontocut=0.25, axis=0)
        return np.stack([means, *2 * [np.full(scores.shape[-1], math.nan)]], axis=-1)
    by_time = scores[:, None, :] if scores.ndim == 2 else scores
    with _repeatable():
        point, ends = library.get_interval_estimates(
            {"": by_time},
            # As rliable's interquartile mean, at all times in one go
            lambda x: trim_mean(x.reshape(-1, x.shape[-1]), proportiontocut=0.25, axis=0),
            # Of a few runs at two or three levels the ends jump from one to the next unless they are drawn often.
            reps=RESAMPLES // 10 if scores.ndim == 2 else RESAMPLES,
        )
    return np.stack([point[""], *ends[""]], axis=-1)


def probability_of_improvement(better: np.ndarray, worse: np.ndarray) -> Interval:
    """Probability, averaged over tasks, that a run of one population scores higher than one of another.

    Args:
        better (ndarray): ``[seeds, tasks]``.
        worse (ndarray): ``[other seeds, tasks]``.
    """
    if min(len(better), len(worse)) < 2:
        return Interval(share_of_wins(better, worse), math.nan, math.nan)
    with _repeatable():
        point, ends = library.get_interval_estimates(
            {"": (better, worse)},
            lambda x, y: np.array([share_of_wins(x, y)]),
            reps=RESAMPLES // 4,
        )
    return Interval(float(point[""][0]), float(ends[""][0, 0]), float(ends[""][1, 0]))


def stands_from(times: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, threshold: float) -> float:
    """When a curve first reaches a threshold for good: it is never below it again.

    Args:
        times (sequence of float): ``[T]``, rising.
        values (sequence of float): ``[T]``; those that are ``nan`` do not count.
        threshold (float): that is to be reached.

    Returns:
        float: the first such time, ``nan`` if the last value is below the threshold or there is none.
    """
    known = ~np.isnan(values)
    times, values = np.asarray(times, float)[known], np.asarray(values, float)[known]
    below = np.flatnonzero(values < threshold)
    first = below[-1] + 1 if len(below) else 0
    return float(times[first]) if first < len(times) else math.nan


def area_under_curve(times: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray) -> float:
    """Area under a curve by trapezoids, per time that it spans: its mean over that time, in the unit of its values.

    Args:
        times (sequence of float): ``[T]``, rising.
        values (sequence of float): ``[T]``; those that are ``nan`` do not count.

    Returns:
        float: ``nan`` if nothing is known.
    """
    known = ~np.isnan(values)
    times, values = np.asarray(times, float)[known], np.asarray(values, float)[known]
    if len(times) < 2:
        return float(values[0]) if len(values) else math.nan
    return float(trapezoid(values, times) / (times[-1] - times[0]))


def median_with_never(values: Iterable[float]) -> float:
    """The median of times of which ``nan`` is later than all others: infinite where it is such a one, or the mean of
    two of which one is.

    Args:
        values (iterable of float): at least one.
    """
    return float(np.median([math.inf if math.isnan(value) else value for value in values]))


def performance_profiles(
    scores: Mapping[str, np.ndarray], thresholds: Sequence[float] | np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Share of runs that score above each threshold.

    Args:
        scores (mapping): ``[seeds, tasks]`` by population.
        thresholds (sequence of float): ``K``.

    Returns:
        dict: by population the shares ``[K]`` and their interval's ends ``[2, K]``, ``nan`` with one seed.
    """
    profiles = {}
    for name, runs in scores.items():
        if len(runs) < 2:
            shares = np.array([(runs > threshold).mean() for threshold in thresholds])
            profiles[name] = (shares, np.full((2, len(thresholds)), math.nan))
            continue
        with _repeatable():
            shares, ends = library.create_performance_profile({name: runs}, np.array(thresholds), reps=RESAMPLES // 4)
        profiles[name] = (shares[name], ends[name])
    return profiles
