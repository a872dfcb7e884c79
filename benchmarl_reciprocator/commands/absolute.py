"""Absolute metric: the best policy of every run of a suite, evaluated again over ten times as many episodes.

    benchmarl-reciprocator absolute benchmark_quick
    benchmarl-reciprocator absolute benchmark_coins --episodes 1000 --device cuda

The policy is chosen by the evaluations during training, and judged by others (Gorsane et al. 2022). Every run is on
disk as soon as it is evaluated; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import (
    FAILED,
    FINE,
    add_device,
    add_integer,
    add_output,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.evaluation.reports.absolute import absolute_metric

READS = """
folder: of a suite; the best policy of every run is in its best/, kept since version 0.3
"""
WRITES = """
exit code 1: a run could not be evaluated; the report names it and says why
<output>/absolute.md: the table, which is printed too; absolute_runs.csv: all that was measured of every run
<output>/records/: a record of every run; section.json: the same for the command report, which adds absolute.csv
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, evaluate and print."""
    parser = command_parser("absolute", __doc__, READS, WRITES)
    parser.add_argument("folder", type=Path, help="of a suite")
    text = "episodes of each run, rounded up to whole evaluations (default: ten times as many as in training)"
    add_integer(parser, "--episodes", None, text)
    add_output(parser, "<folder>/absolute")
    add_device(parser, "where it is evaluated")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Evaluate what is missing, write and print; returns the exit code."""
    found = absolute_metric(arguments.folder, arguments.episodes, arguments.output, arguments.device)
    sys.stdout.write(f"\n{found.text}\nEverything is in {found.folder}/\n")
    if not found.skipped:
        return FINE
    lines = [f"{len(found.skipped)} runs have no absolute metric:", *found.skipped]
    sys.stderr.write("\n".join(lines) + "\n")
    return FAILED
