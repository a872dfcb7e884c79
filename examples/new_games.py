"""What was learned in ``suite=new_games``, beside what scripted cooperators and defectors come to in the same games.

    benchmarl-reciprocator benchmark suite=new_games folder=new_games
    python examples/new_games.py new_games --results examples/results/new_games

Writes ``new_games.csv``, ``new_games.md`` (a table) and ``new_games.png``. Runs that have not finished are left out, so
that it tells of as many seeds as there are.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import torch

from benchmarl_reciprocator import ScriptedAgent
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.play import play, returns
from benchmarl_reciprocator.evaluation.checkpoints import find_checkpoints
from benchmarl_reciprocator.evaluation.figures import population_styles
from benchmarl_reciprocator.evaluation.layout import find_records
from benchmarl_reciprocator.evaluation.result_files import RUN, final_rows, read_results
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Names of the players that make each choice, of which a task has one
PLAYERS_OF = {"all_cooperate": ("cooperate", "all_c"), "all_defect": ("defect", "greedy", "all_d")}


def tasks_of(folder: Path) -> dict[str, SocialDilemmaClass]:
    """The tasks of a suite's finished runs, as they were trained on, by what the suite calls them."""
    runs = {json.loads(file.read_text())["task"]: file.parent for file in find_records(folder)}
    return {name: find_checkpoints([run])[0].task for name, run in runs.items()}


def scripted_returns(task: SocialDilemmaClass, episodes: int, seed: int) -> dict[str, float]:
    """Mean return of an agent where all play the same script, by what they do."""
    players, found = task.players(), {}
    for choice, names in PLAYERS_OF.items():
        make = next(players[name] for name in names if name in players)
        env = task.options.make_env(num_envs=episodes, device="cpu", seed=seed)
        with seeded(seed):
            found[choice] = returns(*play(env, [ScriptedAgent(make())] * env.n_agents)).mean().item()
    return found


def summary(ends: pd.DataFrame, scripted: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and population.

    Args:
        ends (DataFrame): a row for each run: ``task``, ``population``, ``seed``, ``frames``, ``return`` and
            ``cooperation``.
        scripted (DataFrame): ``all_cooperate`` and ``all_defect``, returns by task.

    Returns:
        DataFrame: ``seeds``, ``frames``, mean, least and greatest ``return`` over seeds, mean ``cooperation``, the two
            scripted returns, and ``normalised``: 0 for what all defectors get, 1 for all cooperators.
    """
    table = ends.groupby(["task", "population"], sort=False).agg(
        seeds=("seed", "nunique"),
        frames=("frames", "max"),
        mean_return=("return", "mean"),
        least_return=("return", "min"),
        greatest_return=("return", "max"),
        cooperation=("cooperation", "mean"),
    )
    table = table.join(scripted, on="task").reset_index()
    spread = table["all_cooperate"] - table["all_defect"]
    return table.assign(normalised=(table["mean_return"] - table["all_defect"]) / spread)


def in_markdown(table: pd.DataFrame) -> str:
    """The table for people."""
    head = "| game | population | seeds | return | cooperation | all cooperate | all defect | normalised |"
    lines = [head, "|" + " --- |" * 8]
    for row in table.itertuples():
        spread = f"{row.mean_return:.2f} [{row.least_return:.2f}, {row.greatest_return:.2f}]"
        lines.append(
            f"| {row.task} | {row.population} | {row.seeds} | {spread} | {row.cooperation:.2f} | "
            f"{row.all_cooperate:.2f} | {row.all_defect:.2f} | {row.normalised:.2f} |"
        )
    return "\n".join(lines) + "\n"


def draw(table: pd.DataFrame, file: Path) -> None:
    """A row for each game and a dot for each population, on the scale from all defectors to all cooperators."""
    tasks, populations = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["population"]))
    styles = population_styles(populations)
    figure, axes = plt.subplots(figsize=(7, 1 + 0.4 * len(tasks)))
    for number, name in enumerate(populations):
        rows = table[table["population"] == name]
        # One below the other, so that none hides another
        below = 0.2 * (number - (len(populations) - 1) / 2)
        places = [tasks.index(task) + below for task in rows["task"]]
        axes.plot(rows["normalised"], places, "o", color=styles[name]["color"], label=name)
    for bound in (0, 1):
        axes.axvline(bound, color="0.7", linewidth=1, zorder=0)
    axes.set_yticks(range(len(tasks)), tasks)
    axes.invert_yaxis()
    axes.set_xlabel("return: 0 where all defect by script, 1 where all cooperate")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    """Read, play, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the suite")
    parser.add_argument("--results", type=Path, required=True, help="folder for tables and figure")
    parser.add_argument("--episodes", type=int, default=200, help="of each script")
    parser.add_argument("--seed", type=int, default=0, help="of environments and players")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = read_results(arguments.folder)
    ends = final_rows(results.evaluations, by=RUN, runs=results.runs)
    metrics = {row.task: row.cooperation.metric for row in results.runs.itertuples()}
    ends["cooperation"] = [row[metrics[row["task"]]] for _, row in ends.iterrows()]
    played = {
        name: scripted_returns(task, arguments.episodes, arguments.seed)
        for name, task in tasks_of(arguments.folder).items()
    }
    scripted = pd.DataFrame.from_dict(played, orient="index")
    table = summary(ends, scripted)
    arguments.results.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(arguments.results / "new_games.csv", index=False)
    (arguments.results / "new_games.md").write_text(in_markdown(table))
    draw(table, arguments.results / "new_games.png")
    sys.stdout.write(in_markdown(table))


if __name__ == "__main__":
    main()
