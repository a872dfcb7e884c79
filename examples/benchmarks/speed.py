"""Where the time goes: environment steps, estimator, and whole iterations against IPPO's.

    python examples/benchmarks/speed.py --results examples/results/speed

Writes ``speed.json`` and prints a table. One thread, alternating measurements, medians; everything on ``--device``. A
row's ratio is its time against that of the first row of its block. JaxMARL's coin game is measured beside ours where it
is installed, in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import pandas as pd
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict, TensorDictBase
from torch.nn.functional import one_hot
from torch.utils.benchmark import Timer

from benchmarl_reciprocator import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    SocialDilemmaTask,
    influence_balance,
    load_experiment,
    reciprocal_reward,
)

T = 32
# Seconds for which a statement is measured: --seconds
MEASURED = 1.0


def plain_step(payoffs: torch.Tensor, actions: torch.Tensor, steps: torch.Tensor) -> tuple:
    """One step of the prisoner's dilemma on bare tensors, with all that the environment returns."""
    own = torch.stack([actions, actions.flip(-1)], dim=-1)
    rewards = payoffs[actions[:, 0], actions[:, 1]]
    observations = one_hot(own[..., 0] * 2 + own[..., 1], 5).float()
    state = observations[:, 0]
    steps = steps + 1
    done = steps >= T
    return observations, state, rewards, done, (actions == 0).float(), steps


def timed(statement: str, names: dict, device: str) -> float:
    """Median seconds of ``statement``, measured for ``MEASURED`` seconds."""
    if device != "cpu":
        statement += "; torch.cuda.synchronize()"
        names = {**names, "torch": torch}
    return Timer(statement, globals=names, num_threads=1).blocked_autorange(min_run_time=MEASURED).median


def with_ratios(rows: list[dict]) -> list[dict]:
    """Rows with their time against the first one's."""
    return [{**row, "ratio": row["ms"] / rows[0]["ms"]} for row in rows]


def step_row(what: str, n_envs: int, seconds: float) -> dict:
    """A row about a step of so many environments."""
    return {"what": f"step, {n_envs} environments, {what}", "ms": seconds * 1e3, "per second": n_envs / seconds}


def matrix_steps(n_envs: int, device: str) -> list[dict]:
    """A step of the prisoner's dilemma: bare tensors, this package's environment by grouping."""
    payoffs = torch.tensor([[[-1.0, -1.0], [-3.0, 0.0]], [[0.0, -3.0], [-2.0, -2.0]]], device=device)
    actions = torch.randint(2, (n_envs, 2), device=device)
    names = {"f": plain_step, "p": payoffs, "a": actions, "s": torch.zeros(n_envs, dtype=torch.long, device=device)}
    rows = [step_row("prisoner's dilemma, plain tensors", n_envs, timed("f(p, a, s)", names, device))]
    for grouping in ("one_group", "per_agent"):
        task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
        task.config["grouping"] = grouping
        env = task.get_env_fun(n_envs, continuous_actions=False, seed=0, device=device)()
        names = {"env": env, "data": env.rand_action(env.reset())}
        rows.append(step_row(f"prisoner's dilemma, {grouping}", n_envs, timed("env._step(data)", names, device)))
    return with_ratios(rows)


def coin_steps(n_envs: int, n_agents: int, device: str) -> list[dict]:
    """A step of Coins: the rules and observations alone, through TorchRL by grouping, and JaxMARL's coin game."""
    rows = []
    for view in (None, "centred"):
        task = SocialDilemmaTask.COINS.get_from_yaml()
        task.config.update(n_agents=n_agents, view=view)
        for grouping in ("one_group", "per_agent"):
            task.config["grouping"] = grouping
            env = task.get_env_fun(n_envs, continuous_actions=False, seed=0, device=device)()
            name = f"Coins, {n_agents} agents, view={view}"
            if grouping == "one_group":
                actions = torch.randint(5, (n_envs, n_agents), device=device)
                statement = "env.transition(actions); env.observations(); env.state()"
                seconds = timed(statement, {"env": env, "actions": actions}, device)
                rows.append(step_row(f"{name}, plain tensors", n_envs, seconds))
            names = {"env": env, "data": env.rand_action(env.reset())}
            rows.append(step_row(f"{name}, {grouping}", n_envs, timed("env._step(data)", names, device)))
    if n_agents == 2 and find_spec("jaxmarl") is not None:
        rows.append(step_row("JaxMARL's coin game", n_envs, jaxmarl_step(n_envs)))
    return with_ratios(rows)


def grid_steps(n_envs: int, device: str, n_agents: int = 7) -> list[dict]:
    """A step of Cleanup and of Harvest by SocialJax's rules, 7 agents and 11 by 11 views, with random actions: what a
    step of SocialJax returns too, then with the global state, then through TorchRL.
    """
    rows = []
    for task_name in ("cleanup", "harvest"):
        task = SocialDilemmaTask[task_name.upper()].get_from_yaml()
        task.config.update(variant="socialjax", n_agents=n_agents, grouping="one_group")
        env = task.get_env_fun(n_envs, continuous_actions=False, seed=0, device=device)()
        data = env.rand_action(env.reset())
        drawn = torch.randint(env.n_actions[0], (1000, n_envs, n_agents), device=device)
        names = {"env": env, "actions": itertools.cycle(drawn), "data": data}
        for what, statement in {
            "plain tensors, observations": "env.transition(next(actions)); env.observations()",
            "plain tensors, observations and state": "env.transition(next(actions)); env.observations(); env.state()",
            "through TorchRL": "data['agents', 'action'] = next(actions); env._step(data)",
        }.items():
            name = f"{task_name}, {n_agents} agents, {what}"
            rows.append(step_row(name, n_envs, timed(statement, names, device)))
    return with_ratios(rows)


def jaxmarl_step(n_envs: int, steps: int = 200) -> float:
    """Seconds of a step of JaxMARL's coin game, compiled, with random actions drawn beforehand."""
    import jax
    from jaxmarl.environments.coin_game import CoinGame

    env = CoinGame(num_inner_steps=T, num_outer_steps=1000)
    keys = jax.random.split(jax.random.PRNGKey(0), n_envs)
    _, state = jax.vmap(env.reset)(keys)
    actions = jax.random.randint(jax.random.PRNGKey(1), (steps, len(env.agents), n_envs), 0, 5)

    def step(state, chosen):
        moves = {agent: chosen[i] for i, agent in enumerate(env.agents)}
        observation, state, reward, _, _ = jax.vmap(env.step_env)(keys, state, moves)
        return state, (sum(x.sum() for x in observation.values()), sum(x.sum() for x in reward.values()))

    run = jax.jit(lambda state, actions: jax.lax.scan(step, state, actions))
    jax.block_until_ready(run(state, actions))
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        jax.block_until_ready(run(state, actions))
        seconds.append((time.perf_counter() - started) / steps)
    return statistics.median(seconds)


def joint_batch(n_envs: int, n_agents: int, device: str) -> TensorDictBase:
    """A batch of random play in Coins as the estimator takes it, ``[n_envs, 32]``."""
    task = SocialDilemmaTask.COINS.get_from_yaml()
    task.config.update(n_agents=n_agents, grouping="one_group")
    env = task.get_env_fun(n_envs, continuous_actions=False, seed=0, device=device)()
    play = env.rollout(T, break_when_any_done=False)
    inputs = {"state": play["state"], "action": one_hot(play["agents", "action"], 5).float()}
    after = {
        "state": play["next", "state"],
        "reward": play["next", "agents", "reward"].squeeze(-1),
        "done": play["next", "done"],
        "terminated": play["next", "terminated"],
    }
    return TensorDict({**inputs, "next": after}, play.batch_size, device=device)


def estimator_rows(n_agents: int, device: str, iterations: int = 4) -> list[dict]:
    """CPU seconds of one iteration's estimator work at 1024 x 32 frames with the reference's settings for the fit.

    The reference passes 20 times over a buffer of 3 batches at every second iteration. One pass here is over one
    batch's worth of frames, so 60 of them make the same number of gradient steps.
    """
    rows = []
    for future in (False, True):
        estimator = InfluenceEstimator(n_agents, 18 * n_agents, 5, num_cells=(64, 64), future=future, device=device)
        schedule = InfluenceSchedule(
            buffer_batches=3,
            buffer_reservoir=False,
            target_period=2,
            lr=0.01,
            epochs=60,
            minibatch_size=4096,
        )
        learner = InfluenceLearner(InfluenceLoss(estimator, gamma=0.99), schedule)
        batch = joint_batch(1024, n_agents, device)
        learner.observe(batch)
        parts = {"fit": 0.0, "influence": 0.0, "balance and reward": 0.0}
        for _ in range(iterations):
            marks = [time.process_time()]
            metrics = learner.observe(batch)
            marks.append(time.process_time())
            influence = learner.influence(batch)
            marks.append(time.process_time())
            balance, _ = influence_balance(influence, batch["next", "done"], 0.99)
            reciprocal_reward(influence, balance)
            marks.append(time.process_time())
            for part, a, b in zip(parts, marks, marks[1:]):
                parts[part] += (b - a) / iterations
        kind = "with the future" if future else "immediate alone"
        explained = metrics["explained_variance_reward"]
        for part, seconds in {**parts, "all three": sum(parts.values())}.items():
            row = {"what": f"estimator, 1024 x 32, {n_agents} agents, {kind}, {part}", "ms": seconds * 1e3}
            rows.append({**row, "explained variance": explained} if part == "fit" else row)
    return rows


class Stopwatch(Callback):
    """When batches had been collected, and when iterations ended."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[float] = []
        self.ended: list[float] = []

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.collected.append(time.perf_counter())

    def on_train_end(self, training_td: TensorDictBase, group: str) -> None:
        if group == list(self.experiment.group_map)[-1]:
            self.ended.append(time.perf_counter())


def iteration_seconds(overrides: list[str], iterations: int) -> tuple[float, float]:
    """Median seconds of an iteration and of its collection, without evaluation and logging."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        experiment: Experiment = load_experiment(
            [
                *overrides,
                f"experiment.max_n_iters={iterations + 5}",
                "experiment.evaluation=False",
                "experiment.create_json=False",
                "experiment.loggers=[]",
                f"experiment.save_folder={folder}",
            ],
            callbacks=[watch],
        )
        experiment.run()
    # The first iterations end without training where policies stay frozen.
    ended = watch.ended[-iterations - 1 :]
    collected = watch.collected[-iterations:]
    return (
        statistics.median(b - a for a, b in zip(ended, ended[1:])),
        statistics.median(b - a for a, b in zip(ended, collected)),
    )


def iteration_rows(rounds: int, iterations: int, device: str) -> list[dict]:
    """An iteration of the Reciprocator and of IPPO with the same groups and policies, in turn."""
    rows = []
    devices = [f"experiment.{use}_device={device}" for use in ("sampling", "train", "buffer")]
    for setting in (
        ["+preset=prisoners_dilemma"],
        ["+preset=coins"],
        ["+preset=coins_many", "task.n_agents=8"],
    ):
        seconds: dict[str, list[tuple[float, float]]] = {"ippo": [], "reciprocator": []}
        for _ in range(rounds):
            for name, measured in seconds.items():
                measured.append(iteration_seconds([f"algorithm={name}", *setting, *devices], iterations))
        ratios = [ours[0] / theirs[0] for ours, theirs in zip(seconds["reciprocator"], seconds["ippo"])]
        for name, measured in seconds.items():
            whole, collection = (statistics.median(values) * 1e3 for values in zip(*measured))
            what = f"iteration, {' '.join(setting)}, {name}"
            rows.append({"what": what, "ms": whole, "ratio": 1.0 if name == "ippo" else statistics.median(ratios)})
            rows.append({"what": f"{what}, of it collection", "ms": collection})
    return rows


def _peak(overrides: list[str], iterations: int, queue: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(1)
    iteration_seconds(overrides, iterations)
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory_rows() -> list[dict]:
    """Peak memory of a process that trains at 1024 x 32 frames, until the estimator's buffer is full."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for algorithm, batches in (("ippo", None), ("reciprocator", 8), ("reciprocator", 20)):
        overrides = [
            f"algorithm={algorithm}",
            "+preset=coins",
            "experiment.on_policy_n_envs_per_worker=1024",
            f"experiment.on_policy_collected_frames_per_batch={1024 * T}",
        ]
        what = f"peak memory, Coins, 1024 x 32, {algorithm}"
        if batches is not None:
            overrides.append(f"algorithm.buffer_batches={batches}")
            what += f", buffer of {batches} batches, full"
        queue = context.SimpleQueue()
        # After the first five, the preset's delay is over and the buffer begins anew.
        process = context.Process(target=_peak, args=(overrides, batches or 2, queue))
        process.start()
        rows.append({"what": what, "MB": queue.get()})
        process.join()
    return rows


def main() -> None:
    """Measure, print and write."""
    global MEASURED
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder for speed.json")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each algorithm")
    parser.add_argument("--iterations", type=int, default=12, help="iterations that count in each run")
    parser.add_argument("--seconds", type=float, default=MEASURED, help="for which a step is measured (default: 1)")
    parser.add_argument("--device", default="cpu", help="where everything runs, such as cuda")
    parser.add_argument(
        "--only", nargs="*", default=None, help="blocks: steps, 'grid worlds', estimator, iterations, memory"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    device, MEASURED = arguments.device, arguments.seconds
    blocks: dict[str, Callable[[], list[dict]]] = {
        # First, since the peak of a process starts out as that of its parent.
        "memory": memory_rows,
        "steps": lambda: [
            *(row for n_envs in (256, 2048) for row in matrix_steps(n_envs, device)),
            *(row for n_envs in (1024, 8192) for n_agents in (2, 8) for row in coin_steps(n_envs, n_agents, device)),
        ],
        "grid worlds": lambda: [row for n_envs in (64, 256) for row in grid_steps(n_envs, device)],
        "estimator": lambda: [row for n_agents in (2,) for row in estimator_rows(n_agents, device)],
        "iterations": lambda: iteration_rows(arguments.rounds, arguments.iterations, device),
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / "speed.json"
    packages = ["benchmarl", "torchrl", "tensordict", "torch", *(["jaxmarl"] if find_spec("jaxmarl") else [])]
    setting = {
        "command": "python examples/benchmarks/speed.py " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "threads": 1,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        **{package: version(package) for package in packages},
    }
    for name, measure in blocks.items():
        if arguments.only is not None and name not in arguments.only:
            continue
        table = pd.DataFrame(measure())
        # A block at a time: what was measured stays if a later one fails.
        content = json.loads(file.read_text()) if file.is_file() else {}
        rows = [
            {key: value for key, value in row.items() if value is not None}
            for row in json.loads(table.to_json(orient="records"))
        ]
        file.write_text(json.dumps({**content, name: {"setting": setting, "rows": rows}}, indent=1))
        sys.stdout.write(table.to_string(index=False, float_format=lambda x: f"{x:,.3f}", na_rep="") + "\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
