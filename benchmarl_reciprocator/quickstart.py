"""The quick start: five populations on the iterated prisoner's dilemma, a table and learning curves.

    python -m benchmarl_reciprocator.quickstart --help

Every run is an ordinary BenchMARL experiment. Results are on disk as they come; the same command goes on with
what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarl_reciprocator.results import final_rows, interval, markdown, plot_learning_curves
from benchmarl_reciprocator.runs import Job, add_setting, collect, run_missing

STEPS_PER_EPISODE = 32


@dataclass(frozen=True)
class Population:
    """Who plays whom.

    Args:
        name (str): for tables and figures.
        overrides (tuple of str): BenchMARL overrides that make it.
        sides (tuple of str): names of agent 0 and agent 1.
        grouping (str): how agents are grouped, named beside every result.
    """

    name: str
    overrides: tuple[str, ...]
    sides: tuple[str, str]
    grouping: str


POPULATIONS = (
    Population(
        "Reciprocator + Reciprocator",
        ("algorithm=reciprocator",),
        ("Reciprocator 0", "Reciprocator 1"),
        "per_agent",
    ),
    Population(
        "Reciprocator + IPPO",
        ("algorithm=mixed", "algorithm.focal=reciprocator", "algorithm.others=ippo"),
        ("Reciprocator", "IPPO"),
        "per_agent",
    ),
    Population("IPPO + IPPO", ("algorithm=ippo",), ("IPPO 0", "IPPO 1"), "per_agent"),
    Population("MAPPO", ("algorithm=mappo", "algorithm.share_param_critic=False"), ("MAPPO 0", "MAPPO 1"), "one_group"),
    Population("QMIX (group's mean reward)", ("algorithm=qmix",), ("QMIX 0", "QMIX 1"), "one_group"),
)


def main() -> int:
    """Run what is missing, then write and print the table and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarl_reciprocator.quickstart", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("quickstart"), help="where the results go")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds for each population")
    parser.add_argument("--iterations", type=int, default=90, help="iterations of 8192 frames for each run")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="runs at a time, a core for each")
    parser.add_argument("--only", nargs="*", default=None, help="populations whose name contains one of these")
    parser.add_argument("overrides", nargs="*", help="further BenchMARL overrides for every run")
    arguments = parser.parse_args()
    for option in ("seeds", "iterations", "processes"):
        if getattr(arguments, option) < 1:
            parser.error(f"--{option}={getattr(arguments, option)} is not allowed, allowed: an integer >= 1")
    populations = [
        population
        for population in POPULATIONS
        if arguments.only is None or any(part in population.name for part in arguments.only)
    ]
    if not populations:
        names = ", ".join(population.name for population in POPULATIONS)
        parser.error(f"--only={arguments.only} is not allowed, allowed: parts of {names}")
    folder = arguments.folder.resolve()
    jobs = [
        Job(
            population.name,
            (*population.overrides, "+preset=prisoners_dilemma", *arguments.overrides),
            arguments.iterations,
            seed,
        )
        for seed in range(arguments.seeds)
        for population in populations
    ]
    failures = run_missing(folder, jobs, arguments.processes)
    table = report(folder, failures)
    sys.stdout.write(f"\n{table}\n\nEverything is in {arguments.folder}/\n")
    return 1 if failures else 0


def report(folder: Path, failures: list[str]) -> str:
    """Write evaluations, runs, table, curves and setting of all that is in ``folder``; returns the table."""
    evaluations, runs = collect(folder)
    lines = [f"FAILED {failure}" for failure in failures]
    if runs.empty:
        return "\n".join(["no run has finished", *lines])
    evaluations.to_csv(folder / "evaluations.csv", index=False, float_format="%.4f")
    runs.to_csv(folder / "runs.csv", index=False)
    final = final_rows(evaluations, by=["population", "seed"])
    rows = []
    for population in POPULATIONS:
        ends = final[final["population"] == population.name]
        if ends.empty:
            continue
        row = {"population": population.name, "grouping": population.grouping}
        for side in (0, 1):
            row[f"P(cooperate) {side}"] = interval(ends[f"agent_{side}_p_cooperate"])
            row[f"reward per step {side}"] = interval(ends[f"agent_{side}_return"] / STEPS_PER_EPISODE)
        row["seeds"] = len(ends)
        row["seconds per run"] = round(runs.loc[runs["population"] == population.name, "seconds"].mean())
        rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(folder / "table.csv", index=False)
    sides = {population.name: population.sides for population in POPULATIONS}
    plot_learning_curves(evaluations, "population", sides, folder / "curves.png")
    add_setting(folder / "setting.json", "python -m benchmarl_reciprocator.quickstart")
    note = "mean [lowest, highest] over seeds, of the last fifth of training, by evaluation with sampled actions"
    text = "\n".join([markdown(table), "", note, *lines])
    (folder / "table.md").write_text(text + "\n")
    return text


if __name__ == "__main__":
    sys.exit(main())
