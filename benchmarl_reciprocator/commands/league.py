"""The league of a suite: cross-play of all its tasks in one table each, beside published figures and set bars.

    benchmarl-reciprocator benchmark suite=league
    benchmarl-reciprocator league benchmark_league
    benchmarl-reciprocator league benchmark_league --episodes 400 --against greedy tit_for_tat
    benchmarl-reciprocator league benchmark_league --populations Reciprocator IPPO 'Advantage*'

What crossplay, exploitability and tournament left beside the suite's runs is used. Every pairing is on disk as soon as
it is played; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import (
    add_agents,
    add_device,
    add_episodes,
    command_parser,
    run_command,
    show_meetings,
)
from benchmarl_reciprocator.evaluation.league.league import league
from benchmarl_reciprocator.evaluation.reports.report import write_report

READS = """
folder: of a suite (command benchmark), whose finished runs have checkpoints
<folder>/exploitability/<task>, <folder>/tournament/<task>: what those commands left, if they did (their --output)
"""
WRITES = """
exit code 1: a meeting could not take place; the report names it, and the same command tries it again
<folder>/league/league.md: a table for each task, who comes to what with whom, and what is to be reached; printed too
<folder>/league/league.csv: its numbers; section.json: the same for the command report
<folder>/crossplay/<task>/: the cross-play of each task, see the command crossplay
<folder>/report/: the report on the suite, with all of it
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, play, write and print."""
    parser = command_parser("league", __doc__, READS, WRITES)
    parser.add_argument("folder", type=Path, help="results of a suite")
    parser.add_argument(
        "--against",
        nargs="*",
        default=None,
        metavar="PLAYER",
        help="scripted players (default: the usual of each task)",
    )
    parser.add_argument(
        "--populations",
        nargs="+",
        default=None,
        metavar="NAME",
        help="those that take part, by name or pattern (default: all)",
    )
    add_episodes(parser, "of each pairing")
    add_agents(parser)
    add_device(parser, "where agents play")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Play what is missing, write the league and the report, print; returns the exit code."""
    measured = league(
        arguments.folder,
        arguments.against,
        arguments.episodes,
        arguments.agents,
        arguments.device,
        arguments.populations,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        write_report(arguments.folder)
    code = show_meetings(*measured)
    sys.stdout.write(f"The report is {arguments.folder}/report/report.html\n")
    return code
