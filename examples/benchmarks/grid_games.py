"""Agent-steps per second of a grid game beside Cleanup's, at equal numbers of agents and sizes of view, in one run.

    python examples/benchmarks/grid_games.py in_the_matrix --n-agents 4 --override variant=arena

Both play at random, one after the other in every round, so that what else the machine does weighs on both. The C
library keeps what is freed, for both alike: left alone, it returns the memory of large observations to the system in
some runs, sizes and orders and not in others, which can double the time of a step. Writes ``speed_<game>.json``
into ``examples/results/games``, or into the folder ``--results``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
import yaml

from benchmarl_reciprocator import SocialDilemmaEnv, SocialDilemmaTask

RESULTS = Path(__file__).resolve().parent.parent / "results" / "games"
# Of malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let the GNU C library keep freed memory up to 1 GiB for the next request; nothing with other libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 2**30)


def make_env(task: str, n_agents: int, view: int, num_envs: int, overrides: dict[str, object]) -> SocialDilemmaEnv:
    """A grid game of one group of agents, with images."""
    chosen = SocialDilemmaTask[task.upper()].get_from_yaml()
    chosen.config.update(n_agents=n_agents, view=view, grouping="one_group", observation="image", **overrides)
    return chosen.options.make_env(num_envs=num_envs, device="cpu", seed=0)


def seconds(env: SocialDilemmaEnv, actions: torch.Tensor) -> float:
    """CPU seconds that it takes to play these actions ``[T, B, N]``, with observations and state."""
    tensordict = env.reset()
    begin = time.process_time()
    for action in actions:
        tensordict.set(("agents", "action"), action)
        tensordict = env.step_mdp(env.step(tensordict))
    return time.process_time() - begin


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game", help="a task, such as in_the_matrix")
    parser.add_argument("--n-agents", type=int, default=4, help="number of agents")
    parser.add_argument("--view", type=int, default=7, help="side of the window that an agent sees")
    parser.add_argument("--num-envs", type=int, default=256, help="number of environments")
    parser.add_argument("--steps", type=int, default=60, help="of a round")
    parser.add_argument("--rounds", type=int, default=9, help="how often both are measured")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for what comes out")
    parser.add_argument("--override", nargs="*", default=[], help="options of the game, such as variant=arena")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    overrides = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in arguments.override)}
    sizes = (arguments.n_agents, arguments.view, arguments.num_envs)
    envs = {
        "cleanup": make_env("cleanup", *sizes, {}),
        arguments.game: make_env(arguments.game, *sizes, overrides),
    }
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.steps, arguments.num_envs, arguments.n_agents)
    actions = {name: torch.randint(env.n_actions[0], shape, generator=generator) for name, env in envs.items()}
    rounds = [{name: seconds(env, actions[name]) for name, env in envs.items()} for _ in range(arguments.rounds + 1)][
        1:
    ]
    agent_steps = actions["cleanup"].numel()
    rates = {name: statistics.median(agent_steps / taken[name] for taken in rounds) for name in envs}
    ratio = statistics.median(taken["cleanup"] / taken[arguments.game] for taken in rounds)
    found = {
        "command": f"python examples/benchmarks/grid_games.py {' '.join(sys.argv[1:])}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread, CPU time, freed memory kept",
        "n_agents": arguments.n_agents,
        "view": arguments.view,
        "num_envs": arguments.num_envs,
        "agent_steps_per_second": {name: round(rate) for name, rate in rates.items()},
        "ratio_to_cleanup": round(ratio, 3),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"speed_{arguments.game}.json").write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
