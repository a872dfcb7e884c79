"""Paired tests over seeds, and the correction for their number."""

from __future__ import annotations

import math

import pytest

from benchmarl_reciprocator.evaluation.paired_tests import holm, paired_test


def test_seeds_that_both_have_are_compared() -> None:
    # Differences 1, 2 and 3: mean 2, standard error 1 / sqrt(3), so t = 2 sqrt(3) with 2 degrees of freedom, whose
    # two-sided p-value is 1 - t / sqrt(t^2 + 2), and whose 97.5% point is 4.30265.
    test = paired_test({0: 1.0, 1: 4.0, 2: 7.0, 8: 100.0}, {2: 4.0, 1: 2.0, 0: 0.0, 9: -100.0})
    t = 2 * math.sqrt(3)
    assert test.seeds == 3 and test.difference.estimate == 2
    assert test.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert test.difference.high - 2 == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)


def test_differences_without_spread_and_too_few_seeds() -> None:
    assert paired_test({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p == 1
    assert paired_test({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0})[:2] == ((2, 2, 2), 0)
    single = paired_test({0: 3.0}, {0: 1.0, 1: 2.0})
    assert single.difference.estimate == 2 and math.isnan(single.p) and single.seeds == 1
    assert paired_test({0: 3.0}, {1: 2.0}).seeds == 0


def test_the_correction_is_holms() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    known = holm([math.nan, 0.02])
    assert math.isnan(known[0]) and known[1] == 0.02
    assert holm([]) == []
