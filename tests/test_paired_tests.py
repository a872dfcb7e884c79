"""Paired tests over seeds, and the correction for their number."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from test_report import add_run

from benchmarl_reciprocator.evaluation.paired_tests import holm, paired_test
from benchmarl_reciprocator.evaluation.reports.report import write_report


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


def test_a_report_compares_its_own_method_with_all_others(tmp_path: Path) -> None:
    for seed, (ours, ippo) in enumerate(((1.0, 0.0), (4.0, 2.0), (7.0, 4.0))):
        add_run(tmp_path, "Ours", seed, ("reciprocator", "reciprocator"), ours)
        add_run(tmp_path, "IPPO", seed, ("ippo", "ippo"), ippo)
        add_run(tmp_path, "Q", seed, ("qmix", "qmix"), ours)
    write_report(tmp_path)
    with (tmp_path / "report" / "paired.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["population"], row["against"], row["seeds"]) for row in rows] == [
        ("Ours", "IPPO", "3"),
        ("Ours", "Q †", "3"),
    ]
    # The first p-value counts twice, since there are two.
    assert [row["p (Holm)"] for row in rows] == ["0.148", "1.000"]
    assert rows[0]["difference in return"] == "2.00 [-0.48, 4.48]"
    assert "corrected for all 2 comparisons (Holm)" in (tmp_path / "report" / "report.md").read_text()
