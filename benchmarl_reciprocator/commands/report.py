"""A report from result files alone: tables, statistics and figures in one folder.

    benchmarl-reciprocator report benchmark_quick
    benchmarl-reciprocator report results --output published

Made from the files alone, of a suite or of BenchMARL's own commands (``benchmarl.run -m ...``).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import add_output, command_parser, run_command
from benchmarl_reciprocator.evaluation.reports.report import write_report

READS = """
folder: results of a suite or of BenchMARL's own commands, at any depth
Beside a suite's runs/, what crossplay, exploitability, tournament and compare left (section.json) is shown too.
"""
WRITES = """
<output>/report.html: one page with all of it, which needs no network; report.md: the same as markdown
<output>/*.csv, *.tex: every table; *.png, *.pdf: every figure
<output>/runs.csv, final.csv, evaluations.csv.gz, diagnostics.csv.gz, configs/: the data behind them
The head of the report and the tables of final scores are printed.
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, write the report and print its first tables."""
    parser = command_parser("report", __doc__, READS, WRITES)
    parser.add_argument("folder", type=Path, help="results of a suite or of BenchMARL's own commands")
    add_output(parser, "<folder>/report")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> None:
    """Write the report, print its first tables."""
    if not arguments.folder.is_dir():
        raise ValueError(f"folder must be a folder of results, but is {str(arguments.folder)!r}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        text = write_report(arguments.folder, arguments.output)
    output = arguments.output or arguments.folder / "report"
    sys.stdout.write(f"{text}\nThe report is {output}/report.html\n")
