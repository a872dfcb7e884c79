"""The quick start: five populations on the iterated prisoner's dilemma, a table and learning curves.

    python -m benchmarl_reciprocator.quickstart --help

Every run is an ordinary BenchMARL experiment. Results are on disk as they come; the same command goes on with
what is missing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shlex
import shutil
import sys
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from tqdm import tqdm

from benchmarl_reciprocator.experiments import load_experiment
from benchmarl_reciprocator.results import final_rows, interval, plot_learning_curves, read_evaluations

RECORD = "run.json"
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


class Progress(Callback):
    """Tells the process that shows the bar of every iteration."""

    queue: Any = None

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        if Progress.queue is not None:
            Progress.queue.put(1)


def _connect(queue: Any) -> None:
    Progress.queue = queue


def run(folder: Path, population: Population, seed: int, overrides: list[str]) -> None:
    """Train one population with one seed in ``folder`` and leave a record of it there."""
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    started = time.perf_counter()
    experiment = load_experiment(
        [
            *population.overrides,
            "+preset=prisoners_dilemma",
            f"seed={seed}",
            f"experiment.save_folder={folder}",
            *overrides,
        ],
        callbacks=[Progress()],
    )
    experiment.run()
    record = {
        "population": population.name,
        "seed": seed,
        "overrides": overrides,
        "json": str(Path(experiment.logger.json_writer.path).relative_to(folder)),
        "seconds": round(time.perf_counter() - started, 1),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))


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
    overrides = [f"experiment.max_n_iters={arguments.iterations}", "experiment.loggers=[]", *arguments.overrides]
    folder = arguments.folder.resolve()
    failures = run_missing(folder, populations, overrides, arguments)
    table = report(folder, failures)
    sys.stdout.write(f"\n{table}\n\nEverything is in {arguments.folder}/\n")
    return 1 if failures else 0


def run_missing(
    folder: Path, populations: list[Population], overrides: list[str], arguments: argparse.Namespace
) -> list[str]:
    """Run every population and seed that has no record with the same overrides yet; returns the failures, a
    line each.
    """
    jobs = {}
    for seed in range(arguments.seeds):
        for population in populations:
            run_folder = folder / "runs" / f"{_slug(population.name)}_seed_{seed}"
            if not _is_done(run_folder, overrides):
                jobs[run_folder] = (population, seed)
    failures = []
    # Read by the bars of the runs' own processes, not by this one's.
    os.environ["TQDM_DISABLE"] = "1"
    context = get_context("spawn")
    progress = context.SimpleQueue()
    with (
        ProcessPoolExecutor(arguments.processes, context, initializer=_connect, initargs=(progress,)) as pool,
        tqdm(total=len(jobs) * arguments.iterations, unit="iteration", smoothing=0.05) as bar,
    ):
        futures = {}
        for run_folder, (population, seed) in jobs.items():
            # What a killed run left is of no use: it had no checkpoint.
            shutil.rmtree(run_folder, ignore_errors=True)
            run_folder.mkdir(parents=True)
            future = pool.submit(run, run_folder, population, seed, overrides)
            futures[future] = f"{population.name}, seed {seed}"
        waiting = set(futures)
        while waiting:
            time.sleep(0.2)
            while not progress.empty():
                bar.update(progress.get())
            for future in [future for future in waiting if future.done()]:
                waiting.remove(future)
                error = future.exception()
                if error is not None:
                    failures.append(f"{futures[future]}: {''.join(traceback.format_exception_only(error)).strip()}")
                bar.set_postfix_str(f"{len(futures) - len(waiting)}/{len(futures)} runs")
        while not progress.empty():
            bar.update(progress.get())
    return failures


def report(folder: Path, failures: list[str]) -> str:
    """Write evaluations, runs, table, curves and setting of all that is in ``folder``; returns the table."""
    evaluations, runs = [], []
    for record_file in sorted(folder.glob(f"runs/*/{RECORD}")):
        record = json.loads(record_file.read_text())
        frame = read_evaluations(record_file.parent / record["json"])
        evaluations.append(frame.assign(population=record["population"]))
        run = {key: record[key] for key in ("population", "seed", "seconds")}
        runs.append({**run, "frames": frame["frames"].max()})
    lines = [f"FAILED {failure}" for failure in failures]
    if not evaluations:
        return "\n".join(["no run has finished", *lines])
    evaluations = pd.concat(evaluations, ignore_index=True)
    evaluations.to_csv(folder / "evaluations.csv", index=False, float_format="%.4f")
    runs = pd.DataFrame(runs)
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
    _add_setting(folder / "setting.json")
    note = "mean [lowest, highest] over seeds, of the last fifth of training, by evaluation with sampled actions"
    text = "\n".join([_markdown(table), "", note, *lines])
    (folder / "table.md").write_text(text + "\n")
    return text


def setting() -> dict[str, Any]:
    """The command, hardware and versions behind the results."""
    packages = ("benchmarl-reciprocator", "benchmarl", "torchrl", "tensordict", "torch")
    return {
        "command": shlex.join(["python", "-m", "benchmarl_reciprocator.quickstart", *sys.argv[1:]]),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _add_setting(file: Path) -> None:
    """A folder can be filled by several commands: the setting of each is kept."""
    now = setting()
    earlier = [entry for entry in json.loads(file.read_text()) if entry != now] if file.is_file() else []
    file.write_text(json.dumps([*earlier, now], indent=1))


def _is_done(run_folder: Path, overrides: list[str]) -> bool:
    try:
        record = json.loads((run_folder / RECORD).read_text())
        return record["overrides"] == overrides and (run_folder / record["json"]).is_file()
    except (OSError, json.JSONDecodeError, KeyError):
        return False


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name.lower()).strip("_")


def _markdown(table: pd.DataFrame) -> str:
    cells = [list(table.columns), *table.astype(str).values.tolist()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    rows = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]])


if __name__ == "__main__":
    sys.exit(main())
