"""Train two small populations and show what they learned, in about a minute: start here.

    benchmarl-reciprocator demo
    benchmarl-reciprocator demo --output elsewhere --seed 1

Two populations of two agents play the prisoner's dilemma: Reciprocators, who pay back how others' actions changed their
return, and IPPO, which are self-interested. Run again, the same command shows its results without training anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import (
    FAILED,
    FINE,
    PROGRAM,
    add_device,
    add_integer,
    command_parser,
    overrides_of,
    run_command,
)

READS = "nothing"
WRITES = """
<output>/demo.md: what is printed, in words and as a table
<output>/curve.png: cooperation and return over training
<output>/play.png: one episode of each population, step by step
<output>/runs/: the two experiments with their checkpoints, which the other commands read
"""
SUITE = "demo"
INTRODUCTION = """
The prisoner's dilemma, 32 steps an episode: in every step both agents cooperate or defect. Whoever defects is better
off, whatever the other does. Yet if both defect, both are worse off than if they had cooperated.

Two populations of two agents learn it from scratch:
  Reciprocator  each learns for its own return, and is rewarded for paying back what the other did to that return
  IPPO          independent PPO: each learns for its own return alone

Training both takes about a minute on two cores. The bar shows how often they cooperate.
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, train and show."""
    parser = command_parser("demo", __doc__, READS, WRITES)
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="where everything goes (default: demo)"
    )
    add_integer(parser, "--seed", None, "of the training (default: that of conf/suite/demo.yaml)", least=0)
    add_device(parser, "where agents are trained", default=None, text="default: cpu")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> int:
    """Train what is missing, draw, write and print; returns the exit code."""
    sys.stdout.write(INTRODUCTION + "\n")
    sys.stdout.flush()
    # Loaded after the introduction: it takes some seconds, in which there is something to read.
    from benchmarl_reciprocator.commands.benchmark import need_launcher
    from benchmarl_reciprocator.suites.demonstration import cooperation_so_far, show
    from benchmarl_reciprocator.suites.sweep import run_suite

    need_launcher()
    folder: Path = arguments.output
    seed = [] if arguments.seed is None else [f"suite.seeds=[{arguments.seed}]"]
    overrides = [f"suite={SUITE}", f"folder={folder.resolve()}", *seed, *overrides_of(arguments.device)]
    outcome = run_suite(overrides, describe=cooperation_so_far)
    if outcome.failures:
        sys.stderr.write(
            "\n".join(["These runs have not finished; the same command goes on with them:", *outcome.failures, ""])
        )
        return FAILED
    sys.stdout.write(f"\n{show(folder, outcome.runs)}\n{next_steps(folder)}")
    return FINE


def next_steps(folder: Path) -> str:
    """Commands to try next."""
    steps = {
        f"{PROGRAM} crossplay {folder}": "the two against each other, and against scripted players",
        f"{PROGRAM} report {folder}": f"all that was measured: {folder}/report/report.html",
        f"{PROGRAM} benchmark suite=quick": "five populations, two games, three seeds, and a report",
        "python -m benchmarl.run algorithm=reciprocator +preset=stag_hunt": "a single run of another game",
    }
    width = max(map(len, steps))
    return "\n".join(["Try next:", *(f"  {step:{width}}  # {what}" for step, what in steps.items()), ""])
