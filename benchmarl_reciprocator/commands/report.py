"""A report from result files alone: tables, statistics and figures in one folder.

    benchmarl-reciprocator report <folder>

The folder is a suite's, or any that BenchMARL's own commands filled (``benchmarl.run -m ...``). The report is written
to ``<folder>/report``: ``report.html`` (one file, needs no network), ``report.md``, tables as CSV and LaTeX, figures as
PNG and PDF, and the data behind them. What cross-play, exploitability and tournaments left in the folder is part of it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.evaluation.reports.report import write_report


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, write the report and print its first tables."""
    parser = argparse.ArgumentParser(
        prog="benchmarl-reciprocator report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="results of a suite or of BenchMARL's own commands")
    parser.add_argument("--output", type=Path, default=None, help="where the report goes; default: <folder>/report")
    arguments = parser.parse_args(command_line)
    if not arguments.folder.is_dir():
        parser.error(f"folder must be a folder of results, but is {str(arguments.folder)!r}")
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    sys.stdout.write(write_report(arguments.folder, arguments.output))
    return 0
