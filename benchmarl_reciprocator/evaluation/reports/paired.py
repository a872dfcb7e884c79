"""The own method against every other population, seed by seed."""

from __future__ import annotations

import math

from benchmarl_reciprocator.evaluation.paired_tests import holm, paired_test
from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults
from benchmarl_reciprocator.evaluation.sections import Cell, Measured, Paragraph, Section, Table


def paired_sections(ordered: OrderedResults) -> list[Section]:
    """Differences in return from the first population to each other one, on every task; nothing where there are none.

    P-values are corrected for all comparisons of the table.
    """
    tests = []
    for task in ordered.tasks:
        runs = ordered.final[ordered.final["task"] == task]
        scores = {
            name: dict(zip(rows["seed"], rows["score"])) for name, rows in runs.groupby("population") if len(rows)
        }
        first = next((name for name in ordered.populations if name in scores), None)
        for name in ordered.populations:
            if first is not None and name in scores and name != first:
                tests.append((task, first, name, paired_test(scores[first], scores[name])))
    tests = [test for test in tests if test[3].seeds >= 2]
    if not tests:
        return []
    corrected = holm([test.p for *_, test in tests])
    rows: list[list[Cell]] = [
        [
            ordered.title(task),
            ordered.named(one),
            ordered.named(other),
            Measured(*test.difference),
            _shown(p),
            str(test.seeds),
        ]
        for (task, one, other, test), p in zip(tests, corrected)
    ]
    text = (
        "Return at the end of training of one population less another's, seed by seed: mean with Student's 95% "
        f"interval, and the p-value of the paired t-test, corrected for all {len(tests)} comparisons (Holm). Few seeds "
        "find large differences only."
    )
    head = ["task", "population", "against", "difference in return", "p (Holm)", "seeds"]
    return [Section("Paired differences", [Paragraph(text), Table(head, rows, name="paired")])]


def _shown(p: float) -> str:
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
