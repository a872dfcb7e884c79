"""Compare two results of the same suite: what changed beyond noise?

    benchmarl-reciprocator compare benchmark_quick_before benchmark_quick
    benchmarl-reciprocator compare before after --output comparison --confidence 0.99
    benchmarl-reciprocator compare before after --exact

For changes that affect results: run the suite before and after, and compare. Runs are matched by task, population and
seed. Return and cooperation at the end of training are compared by their means over seeds, with an interval of the
difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from benchmarl_reciprocator.commands.arguments import FAILED, FINE, add_output, command_parser, run_command
from benchmarl_reciprocator.evaluation.comparison import (
    CHANGED,
    CONFIDENCE,
    UNDECIDED,
    WITHIN,
    Comparison,
    Difference,
    compare,
)
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.result_files import Results, read_results
from benchmarl_reciprocator.evaluation.sections import (
    Block,
    Bullets,
    Cell,
    Measured,
    Paragraph,
    Section,
    Table,
    literal,
    write_sections,
)

READS = """
old, new: two folders of results, of the command benchmark or of BenchMARL's own (experiment.create_json)
Results of different versions of a task are refused, with the reason.
"""
WRITES = """
<output>/compare.md: the table that is printed, with runs that are on one side only and what else differs
<output>/compare.csv: its numbers; section.json: the same for the command report; setting.json: what was run
exit code 0: nothing changed beyond noise. 1: something did, or a task's version did. 2: there was nothing to compare
with --exact, 0: both have the same runs, with the same evaluations to the last digit. 1: they do not
"""
NAME = "compare"


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, compare, print and write the comparison."""
    parser = command_parser(NAME, __doc__, READS, WRITES)
    parser.add_argument("old", type=Path, help="results before the change")
    parser.add_argument("new", type=Path, help="results after it")
    parser.add_argument(
        "--confidence", type=float, default=CONFIDENCE, help=f"of the intervals (default: {CONFIDENCE})"
    )
    parser.add_argument("--exact", action="store_true", help="anything that is not identical is a change")
    add_output(parser, "compare")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    if not 0.5 <= arguments.confidence < 1:
        raise ValueError(f"--confidence must be a number from 0.5 to below 1, but is {arguments.confidence}")
    results = []
    for side in ("old", "new"):
        folder = getattr(arguments, side)
        if not folder.is_dir():
            raise ValueError(f"{side} must be a folder of results, but is {str(folder)!r}")
        results.append(read_results(folder))
    old, new = results
    comparison = compare(old, new, arguments.confidence)
    folder = arguments.output or Path(NAME)
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame([_flat(one) for one in comparison.differences])
    table.to_csv(folder / f"{NAME}.csv", index=False, float_format="%.6g")
    names = (str(arguments.old), str(arguments.new))
    text = write_sections(sections(comparison, old, new, names, arguments.confidence), folder, NAME)
    add_setting(folder / "setting.json", f"benchmarl-reciprocator {NAME}")
    sys.stdout.write(f"\n{text}\nEverything is in {folder}/\n")
    if arguments.exact:
        return FINE if comparison.all_identical else FAILED
    return FAILED if comparison.changed or comparison.refused else FINE


def sections(
    comparison: Comparison, old: Results, new: Results, names: tuple[str, str], confidence: float
) -> list[Section]:
    """The comparison as a document.

    Args:
        comparison (Comparison): of ``old`` and ``new``.
        old (Results): the old results.
        new (Results): the new results.
        names (tuple of str): what the old and the new results are called.
        confidence (float): of the intervals.
    """
    head: list[Block] = [
        Paragraph(f"Old: `{names[0]}`. New: `{names[1]}`."),
        Paragraph(in_words(comparison), lead=True),
        table(comparison.differences),
        Paragraph(_how(comparison, confidence)),
    ]
    found = [Section("Old results against new ones", head, level=1)]
    lists = {
        "Not compared": comparison.refused,
        "Identical to the last digit": _by_population(comparison.identical),
        "Only in the old results": _by_population(comparison.only_old),
        "Only in the new results": _by_population(comparison.only_new),
        "What else is not the same": [*comparison.notes, *_provenance(old.runs, new.runs)],
        "Files that could not be read": [*map(literal, (*old.skipped, *new.skipped))],
    }
    return [
        *found,
        *(Section(title, [Bullets(entries)]) for title, entries in lists.items() if entries),
    ]


def in_words(comparison: Comparison) -> str:
    """The result in a sentence or two."""
    runs = len(comparison.identical) + len(comparison.differing)
    if runs and not comparison.differing:
        text = f"All {runs} runs that both have are identical to the last digit."
    elif comparison.changed:
        found = "; ".join(
            f"{literal(one.population)} on {literal(one.task)}, {one.label} {one.difference.estimate:+.2f}"
            for one in comparison.changed
        )
        text = f"**{len(comparison.changed)} of {len(comparison.differences)} differences are beyond noise**: {found}."
    else:
        text = f"Nothing changed beyond noise: {len(comparison.differences)} differences were looked at."
    if comparison.identical and comparison.differing:
        text += f" {len(comparison.identical)} of the {runs} runs that both have are identical to the last digit."
    undecided = [one for one in comparison.differences if one.verdict == UNDECIDED]
    if undecided:
        text += f" {len(undecided)} differences are of one seed, which cannot tell a change from noise."
    lacking = len(comparison.only_old) + len(comparison.only_new)
    if lacking:
        text += f" {lacking} runs are on one side only."
    if comparison.refused:
        text += f" {len(comparison.refused)} tasks were not compared, since their versions differ."
    return text


def table(differences: Sequence[Difference]) -> Table:
    """A row for each difference, those beyond noise marked."""
    rows: list[list[Cell]] = [
        [
            literal(f"{one.task}, {one.population}"),
            one.label,
            Measured(one.old),
            Measured(one.new),
            Measured(*one.difference),
            str(one.new_seeds) if one.paired else f"{one.old_seeds} and {one.new_seeds}, not paired",
            one.verdict,
        ]
        for one in differences
    ]
    marked = [index for index, one in enumerate(differences) if one.verdict == CHANGED]
    return Table(["task, population", "measure", "old", "new", "new less old", "seeds", "verdict"], rows, marked)


def _how(comparison: Comparison, confidence: float) -> str:
    judged = sum(1 for one in comparison.differences if one.verdict in (CHANGED, WITHIN))
    text = (
        "Means over seeds of the last fifth of training. The difference has a "
        f"{confidence:.0%} interval over seeds, bootstrapped and at least as wide as Student's; where the old and the "
        "new results have two or more seeds in common, only those count, each against itself. *changed*: the interval "
        "does not hold zero."
    )
    if judged > 1:
        chance = judged * (1 - confidence)
        text += (
            f" Of {judged} such intervals about {chance:.1f} fail to hold zero by chance where nothing has changed: a "
            "single one that does so narrowly is to be looked at again with more seeds."
        )
    return text


def _by_population(runs: Iterable[tuple[str, str, int]]) -> list[str]:
    """A line for each population on each task, with its seeds."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for task, population, seed in runs:
        seeds.setdefault((task, population), []).append(seed)
    return [
        f"{literal(f'{task}, {population}')}: seed{'s' * (len(found) > 1)} {', '.join(map(str, sorted(found)))}"
        for (task, population), found in seeds.items()
    ]


def _provenance(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Commit, machine, Python and versions, where they are not the same on both sides."""
    lines = []
    for column, name in (("commit", "git commit"), ("machine", "machine"), ("python", "Python")):
        sides = [sorted(set(runs[column].dropna())) if column in runs else [] for runs in (old, new)]
        if sides[0] != sides[1]:
            lines.append(f"{name}: {_or_unknown(sides[0])} before, {_or_unknown(sides[1])} now")
    sides = [
        sorted(
            {
                f"{package} {version}"
                for row in runs.get("versions", pd.Series(dtype=object)).dropna()
                for package, version in row.items()
            }
        )
        for runs in (old, new)
    ]
    gone, came = ([entry for entry in one if entry not in other] for one, other in (sides, sides[::-1]))
    if gone or came:
        lines.append(f"packages: {_or_unknown(gone)} before, {_or_unknown(came)} now")
    return lines


def _or_unknown(found: Sequence[str]) -> str:
    return ", ".join(found) or "not told"


def _flat(one: Difference) -> dict[str, object]:
    interval = {"difference": one.difference.estimate, "low": one.difference.low, "high": one.difference.high}
    plain = ("task", "population", "measure", "old", "new")
    rest = ("old_seeds", "new_seeds", "paired", "verdict")
    return {key: getattr(one, key) for key in plain} | interval | {key: getattr(one, key) for key in rest}
