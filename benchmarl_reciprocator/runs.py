"""Runs many experiments, a process for each core, and keeps what each leaves: killed, it goes on where it was."""

from __future__ import annotations

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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
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
from benchmarl_reciprocator.results import read_evaluations

RECORD = "run.json"


@dataclass(frozen=True)
class Job:
    """One run: who plays what, by the overrides of BenchMARL's command line.

    Args:
        population (str): a name for tables and figures, the same for all seeds.
        overrides (tuple of str): what makes the population, its task and its options.
        iterations (int): iterations of training.
        seed (int): of everything.
    """

    population: str
    overrides: tuple[str, ...]
    iterations: int
    seed: int

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        slug = "".join(character if character.isalnum() else "_" for character in self.population.lower()).strip("_")
        return f"{slug}_seed_{self.seed}"


class Progress(Callback):
    """Tells the process that shows the bar of every iteration."""

    queue: Any = None

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        if Progress.queue is not None:
            Progress.queue.put(1)


def _connect(queue: Any) -> None:
    Progress.queue = queue


def run(folder: Path, job: Job) -> None:
    """Do ``job`` in ``folder`` on one thread, and leave a record of it there once it has finished."""
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    started, worked = time.perf_counter(), time.process_time()
    experiment = load_experiment(
        [
            *job.overrides,
            f"seed={job.seed}",
            f"experiment.max_n_iters={job.iterations}",
            "experiment.loggers=[]",
            f"experiment.save_folder={folder}",
        ],
        callbacks=[Progress()],
    )
    experiment.run()
    record = {
        **asdict(job),
        "json": str(Path(experiment.logger.json_writer.path).relative_to(folder)),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))


def run_missing(folder: Path, jobs: Sequence[Job], processes: int) -> list[str]:
    """Do every job that has no record with the same overrides yet.

    Args:
        folder (Path): where the runs go, each in a folder of its own under ``runs/``.
        jobs (sequence of Job): what there is to do.
        processes (int): runs at a time.

    Returns:
        list[str]: the failures, a line each. The other runs stand.
    """
    missing = {folder / "runs" / job.folder: job for job in jobs}
    missing = {run_folder: job for run_folder, job in missing.items() if not _is_done(run_folder, job)}
    failures = []
    # Read by the bars of the runs' own processes, not by this one's.
    os.environ["TQDM_DISABLE"] = "1"
    context = get_context("spawn")
    progress = context.SimpleQueue()
    with (
        ProcessPoolExecutor(processes, context, initializer=_connect, initargs=(progress,)) as pool,
        tqdm(total=sum(job.iterations for job in missing.values()), unit="iteration", smoothing=0.05) as bar,
    ):
        futures = {}
        for run_folder, job in missing.items():
            # What a killed run left is of no use: it had no checkpoint.
            shutil.rmtree(run_folder, ignore_errors=True)
            run_folder.mkdir(parents=True)
            futures[pool.submit(run, run_folder, job)] = job
        waiting = set(futures)
        while waiting:
            time.sleep(0.2)
            while not progress.empty():
                bar.update(progress.get())
            for future in [future for future in waiting if future.done()]:
                waiting.remove(future)
                error = future.exception()
                if error is not None:
                    reason = "".join(traceback.format_exception_only(error)).strip()
                    failures.append(f"{futures[future].population}, seed {futures[future].seed}: {reason}")
                bar.set_postfix_str(f"{len(futures) - len(waiting)}/{len(futures)} runs")
        while not progress.empty():
            bar.update(progress.get())
    return failures


def _is_done(run_folder: Path, job: Job) -> bool:
    try:
        record = json.loads((run_folder / RECORD).read_text())
        same = record["overrides"] == list(job.overrides) and record["iterations"] == job.iterations
        return same and (run_folder / record["json"]).is_file()
    except (OSError, json.JSONDecodeError, KeyError):
        return False


def collect(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All that the finished runs under ``folder`` left.

    Args:
        folder (Path): as for :func:`run_missing`.

    Returns:
        tuple[DataFrame, DataFrame]: a row for each evaluation, see
        :func:`~benchmarl_reciprocator.results.read_evaluations`, with its ``population``; and a row for each run:
        ``population``, ``seed``, ``seconds``, ``cpu_seconds``, ``frames``. Both are empty if no run has finished.
    """
    evaluations, runs = [], []
    for record_file in sorted(folder.glob(f"runs/*/{RECORD}")):
        record = json.loads(record_file.read_text())
        frame = read_evaluations(record_file.parent / record["json"])
        evaluations.append(frame.assign(population=record["population"]))
        entries = {key: record[key] for key in ("population", "seed", "seconds", "cpu_seconds")}
        runs.append({**entries, "frames": frame["frames"].max()})
    if not runs:
        return pd.DataFrame(), pd.DataFrame()
    return pd.concat(evaluations, ignore_index=True), pd.DataFrame(runs)


def add_setting(file: Path, program: str) -> None:
    """Note the command, hardware and versions behind results. A folder can be filled by several commands: the setting
    of each is kept.

    Args:
        file (Path): json, a list with an entry for each command.
        program (str): the command without its arguments, such as ``"python -m benchmarl_reciprocator.quickstart"``.
    """
    packages = ("benchmarl-reciprocator", "benchmarl", "torchrl", "tensordict", "torch")
    now = {
        "command": " ".join([program, shlex.join(sys.argv[1:])]).strip(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    earlier = [entry for entry in json.loads(file.read_text()) if entry != now] if file.is_file() else []
    file.write_text(json.dumps([*earlier, now], indent=1))
