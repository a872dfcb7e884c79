"""A tournament of trained policies with the strategies of the Axelrod library (extra ``axelrod``).

    benchmarl-reciprocator tournament benchmark_quick task=social_dilemmas/prisoners_dilemma
    benchmarl-reciprocator tournament <checkpoints or folders> --strategies basic --turns 200

For matrix games of two players with two actions. Every trained agent plays a round robin with the library's strategies,
one at a time: agents of other seeds and populations do not change its rank. What was played is on disk; the same
command goes on with what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarl_reciprocator.commands.arguments import (
    add_agents,
    add_device,
    add_inputs,
    add_integer,
    add_output,
    command_parser,
    run_command,
    show_meetings,
)
from benchmarl_reciprocator.evaluation.tournament.tournament import STRATEGIES, tournament

READS = """
checkpoints, or folders that hold them: of a suite, of BenchMARL's commands or of single experiments
task=social_dilemmas/<name>: which game, where the checkpoints are of several; task.<option>=<value>: played otherwise
"""
WRITES = """
<output>/tournament.md: rank, score and cooperation rate of every population, and all players; it is printed too
<output>/ranking.csv: what it stands on; records/: all matches; section.json: the same for the command report
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, play and report."""
    parser = command_parser("tournament", __doc__, READS, WRITES)
    add_inputs(parser)
    parser.add_argument(
        "--strategies", default="first", help=f"of the library: {', '.join(STRATEGIES)} (default: first)"
    )
    add_integer(parser, "--turns", None, "of a match (default: the task's max_steps)")
    add_integer(parser, "--repetitions", 10, "of every match")
    add_agents(parser)
    add_output(parser, "tournament/<task>")
    add_device(parser, "where the trained agents play")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Play what is missing, write and print; returns the exit code."""
    measured = tournament(
        arguments.places,
        arguments.overrides,
        arguments.strategies,
        arguments.turns,
        arguments.repetitions,
        arguments.output,
        arguments.agents,
        arguments.device,
    )
    return show_meetings(*measured)
