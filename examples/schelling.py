"""Schelling diagrams: what cooperating and defecting pay against the number of others who cooperate, by scripted
players.

    python examples/schelling.py --results examples/results/schelling

Writes ``schelling.csv`` and ``schelling.png``. A game is a social dilemma (Leibo et al. 2017, arXiv 1702.03037) if
mutual cooperation pays more than mutual defection and more than to cooperate alone, and yet, with some number of
cooperators among the others, defecting pays more. Each task is the one of its preset; ``--override`` changes it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import torch
import yaml

from benchmarl_reciprocator import ScriptedAgent, SocialDilemmaTask
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.play import play, returns

COLOURS = {"cooperate": "#0072B2", "defect": "#D55E00"}
# Names of the players that make each choice, of which a task has one
PLAYERS_OF = {"cooperate": ("cooperate", "all_c"), "defect": ("defect", "greedy", "all_d")}


def payoffs(task: str, n_agents: int, episodes: int, seed: int, overrides: dict[str, object]) -> pd.DataFrame:
    """Returns of cooperators and defectors in populations of all mixtures.

    Returns:
        DataFrame: a row for each choice and number of other cooperators, with the mean of the return over ``episodes``
            and its 95% confidence interval (normal).
    """
    chosen = SocialDilemmaTask[task.upper()].get_from_yaml()
    chosen.config.update(grouping="one_group", **overrides)
    if "n_agents" in chosen.config:
        chosen.config["n_agents"] = n_agents
    n_agents = chosen.options.make_env(num_envs=1, device="cpu", seed=seed).n_agents
    players = chosen.players()
    makers = {choice: next(players[name] for name in names if name in players) for choice, names in PLAYERS_OF.items()}
    rows = []
    for cooperators in range(n_agents + 1):
        strategies = ["cooperate"] * cooperators + ["defect"] * (n_agents - cooperators)
        env = chosen.options.make_env(num_envs=episodes, device="cpu", seed=seed + cooperators)
        with seeded(seed):
            played = returns(*play(env, [ScriptedAgent(makers[strategy]()) for strategy in strategies]))
        for choice, seats in (("cooperate", slice(cooperators)), ("defect", slice(cooperators, n_agents))):
            of_choice = played[:, seats].mean(-1)
            if strategies[seats]:
                half = 1.96 * of_choice.std().item() / episodes**0.5
                mean = of_choice.mean().item()
                others = cooperators - (choice == "cooperate")
                rows.append({"task": task, "choice": choice, "others": others, "mean": mean, "half_width": half})
    return pd.DataFrame(rows)


def verdict(table: pd.DataFrame) -> str:
    """Whether the payoffs of one task are those of a social dilemma."""
    pay = table.pivot(index="others", columns="choice", values="mean")
    most = pay.index.max()
    all_cooperate, all_defect = pay.loc[most, "cooperate"], pay.loc[0, "defect"]
    tempted = [int(others) for others in pay.index if pay.loc[others, "defect"] > pay.loc[others, "cooperate"]]
    is_one = all_cooperate > max(all_defect, pay.loc[0, "cooperate"]) and tempted
    return (
        f"{'a' if is_one else 'NO'} social dilemma: all cooperate {all_cooperate:.1f}, all defect {all_defect:.1f}, "
        f"defecting pays more with {tempted} others who cooperate"
    )


def draw(table: pd.DataFrame, file: Path) -> None:
    """One panel for each task, intervals as bars."""
    tasks = list(dict.fromkeys(table["task"]))
    figure, panels = plt.subplots(1, len(tasks), figsize=(4.2 * len(tasks), 3.4), squeeze=False)
    for panel, task in zip(panels[0], tasks):
        for choice, colour in COLOURS.items():
            line = table[(table["task"] == task) & (table["choice"] == choice)]
            panel.errorbar(
                line["others"], line["mean"], line["half_width"], color=colour, label=choice, marker="o", capsize=3
            )
        panel.set_title(task)
        panel.set_xlabel("others who cooperate")
        panel.set_xticks(sorted(set(table.loc[table["task"] == task, "others"])))
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("return in an episode")
    panels[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    """Play, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder for table and figure")
    parser.add_argument("--tasks", nargs="+", default=["cleanup", "harvest", "shared_pasture"], help="which")
    parser.add_argument("--n-agents", type=int, default=3, help="number of agents")
    parser.add_argument("--episodes", type=int, default=200, help="of each population")
    parser.add_argument("--seed", type=int, default=0, help="of environments and players")
    parser.add_argument("--override", nargs="*", default=[], help="options of the tasks, such as map=small_partitioned")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    overrides = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in arguments.override)}
    tables = []
    for task in arguments.tasks:
        tables.append(payoffs(task, arguments.n_agents, arguments.episodes, arguments.seed, overrides))
        sys.stdout.write(f"{task}: {verdict(tables[-1])}\n{tables[-1].round(2).to_string(index=False)}\n")
    arguments.results.mkdir(parents=True, exist_ok=True)
    table = pd.concat(tables)
    table.round(4).to_csv(arguments.results / "schelling.csv", index=False)
    draw(table, arguments.results / "schelling.png")
    command = f"python examples/schelling.py {' '.join(sys.argv[1:])}"
    verdicts = "".join(f"- `{task}`: {verdict(part)}\n" for task, part in zip(arguments.tasks, tables))
    (arguments.results / "README.md").write_text(
        f"# Schelling diagrams\n\nPayoffs of scripted cooperators and defectors: {arguments.n_agents} agents, "
        f"{arguments.episodes} episodes of each population, 95% intervals.\n\n"
        f"```bash\n{command}\n```\n\n![Schelling diagrams](schelling.png)\n\n{verdicts}"
    )


if __name__ == "__main__":
    main()
