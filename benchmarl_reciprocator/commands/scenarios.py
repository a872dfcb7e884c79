"""Scenarios: trained populations among held-out others, as visitors and as residents, normalised by scripted players.

    benchmarl-reciprocator scenarios                                          # lists the scenarios
    benchmarl-reciprocator scenarios benchmark_coins
    benchmarl-reciprocator scenarios benchmark_league suite=coins --only 'coins_*'
    benchmarl-reciprocator scenarios --reference conf/scenario/reference --only my_scenario

A scenario is a yaml file, conf/scenario/<name>.yaml: a game, how many seats are focal, and who sits in the others.
Every meeting is on disk as soon as it is played; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarl_reciprocator.commands.arguments import (
    add_agents,
    add_device,
    add_output,
    command_parser,
    run_command,
    show_meetings,
    split_inputs,
)
from benchmarl_reciprocator.evaluation.scenarios.reference import write_reference
from benchmarl_reciprocator.evaluation.scenarios.scenario import find_scenarios
from benchmarl_reciprocator.evaluation.scenarios.scenarios import scenarios
from benchmarl_reciprocator.extensions import read_mapping, yaml_files
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.options import check_option, one_of

READS = """
checkpoints, or folders that hold them: of a suite, of BenchMARL's commands or of single experiments
suite=<name>: only the populations and tasks of that suite
conf/scenario/<name>.yaml and conf/scenario/reference/<name>.yaml, of this and of other installed packages
"""
WRITES = """
exit code 1: a meeting could not take place; the report names it, and the same command tries it again
<output>/scenarios.md: normalised returns, the worst case over scenarios, returns beside the reference; printed too
<output>/overall.csv, scenarios.csv, agents.csv and a heat map for each game: what it stands on
<output>/records/: a record of every meeting; section.json: the same for the command report
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, play, write and print."""
    parser = command_parser("scenarios", __doc__, READS, WRITES)
    parser.add_argument(
        "inputs", nargs="*", metavar="input", help="checkpoints, folders that hold checkpoints, and suite=<name>"
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="names of scenarios, or patterns of them (default: all)"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="play the reference sets of the scenarios, and write them into this folder",
    )
    add_agents(parser)
    add_output(parser, "<folder>/scenarios")
    add_device(parser, "where agents play")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int | None:
    """List scenarios, write their references, or play and print; returns the exit code."""
    register()
    places, overrides = split_inputs(arguments.inputs, ["suite"])
    if arguments.reference is not None:
        for scenario in find_scenarios(arguments.only):
            scenario.check()
            sys.stdout.write(f"{write_reference(scenario, arguments.reference)}\n")
        return None
    if not places:
        for scenario in find_scenarios(arguments.only):
            background = ", ".join(map(str, scenario.background))
            focal = f"{scenario.role}, {scenario.focal} focal"
            sys.stdout.write(f"{scenario.name:42} {scenario.task:18} {focal:18} {background}\n")
        return None
    suite = suite_of(overrides)
    return show_meetings(
        *scenarios(places, arguments.only, suite, arguments.output, arguments.agents, arguments.device)
    )


def suite_of(overrides: Sequence[str]) -> dict[str, Any] | None:
    """The suite that was named last; ``None`` where none was.

    Raises:
        ValueError: if there is no such suite.
    """
    if not overrides:
        return None
    files, name = yaml_files("suite"), overrides[-1].partition("=")[2]
    check_option("suite", name, name in files, one_of(files))
    return read_mapping(files[name])
