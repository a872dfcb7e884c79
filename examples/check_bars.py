"""What ten seeds of the prisoner's dilemma show, held against what this package must reach.

    python -m benchmarl_reciprocator.quickstart --folder examples/results/ten_seeds --seeds 10 \\
        --iterations 300 --only "Reciprocator + IPPO"
    python -m benchmarl_reciprocator.quickstart --folder examples/results/ten_seeds --seeds 10 \\
        --iterations 150 --only "Reciprocator + Reciprocator" "IPPO + IPPO"
    python examples/check_bars.py examples/results/ten_seeds

Reads the results of the quick start alone, and writes ``bars.md`` beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

FRAMES_PER_ITERATION = 8192
STEPS_PER_EPISODE = 32
SIDES = ("agent_0_p_cooperate", "agent_1_p_cooperate")


def window(runs: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Mean of each seed's evaluations in iterations ``first`` to ``last``."""
    iteration = runs["frames"] / FRAMES_PER_ITERATION
    return runs[(iteration > first) & (iteration <= last)].groupby("seed").mean(numeric_only=True)


def rows(evaluations: pd.DataFrame, runs: pd.DataFrame) -> list[dict[str, str]]:
    """One row for each bar."""
    per_iteration = (runs["seconds"] / runs["frames"] * FRAMES_PER_ITERATION).groupby(runs["population"]).median()
    found = []

    two = evaluations[evaluations["population"] == "Reciprocator + Reciprocator"]
    reached = two[(two[SIDES[0]] >= 0.95) & (two[SIDES[1]] >= 0.95)].groupby("seed")["frames"].min()
    iterations = reached / FRAMES_PER_ITERATION
    seconds = iterations * per_iteration["Reciprocator + Reciprocator"]
    at_150 = window(two, 100, 150)
    kept = ((at_150[SIDES[0]] >= 0.95) & (at_150[SIDES[1]] >= 0.95)).sum()
    n_seeds = two["seed"].nunique()
    found.append(
        {
            "bar": "two Reciprocators: both P(C) >= 0.95 within 150 iterations and 60 s",
            "measured": f"{(iterations <= 150).sum()} of {n_seeds} seeds, by iteration {iterations.max():.0f} "
            f"({seconds.max():.0f} s) at the latest; mean over iterations 100-150 at least 0.95 "
            f"on {kept} of {n_seeds}, lowest {at_150[list(SIDES)].min().min():.3f}",
        }
    )

    mixed = evaluations[evaluations["population"] == "Reciprocator + IPPO"]
    end = window(mixed, 250, 300)
    lasting = ((end[SIDES[0]] >= 0.9) & (end[SIDES[1]] >= 0.9)).sum()
    gap = (end["agent_0_return"] - end["agent_1_return"]) / STEPS_PER_EPISODE
    found.append(
        {
            "bar": "Reciprocator and IPPO: both P(C) >= 0.9 over iterations 250-300 on 9 of 10 seeds",
            "measured": f"{lasting} of {len(end)} seeds; P(C) {end[SIDES[0]].mean():.3f} / {end[SIDES[1]].mean():.3f}, "
            f"lowest {end[SIDES[0]].min():.3f} / {end[SIDES[1]].min():.3f}",
        }
    )
    found.append(
        {
            "bar": "the Reciprocator never worse off than the learner by more than 0.1 per step",
            "measured": f"Reciprocator minus IPPO: mean {gap.mean():+.3f}, "
            f"lowest {gap.min():+.3f}, highest {gap.max():+.3f}",
        }
    )

    ippo = evaluations[evaluations["population"] == "IPPO + IPPO"]
    end = window(ippo, 100, 150)
    found.append(
        {
            "bar": "IPPO and IPPO: P(C) <= 0.1 on 10 of 10 seeds",
            "measured": f"{(end[list(SIDES)].max(axis=1) <= 0.1).sum()} of {len(end)} seeds, "
            f"highest {end[list(SIDES)].max().max():.3f}",
        }
    )
    numbers = evaluations[[*SIDES, "agent_0_return", "agent_1_return"]]
    found.append(
        {
            "bar": "no NaN or crash",
            "measured": f"{len(runs)} runs finished, {int(numbers.isna().sum().sum())} NaN in their evaluations",
        }
    )
    return found


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of a quick start")
    folder = parser.parse_args().folder
    table = rows(pd.read_csv(folder / "evaluations.csv"), pd.read_csv(folder / "runs.csv"))
    lines = ["| bar | measured |", "|---|---|", *(f"| {row['bar']} | {row['measured']} |" for row in table)]
    (folder / "bars.md").write_text("\n".join(lines) + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
