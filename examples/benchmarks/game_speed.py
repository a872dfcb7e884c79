"""Agent-steps a second of a grid world beside Cleanup's, with as many agents and as large a view, in one run.

    python examples/benchmarks/game_speed.py coop_mining --results examples/results/games

Writes ``speed_<game>.json``: by setting, agent-steps a second of processor time of both through TorchRL, with random actions, observations
and global state, and their ratio. One thread, alternating measurements, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarl_reciprocator import SocialDilemmaTask

# Name of each setting: variant, agents, view.
SETTINGS = {"small": ("small", 3, 7), "published size": ("melting_pot", 6, 11)}


class Stopwatch:
    """Plays a game with random actions, and takes the time.

    Args:
        game (str): name of the task.
        variant (str): its rules.
        n_agents (int): number of agents.
        view (int): side of their windows.
        n_envs (int): number of environments.
    """

    def __init__(self, game: str, variant: str, n_agents: int, view: int, n_envs: int) -> None:
        task = SocialDilemmaTask[game.upper()].get_from_yaml()
        task.config.update(variant=variant, n_agents=n_agents, view=view, grouping="one_group")
        self.env = task.options.make_env(num_envs=n_envs, device="cpu", seed=0)
        self.data = self.env.rand_action(self.env.reset())
        self.actions = torch.randint(self.env.n_actions[0], (500, n_envs, n_agents))
        self.agent_steps = n_envs * n_agents

    def per_second(self, steps: int) -> float:
        """Agent-steps a second over so many steps from the start of an episode."""
        self.env.reset()
        began = time.process_time()
        for step in range(steps):
            self.data["agents", "action"] = self.actions[step % len(self.actions)]
            self.env._step(self.data)
        return steps * self.agent_steps / (time.process_time() - began)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game", help="name of the task")
    parser.add_argument("--results", type=Path, required=True, help="folder for the file")
    parser.add_argument("--envs", type=int, default=256, help="number of environments")
    parser.add_argument("--steps", type=int, default=100, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each game")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, (variant, n_agents, view) in SETTINGS.items():
        watches = {
            game: Stopwatch(game, variant, n_agents, view, arguments.envs) for game in ("cleanup", arguments.game)
        }
        for watch in watches.values():
            watch.per_second(5)
        rounds = [{game: watch.per_second(arguments.steps) for game, watch in watches.items()} for _ in range(arguments.rounds)]
        medians = {game: round(statistics.median(each[game] for each in rounds)) for game in watches}
        ratio = statistics.median(each[arguments.game] / each["cleanup"] for each in rounds)
        row = {"setting": name, "variant": variant, "n_agents": n_agents, "view": view}
        rows.append({**row, "agent_steps_per_second": medians, "ratio": round(ratio, 3)})
        sys.stdout.write(f"{rows[-1]}\n")
    setting = {
        "command": "python examples/benchmarks/game_speed.py " + " ".join(sys.argv[1:]),
        "environments": arguments.envs,
        "device": "cpu",
        "threads": 1,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "torch": version("torch"),
        "torchrl": version("torchrl"),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / f"speed_{arguments.game}.json"
    file.write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
