"""LOLA, naive learners and an exact Reciprocator on a matrix game: what each pair comes to, by updates, not frames.

    benchmarl-reciprocator lola prisoners_dilemma
    benchmarl-reciprocator lola prisoners_dilemma task.variant=leibo --rules naive lola surrogate --draws 500

Every rule meets every other from the same policies, drawn from a normal distribution of their logits. Values of
memory-one policies are exact, so no frames are used: tables count updates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarl_reciprocator.algorithms.exact.lola import exact_learning, payoffs_of, plays_tit_for_tat
from benchmarl_reciprocator.commands.arguments import (
    add_integer,
    add_number_above_zero,
    add_output,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.commands.task_arguments import add_task, chosen_task
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.sections import Measured, Paragraph, Section, Table, write_sections
from benchmarl_reciprocator.evaluation.statistics import mean_interval
from benchmarl_reciprocator.tasks.matrix.learners import RULES
from benchmarl_reciprocator.tasks.options import check_option

NAME = "lola"
# Of how many updates the mean over learning is
EARLY = 100
TITLES = {
    "end": "after the last update",
    "learning": f"mean of the first {EARLY} updates",
    "tit_for_tat": "share of tit-for-tat",
}
PARTS = ("estimate", "low", "high")
READS = """
nothing but the task's payoffs: a matrix game whose agents have as many actions each; task.<option>=<value>: its options
"""
WRITES = """
<output>/lola.md: rewards per step at the end and over the first updates, and the share that plays tit-for-tat; it is
printed too
<output>/lola.csv: the same in numbers; section.json: the same for the command report
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, learn and report."""
    parser = command_parser(NAME, __doc__, READS, WRITES)
    add_task(parser)
    parser.add_argument(
        "--rules",
        nargs="+",
        default=["naive", "lola"],
        metavar="RULE",
        help=f"of {', '.join(RULES)} (default: the first two)",
    )
    add_integer(parser, "--draws", 100, "of policies to begin with")
    add_integer(parser, "--updates", 200, "of all agents")
    add_number_above_zero(parser, "--gamma", 0.96, "discount, below 1")
    add_number_above_zero(parser, "--lr", 1.0, "size of an update")
    add_number_above_zero(parser, "--eta", 1.0, "size of the others' updates that LOLA anticipates")
    add_number_above_zero(parser, "--reciprocal-weight", 1.0, "of what the exact Reciprocator is paid besides")
    add_integer(parser, "--seed", 0, "of the draws", least=0)
    add_output(parser, f"{NAME}/<task>")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> None:
    """Learn, write and print."""
    task = chosen_task(arguments.task, arguments.options)
    payoffs = payoffs_of(task)
    n_agents = payoffs.shape[-1]
    for rule in arguments.rules:
        check_option("--rules", rule, rule in RULES, f"some of {', '.join(RULES)}")
    check_option("--gamma", arguments.gamma, arguments.gamma < 1, "a number > 0 and < 1")
    # Tit-for-tat is known where one of two actions cooperates.
    has_tit_for_tat = payoffs.shape == (2, 2, 2) and task.options.cooperates_with() == 0
    rows: list[dict[str, Any]] = []
    for first, others in combinations_with_replacement(dict.fromkeys(arguments.rules), 2):
        torch.manual_seed(arguments.seed)
        start = torch.randn(
            arguments.draws, n_agents, payoffs[..., 0].numel() + 1, payoffs.shape[0] - 1, dtype=torch.double
        )
        end, rewards = exact_learning(
            start,
            payoffs,
            arguments.gamma,
            [first, *[others] * (n_agents - 1)],
            updates=arguments.updates,
            lr=arguments.lr,
            eta=arguments.eta,
            reciprocal_weight=arguments.reciprocal_weight,
        )
        answers = plays_tit_for_tat(end) if has_tit_for_tat else None
        for draw in range(arguments.draws):
            for seat, rule in enumerate([first, *[others] * (n_agents - 1)]):
                row = {"pair": f"{first}, {others}", "seat": seat, "rule": rule, "draw": draw}
                row["end"] = rewards[-1, draw, seat].item()
                row["learning"] = rewards[:EARLY, draw, seat].mean().item()
                rows.append(row if answers is None else {**row, "tit_for_tat": float(answers[draw, seat])})
    folder = arguments.output or Path(NAME) / task.name.lower()
    folder.mkdir(parents=True, exist_ok=True)
    by = ["pair", "seat", "rule"]
    ends = []
    for names, draws in pd.DataFrame(rows).groupby(by, sort=False):
        measures = {column: mean_interval(draws[column]) for column in TITLES if column in draws}
        ends.append({**dict(zip(by, names)), **measures})
    summary = [
        {key: value for key, value in row.items() if key in by}
        | {f"{column}_{part}": getattr(row[column], part) for column in row if column in TITLES for part in PARTS}
        for row in ends
    ]
    pd.DataFrame(summary).to_csv(folder / f"{NAME}.csv", index=False, float_format="%.4f")
    text = write_sections(_sections(task.name.lower(), ends, arguments), folder, NAME)
    add_setting(folder / "setting.json", f"benchmarl-reciprocator {NAME}")
    sys.stdout.write(f"\n{text}\nEverything is in {folder}/\n")


def _sections(task: str, ends: list[dict[str, Any]], arguments: argparse.Namespace) -> list[Section]:
    columns = [column for column in TITLES if column in ends[0]]
    rows = [[row["pair"], row["rule"], *(Measured(*row[column]) for column in columns)] for row in ends]
    note = (
        f"Rewards per step, mean [95% interval] over {arguments.draws} draws of both policies; {arguments.updates} "
        f"updates of size {arguments.lr:g}, eta {arguments.eta:g}, gamma {arguments.gamma:g}. No frames are used."
    )
    table = Table(["pair", "who", *(TITLES[column] for column in columns)], rows)
    return [Section(f"Exact learners: {task}", [Paragraph(note), table])]
