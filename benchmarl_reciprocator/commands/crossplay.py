"""Cross-play: every population against every other, against itself and against scripted players.

    benchmarl-reciprocator crossplay benchmark_quick task=social_dilemmas/prisoners_dilemma
    benchmarl-reciprocator crossplay <checkpoints or folders> --against tit_for_tat all_d --output results/crossplay

A population is all checkpoints of one label over seeds, each the newest of its run. Every pairing is on disk as soon as
it is played; the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarl_reciprocator.commands.arguments import (
    add_agents,
    add_device,
    add_episodes,
    add_inputs,
    add_output,
    command_parser,
    run_command,
    show_meetings,
)
from benchmarl_reciprocator.evaluation.crossplay import crossplay

READS = """
checkpoints, or folders that hold them: of a suite, of BenchMARL's commands or of single experiments
task=social_dilemmas/<name>: which game, where the checkpoints are of several; task.<option>=<value>: played otherwise
Checkpoints that were trained on another version of the game than is installed are left out, with the reason.
"""
WRITES = """
exit code 1: a meeting could not take place; the report names it, and the same command tries it again
<output>/crossplay.md: scores and measures of every pairing, every agent's ends, the worst case over co-players,
equilibria of the meta-game; it is printed too
<output>/pairings.csv, matrix.csv, equilibria.json and figures: what it stands on
<output>/pairings/: a record of every pairing; section.json: the same for the command report
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, play and report."""
    parser = command_parser("crossplay", __doc__, READS, WRITES)
    add_inputs(parser)
    parser.add_argument(
        "--against", nargs="*", default=None, metavar="PLAYER", help="scripted players (default: the usual of the task)"
    )
    add_episodes(parser, "of each pairing")
    add_agents(parser)
    add_output(parser, "crossplay/<task>")
    add_device(parser, "where agents play")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Play what is missing, write and print; returns the exit code."""
    played = crossplay(
        arguments.places,
        arguments.overrides,
        arguments.against,
        arguments.episodes,
        arguments.output,
        arguments.agents,
        arguments.device,
    )
    return show_meetings(played.folder, played.text, played.skipped)
