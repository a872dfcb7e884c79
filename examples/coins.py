"""Runs and tables of Coins: the bars, what the policy sees, and how sensitive the result is.

    python examples/coins.py bars --results examples/results/coins --seeds 5

Every run is an ordinary BenchMARL experiment with the overrides printed in ``overrides.json``. The same command goes on
with what is missing; ``--only`` picks populations.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarl_reciprocator import SocialDilemmaTask
from benchmarl_reciprocator.results import final_rows, interval, markdown, plot_learning_curves
from benchmarl_reciprocator.runs import Job, add_setting, collect, run_missing


@dataclass(frozen=True)
class Population:
    """A row of the table.

    Args:
        overrides (tuple of str): BenchMARL overrides that make it, besides ``+preset=coins``.
        agents (tuple of str): names of the agents, in the order of seats.
        iterations (int): of training.
    """

    overrides: tuple[str, ...]
    agents: tuple[str, ...]
    iterations: int


RECIPROCATOR = ("algorithm=reciprocator",)
# As much exploration as the Reciprocator's, or IPPO is deterministic before anyone reciprocates
IPPO = ("algorithm=ippo", "algorithm.entropy_coef=0.05")
MIXED = ("algorithm=mixed",)
SINGLE = ("task.variant=pola",)
GRU = ("model=layers/gru", "model.hidden_size=64", "model.mlp_num_cells=[64]")


def seats(name: str, number: int) -> tuple[str, ...]:
    """Names of agents that all learn alike."""
    return tuple(f"{name} {seat}" for seat in range(number))


def two(*overrides: str, iterations: int = 60) -> Population:
    """Two Reciprocators with ``overrides``."""
    return Population((*RECIPROCATOR, *overrides), seats("Reciprocator", 2), iterations)


STUDIES = {
    "bars": {
        "Reciprocator + Reciprocator": two(iterations=240),
        "Reciprocator + IPPO": Population(MIXED, ("Reciprocator", "IPPO"), 200),
        "IPPO + IPPO": Population(IPPO, seats("IPPO", 2), 40),
        "single coin, Reciprocators": two(*SINGLE, iterations=150),
        "single coin, IPPO": Population((*IPPO, *SINGLE), seats("IPPO", 2), 40),
        "3 Reciprocators": Population((*RECIPROCATOR, "task.n_agents=3"), seats("Reciprocator", 3), 150),
        "3 IPPO": Population((*IPPO, "task.n_agents=3"), seats("IPPO", 3), 40),
        "5 Reciprocators": Population((*RECIPROCATOR, "task.n_agents=5"), seats("Reciprocator", 5), 200),
        "5 IPPO": Population((*IPPO, "task.n_agents=5"), seats("IPPO", 5), 40),
    },
    "observation": {
        "board alone": two("algorithm.observe_balance=false", iterations=80),
        "observed balance": two(iterations=80),
        "GRU": two("algorithm.observe_balance=false", *GRU, iterations=80),
        "GRU and observed balance": two(*GRU, iterations=80),
    },
    "sensitivity": {
        "defaults": two(),
        "weight 0.5": two("algorithm.reward_weight_end=0.5"),
        "weight 2": two("algorithm.reward_weight_end=2"),
        "learning rate 0.001": two("experiment.lr=0.001"),
        "learning rate 0.006": two("experiment.lr=0.006"),
        "last 5 batches": two("algorithm.buffer_reservoir=false", "algorithm.buffer_batches=5"),
        "target period 4": two("algorithm.target_period=4"),
        "harm paid back in full": two("algorithm.negative_reciprocity=1"),
        "immediate influence alone": two("algorithm.future_influence=false"),
    },
}


def main() -> int:
    """Run what is missing, then write and print the table and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--results", type=Path, required=True, help="where table, figure and data go")
    parser.add_argument("--runs", type=Path, default=None, help="where the runs go; default: in the results' folder")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds for each population")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="runs at a time, a core for each")
    parser.add_argument("--only", nargs="*", default=None, help="populations whose name contains one of these")
    arguments = parser.parse_args()
    study = STUDIES[arguments.study]
    names = [name for name in study if not arguments.only or any(part in name for part in arguments.only)]
    jobs = [
        Job(name, ("+preset=coins", *study[name].overrides), study[name].iterations, seed)
        for seed in range(arguments.seeds)
        for name in names
    ]
    folder = (arguments.runs or arguments.results).resolve()
    failures = run_missing(folder, jobs, arguments.processes)
    sys.stdout.write(report(study, folder, arguments.results, failures) + "\n")
    return 1 if failures else 0


def report(study: dict[str, Population], folder: Path, results: Path, failures: list[str]) -> str:
    """Write evaluations, runs, table, curves and setting of the study's finished runs; returns the table."""
    evaluations, runs = collect(folder)
    lines = [f"FAILED {failure}" for failure in failures]
    if runs.empty:
        return "\n".join(["no run has finished", *lines])
    results.mkdir(parents=True, exist_ok=True)
    evaluations.to_csv(results / "evaluations.csv", index=False, float_format="%.4f")
    runs.to_csv(results / "runs.csv", index=False)
    (results / "overrides.json").write_text(
        json.dumps({name: ["+preset=coins", *population.overrides] for name, population in study.items()}, indent=1)
    )
    final = final_rows(evaluations, by=["population", "seed"], share=0.25)
    rows, marks = [], {}
    for name, population in study.items():
        ends, done = final[final["population"] == name], runs[runs["population"] == name]
        if ends.empty:
            continue
        options = SocialDilemmaTask.COINS.get_from_yaml()
        settings = (override.split("=", 1) for override in population.overrides if override.startswith("task."))
        options.config.update({key.removeprefix("task."): _value(value) for key, value in settings})
        bound, steps = ends["all_cooperate_own_coin_share"].iloc[0], options.options.rules().max_steps
        marks[name] = {"all cooperate": bound}
        shares, returns, per_step = [], [], []
        for seat in range(len(population.agents)):
            shares.append(interval(ends[f"agent_{seat}_own_coin_share"]))
            returns.append(interval(ends[f"agent_{seat}_return"], 1))
            per_step.append(interval(ends[f"agent_{seat}_return"] / steps))
        rows.append(
            {
                "population": name,
                "own-coin share": "; ".join(shares),
                "return per episode": "; ".join(returns),
                "reward per step": "; ".join(per_step),
                "all cooperate": f"{bound:.2f}, {ends['all_cooperate_return'].iloc[0]:.1f}",
                "seeds": len(ends),
                "million frames": round(done["frames"].max() / 1e6, 2),
                "CPU seconds": round(done["cpu_seconds"].mean()),
            }
        )
    table = pd.DataFrame(rows)
    table.to_csv(results / "table.csv", index=False)
    plot_learning_curves(
        evaluations,
        "population",
        {name: population.agents for name, population in study.items()},
        results / "curves.png",
        measure="own_coin_share",
        label="own-coin share",
        marks=marks,
    )
    add_setting(results / "setting.json", "python examples/coins.py")
    note = (
        "For every agent in turn: mean [lowest, highest] over seeds, of the last quarter of training, by evaluation "
        "with sampled actions. 'all cooperate': own-coin share and return of scripted players."
    )
    text = "\n".join([markdown(table), "", note, *lines])
    (results / "table.md").write_text(text + "\n")
    return text


def _value(text: str) -> int | str:
    return int(text) if text.isdigit() else text


if __name__ == "__main__":
    sys.exit(main())
