"""How long the Reciprocator takes against IPPO, how much memory it needs, and whether either got worse.

Times are CPU seconds of one thread, and what is compared are ratios within one process: other work on the machine, and
the machine itself, then matter least.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator.plugin.benchmarl_private import add_callback, without_progress_bar
from benchmarl_reciprocator.plugin.experiments import load_experiment

# In this order: the others are compared with the first.
ALGORITHMS = ("ippo", "reciprocator")
PARTS = ("iteration", "collection", "reciprocity", "training")
# In the first ones policies stay frozen, and memory is asked for that is used again later.
NOT_COUNTED = 4
QUIET = ("experiment.evaluation=False", "experiment.create_json=False", "experiment.loggers=[]")

Row = dict[str, Any]


class Turns:
    """Lets threads run one at a time, in turn.

    Args:
        n (int): number of threads, which are called ``0`` to ``n - 1``.
    """

    def __init__(self, n: int) -> None:
        self._queue = list(range(n))
        self._changed = threading.Condition()

    def wait(self, who: int) -> None:
        """Go on when it is the turn of ``who``, which must be the calling thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue[0] == who)

    def pass_on(self, who: int) -> None:
        """Let all others have a turn first."""
        with self._changed:
            self._queue.append(self._queue.pop(0))
            self._changed.notify_all()
        self.wait(who)

    def leave(self, who: int) -> None:
        """Take no more turns."""
        with self._changed:
            self._queue.remove(who)
            self._changed.notify_all()


class Stopwatch(Callback):
    """CPU seconds of the parts of every iteration, with the turn passed on after each of them.

    An iteration is counted from the end of a collection to the end of the next: what comes of the batch, training,
    collection.
    """

    def __init__(self, turns: Turns, who: int) -> None:
        super().__init__()
        self.turns, self.who = turns, who
        self.iterations: list[dict[str, float]] = []
        self.marks: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        # BenchMARL pickles the callbacks with the experiment's configuration.
        return {}

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        if self.marks:
            *marks, now = *self.marks, time.process_time()
            start, seen, trained = marks[0], marks[1], marks[-1]
            lengths = (now - start, now - trained, seen - start, trained - seen)
            self.iterations.append(dict(zip(PARTS, lengths)))
        self.turns.pass_on(self.who)
        self.marks = [time.process_time()]

    def on_train_end(self, training_td: TensorDictBase, group: str) -> None:
        self.marks.append(time.process_time())


class LastStopwatch(Callback):
    """Tells a stopwatch when all other callbacks have had the batch."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self.stopwatch = stopwatch

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.stopwatch.marks.append(time.process_time())


def iteration_rows(preset: str, iterations: int, overrides: Iterable[str] = ()) -> list[Row]:
    """Iterations of the Reciprocator and of IPPO by turns in one process, with one thread.

    Args:
        preset (str): which preset.
        iterations (int): how many of each algorithm count.
        overrides (iterable of str): Hydra overrides besides.

    Returns:
        list of dict: by algorithm and part, the median CPU ``"seconds"``, and the ``"ratio"`` to a whole iteration of
        IPPO: the median over pairs of iterations that followed on each other.
    """
    turns = Turns(len(ALGORITHMS))
    watches = [Stopwatch(turns, who) for who in range(len(ALGORITHMS))]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, without_progress_bar():
        experiments = []
        for algorithm, watch in zip(ALGORITHMS, watches):
            options = [
                f"algorithm={algorithm}",
                f"+preset={preset}",
                f"experiment.max_n_iters={iterations + NOT_COUNTED + 1}",
                f"experiment.save_folder={folder}",
            ]
            experiments.append(load_experiment([*options, *QUIET, *overrides], callbacks=[watch]))
            add_callback(experiments[-1], LastStopwatch(watch))

        def run(who: int) -> None:
            torch.set_num_threads(1)
            turns.wait(who)
            try:
                experiments[who].run()
            finally:
                turns.leave(who)

        with ThreadPoolExecutor(len(ALGORITHMS)) as pool:
            for done in [pool.submit(run, who) for who in range(len(ALGORITHMS))]:
                done.result()
    torch.set_num_threads(threads_before)
    counted = [watch.iterations[-iterations:] for watch in watches]
    rows = []
    for algorithm, measured in zip(ALGORITHMS, counted):
        for part in PARTS:
            pairs = zip(measured, counted[0])
            ratio = statistics.median(ours[part] / theirs["iteration"] for ours, theirs in pairs)
            seconds = statistics.median(one[part] for one in measured)
            rows.append({"what": f"{preset}, {algorithm}, {part}", "seconds": seconds, "ratio": ratio})
    return rows


def _peak(overrides: list[str], queue: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, without_progress_bar():
        load_experiment([*overrides, f"experiment.save_folder={folder}"]).run()
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory_rows(n_envs: int = 1024, iterations: int = 22, further: Iterable[str] = ()) -> list[Row]:
    """Peak resident memory in MiB of a process that trains on Coins, each algorithm in one of its own.

    Args:
        n_envs (int): number of environments, each collected from for 32 steps.
        iterations (int): how many; the estimator's buffer is full after as many as its ``buffer_batches``, by default
            20. One pass of PPO over each batch: more take time and no memory.
        further (iterable of str): Hydra overrides besides.
    """
    overrides = [
        "+preset=coins_lenient",
        f"experiment.on_policy_n_envs_per_worker={n_envs}",
        f"experiment.on_policy_collected_frames_per_batch={n_envs * 32}",
        "experiment.on_policy_n_minibatch_iters=1",
        f"experiment.max_n_iters={iterations}",
        *QUIET,
        *further,
    ]
    rows: list[Row] = []
    # What a process has used at most starts out as what its parent has: spawned ones begin anew.
    context = multiprocessing.get_context("spawn")
    for algorithm in ALGORITHMS:
        own = ["algorithm.reciprocity_delay=0"] if algorithm == "reciprocator" else []
        queue = context.SimpleQueue()
        process = context.Process(target=_peak, args=([f"algorithm={algorithm}", *overrides, *own], queue))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(
                f"the process that measured {algorithm}'s memory ended with exit code {process.exitcode}"
            )
        peak = queue.get()
        ratio = peak / rows[0]["MiB"] if rows else 1.0
        rows.append({"what": f"peak memory, coins, {n_envs} x 32, {algorithm}", "MiB": peak, "ratio": ratio})
    return rows


IMPORT = "import time; import benchmarl; before = time.process_time(); {}; print(before, time.process_time() - before)"


def import_rows(rounds: int = 5) -> list[Row]:
    """CPU seconds of ``import benchmarl``, and of this package's import and registration after it, in fresh processes:
    medians. Modules are compiled, as those of an installed package are from their second import on.
    """
    code = IMPORT.format("import benchmarl_reciprocator")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    measured = []
    for _ in range(1 + rounds):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        measured.append([float(number) for number in done.stdout.split()[-2:]])
    theirs, ours = (statistics.median(column) for column in zip(*measured[1:]))
    return [
        {"what": "import benchmarl", "seconds": theirs, "ratio": 1.0},
        {"what": "import benchmarl_reciprocator after it", "seconds": ours, "ratio": ours / theirs},
    ]


def worse(now: Sequence[Row], before: Sequence[Row], tolerance: float) -> list[str]:
    """What got slower or larger, a line each.

    Args:
        now (sequence of dict): rows with ``"what"`` and ``"ratio"``.
        before (sequence of dict): those that they are compared with, by ``"what"``; rows on one side only are not.
        tolerance (float): by how much a ratio may be greater, in units of a whole iteration of IPPO, its memory or its
            import.
    """
    earlier = {row["what"]: row["ratio"] for row in before}
    return [
        f"{row['what']}: {row['ratio']:.3f}, was {earlier[row['what']]:.3f}"
        for row in now
        if row["what"] in earlier and row["ratio"] > earlier[row["what"]] + tolerance
    ]


def read_rows(file: Path) -> list[Row]:
    """The rows of a ``speed.json``.

    Raises:
        ValueError: if there is no such file, or it holds none.
    """
    try:
        return [
            {"what": str(row["what"]), "ratio": float(row["ratio"])} for row in json.loads(file.read_text())["rows"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--against must be a speed.json of this command, but is {str(file)!r} ({error!r})") from error
