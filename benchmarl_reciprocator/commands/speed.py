"""Measure the Reciprocator's iterations, memory and import against IPPO's and BenchMARL's own.

    benchmarl-reciprocator speed --output speed.json
    benchmarl-reciprocator speed --against examples/results/speed/ratios.json --only coins_lenient
    benchmarl-reciprocator speed --only public_goods coins_many --agents 3 10 --output agents.json

CPU time of one thread. Iterations of both algorithms take turns in one process, so that other work on the machine slows
down both alike; only ratios are compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import (
    FAILED,
    FINE,
    add_integer,
    add_number_above_zero,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.evaluation.provenance import setting
from benchmarl_reciprocator.evaluation.records import write_json
from benchmarl_reciprocator.suites.speed import import_rows, iteration_rows, memory_rows, read_rows, worse

# With one policy in both seats, where IPPO has one for each; with one for each, like with like; with recurrent ones
PRESETS = ("coins", "coins_lenient", "coins_gru")
BLOCKS = (*PRESETS, "memory", "import")
# With any number of agents
MANY = ("public_goods", "coins_many")

READS = """
FILE: an earlier speed.json, whose ratios are compared with
"""
WRITES = """
<output>: what was measured, with command, hardware and versions; a table is printed too
exit code 1 with --against: a ratio is greater than it was by more than the tolerance
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, measure, compare and report."""
    parser = command_parser("speed", __doc__, READS, WRITES)
    parser.add_argument("--output", type=Path, default=Path("speed.json"), metavar="FILE", help="default: speed.json")
    parser.add_argument("--against", type=Path, default=None, metavar="FILE", help="an earlier speed.json")
    add_number_above_zero(parser, "--tolerance", 0.1, "by how much a ratio may be greater than there")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*BLOCKS, *MANY),
        default=BLOCKS,
        metavar="WHAT",
        help=f"of {', '.join((*BLOCKS, *MANY))}; default: {', '.join(BLOCKS)}",
    )
    parser.add_argument(
        "--agents", nargs="+", type=int, default=None, metavar="N", help="numbers of agents; default: the preset's"
    )
    add_integer(parser, "--iterations", 12, "of each algorithm, by preset")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Measure, write, print and compare; returns the exit code."""
    before = [] if arguments.against is None else read_rows(arguments.against)
    command = " ".join(["benchmarl-reciprocator speed", *sys.argv[2:]])
    rows = []
    for block in arguments.only:
        for n_agents in [None] if block == "import" else arguments.agents or [None]:
            overrides = [] if n_agents is None else [f"task.n_agents={n_agents}"]
            if block == "import":
                measured = import_rows()
            elif block == "memory":
                measured = memory_rows(further=overrides)
            else:
                measured = iteration_rows(block, arguments.iterations, overrides)
            told = "" if n_agents is None else f", {n_agents} agents"
            rows += [{**row, "what": f"{row['what']}{told}"} for row in measured]
            # A block at a time: what was measured stays if a later one fails.
            write_json(arguments.output, {"command": command, **setting(), "rows": rows})
    for row in rows:
        size = f"{row['MiB']:,.0f} MiB" if "MiB" in row else f"{row['seconds']:.3f} s"
        sys.stdout.write(f"{row['what']:50} {size:>10} {row['ratio']:6.3f}\n")
    slower = worse(rows, before, arguments.tolerance)
    for line in slower:
        sys.stdout.write(f"worse: {line}\n")
    return FAILED if slower else FINE
