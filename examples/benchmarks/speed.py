"""How long a step of a matrix game and an iteration of training take, and against what.

    python examples/benchmarks/speed.py --results examples/results/speed

Writes ``speed.json`` and prints a table. Alternating measurements in one process, one thread, medians.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import pandas as pd
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict
from torch.nn.functional import one_hot
from torch.utils.benchmark import Timer

from benchmarl_reciprocator import SocialDilemmaTask, load_experiment


def plain_step(payoffs: torch.Tensor, actions: torch.Tensor, steps: torch.Tensor) -> tuple:
    """One step of the prisoner's dilemma on bare tensors, with all that the environment returns."""
    own = torch.stack([actions, actions.flip(-1)], dim=-1)
    rewards = payoffs[actions[:, 0], actions[:, 1]]
    observations = one_hot(own[..., 0] * 2 + own[..., 1], 5).float()
    state = observations[:, 0]
    steps = steps + 1
    done = steps >= 32
    return observations, state, rewards, done, (actions == 0).float(), steps


def step_rows(n_envs: int) -> list[dict]:
    """Environment steps per second: bare tensors, this package's environment by grouping."""
    rows = []
    for grouping in ("plain tensors", "one_group", "per_agent"):
        if grouping == "plain tensors":
            payoffs = torch.tensor([[[-1.0, -1.0], [-3.0, 0.0]], [[0.0, -3.0], [-2.0, -2.0]]])
            names = {
                "f": plain_step,
                "p": payoffs,
                "a": torch.randint(2, (n_envs, 2)),
                "s": torch.zeros(n_envs, dtype=torch.long),
            }
            timer = Timer("f(p, a, s)", globals=names, num_threads=1)
        else:
            task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
            task.config["grouping"] = grouping
            env = task.get_env_fun(n_envs, continuous_actions=False, seed=0, device="cpu")()
            data: TensorDict = env.rand_action(env.reset())
            timer = Timer("env._step(data)", globals={"env": env, "data": data}, num_threads=1)
        seconds = timer.blocked_autorange(min_run_time=2).median
        rows.append(
            {"what": f"step, {n_envs} environments, {grouping}", "ms": seconds * 1e3, "per second": n_envs / seconds}
        )
    for row in rows:
        row["ratio"] = row["ms"] / rows[0]["ms"]
    return rows


class Stopwatch(Callback):
    """Wall-clock seconds of every iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[float] = []

    def on_train_end(self, training_td: TensorDict, group: str) -> None:
        if group == list(self.experiment.group_map)[-1]:
            self.marks.append(time.perf_counter())


def iteration_seconds(algorithm: str, iterations: int, preset: str, overrides: list[str]) -> list[float]:
    """Seconds of the last ``iterations`` iterations of a run, evaluation and logging left out."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        experiment: Experiment = load_experiment(
            [
                f"algorithm={algorithm}",
                f"+preset={preset}",
                f"experiment.max_n_iters={iterations + 5}",
                "experiment.evaluation=False",
                "experiment.create_json=False",
                "experiment.loggers=[]",
                f"experiment.save_folder={folder}",
                *overrides,
            ],
            callbacks=[watch],
        )
        experiment.run()
    return [b - a for a, b in zip(watch.marks, watch.marks[1:])][-iterations:]


def iteration_rows(rounds: int, iterations: int) -> list[dict]:
    """Seconds per iteration of the Reciprocator and of IPPO with the same groups, in turn."""
    rows = []
    for preset, overrides in (("prisoners_dilemma", []), ("public_goods", ["task.n_agents=5"])):
        seconds: dict[str, list[float]] = {"ippo": [], "reciprocator": []}
        ratios = []
        for _ in range(rounds):
            pair = {name: iteration_seconds(name, iterations, preset, overrides) for name in seconds}
            for name, values in pair.items():
                seconds[name] += values
            ratios.append(statistics.median(pair["reciprocator"]) / statistics.median(pair["ippo"]))
        for name, values in seconds.items():
            row = {
                "what": f"iteration, {' '.join([preset, *overrides])}, {name}",
                "ms": statistics.median(values) * 1e3,
            }
            rows.append({**row, "ratio": 1.0 if name == "ippo" else statistics.median(ratios)})
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder for speed.json")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each algorithm")
    parser.add_argument("--iterations", type=int, default=15, help="iterations that count in each run")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    rows = [*step_rows(256), *step_rows(2048), *iteration_rows(arguments.rounds, arguments.iterations)]
    table = pd.DataFrame(rows)
    arguments.results.mkdir(parents=True, exist_ok=True)
    setting = {
        "command": "python examples/benchmarks/speed.py " + " ".join(sys.argv[1:]),
        "threads": 1,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        **{package: version(package) for package in ("benchmarl", "torchrl", "tensordict", "torch")},
    }
    content = {"setting": setting, "rows": json.loads(table.to_json(orient="records"))}
    (arguments.results / "speed.json").write_text(json.dumps(content, indent=1))
    sys.stdout.write(table.to_string(index=False, float_format=lambda x: f"{x:,.3f}") + "\n")


if __name__ == "__main__":
    main()
