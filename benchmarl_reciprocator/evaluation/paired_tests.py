"""Paired comparisons over seeds, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_1samp

from benchmarl_reciprocator.evaluation.statistics import Interval


class PairedTest(NamedTuple):
    """One population against another, seed by seed.

    Args:
        difference (Interval): mean over shared seeds of the first one's score less the other's, with Student's 95%
            interval.
        p (float): of the two-sided paired t-test that it is zero; ``nan`` with fewer than two shared seeds.
        seeds (int): that both have.
    """

    difference: Interval
    p: float
    seeds: int


def paired_test(one: Mapping[int, float], other: Mapping[int, float]) -> PairedTest:
    """Compare two populations by the seeds that both have.

    Args:
        one (mapping): score by seed.
        other (mapping): the same of the other population.
    """
    shared = sorted(set(one) & set(other))
    differences = np.array([one[seed] - other[seed] for seed in shared])
    if len(shared) < 2:
        return PairedTest(
            Interval(differences.item() if shared else math.nan, math.nan, math.nan), math.nan, len(shared)
        )
    mean = float(differences.mean())
    if np.ptp(differences) == 0:
        return PairedTest(Interval(mean, mean, mean), float(mean == 0), len(shared))
    test = ttest_1samp(differences, 0.0)
    interval = test.confidence_interval()
    return PairedTest(Interval(mean, float(interval.low), float(interval.high)), float(test.pvalue), len(shared))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6): the chance that any
    hypothesis among them is rejected wrongly is at most the level.

    Args:
        p_values (sequence of float): those that are ``nan`` do not count, and stay so.

    Returns:
        list of float: in the same order, at most 1.

    Examples:
        >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected
