"""Means over seeds, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its percentile bootstrap interval.

    Args:
        values (sequence of float): one for each seed; those that are ``nan`` or ``None`` do not count.
        confidence (float): of the interval.
        seed (int): of the resampling.

    Returns:
        tuple[float, float, float]: mean, lower and upper end; ``nan`` ends with fewer than two values, which say
        nothing about others.
    """
    values = np.array([value for value in values if not pd.isna(value)], dtype=float)
    if len(values) < 2:
        return (values.item() if len(values) else math.nan), math.nan, math.nan
    interval = bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=2000, method="percentile", rng=seed
    ).confidence_interval
    return values.mean().item(), float(interval.low), float(interval.high)


def show(mean: float, low: float, high: float, digits: int = 2) -> str:
    """``mean [low, high]``, the mean alone where there is no interval, and a dash where there is nothing."""
    if math.isnan(mean):
        return "-"
    # No minus before a zero.
    mean, low, high = (value if math.isnan(value) else round(value, digits) + 0.0 for value in (mean, low, high))
    return f"{mean:.{digits}f}" + ("" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
