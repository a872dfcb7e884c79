"""A suite: populations x tasks x seeds as runs, each with a folder of its own by what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarl_reciprocator.evaluation.layout import FAILURE, PROGRESS, record_of
from benchmarl_reciprocator.evaluation.records import slug


@dataclass(frozen=True)
class Run:
    """One run of a suite.

    Args:
        task (str): the task's name in the suite.
        population (str): the population's.
        seed (int): of everything.
        overrides (tuple of str): BenchMARL overrides that make it, without the seed.
    """

    task: str
    population: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Its folder below a suite's ``runs/``: the same for the same overrides, and for no others."""
        digest = hashlib.sha1("\n".join(self.overrides).encode()).hexdigest()[:8]
        return f"{slug(self.task)}/{slug(self.population)}-{digest}/seed_{self.seed}"


def expand(suite: Mapping[str, Any], common: Sequence[str] = ()) -> list[Run]:
    """All runs of a suite, the first seed of everything first.

    Args:
        suite (mapping): ``seeds``, a number or a list; ``tasks`` and ``populations``, by name a list of overrides, or
            the name of a BenchMARL task or algorithm.
        common (sequence of str): overrides of every run, on top.

    Raises:
        ValueError: if the suite is not of that form, naming the key, the value and what it must be.
    """
    unknown = set(suite) - {"seeds", "tasks", "populations"}
    if unknown:
        raise ValueError(f"suite must have the entries seeds, tasks and populations, but has {sorted(unknown)} too")
    seeds = suite.get("seeds")
    if isinstance(seeds, int) and seeds >= 1:
        seeds = range(seeds)
    elif not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise ValueError(f"suite.seeds must be an integer >= 1, or a list of seeds >= 0, but is {seeds!r}")
    tasks = _overrides_by_name(suite, "tasks", "task")
    populations = _overrides_by_name(suite, "populations", "algorithm")
    return [
        Run(task, population, seed, (*task_overrides, *population_overrides, *common))
        for seed in dict.fromkeys(seeds)
        for task, task_overrides in tasks.items()
        for population, population_overrides in populations.items()
    ]


def _overrides_by_name(suite: Mapping[str, Any], entry: str, group: str) -> dict[str, list[str]]:
    named = suite.get(entry)
    if not (isinstance(named, Mapping) and named):
        raise ValueError(f"suite.{entry} must be a mapping with at least one entry, but is {named!r}")
    by_name = {}
    for name, value in named.items():
        if isinstance(value, str):
            value = [f"{group}={value}"]
        article = "an" if group[0] in "aeiou" else "a"
        if not (isinstance(value, list) and value and all(isinstance(override, str) for override in value)):
            raise ValueError(
                f"suite.{entry}.{name} must be the name of {article} {group}, or a list of overrides, but is {value!r}"
            )
        by_name[str(name)] = value
    return by_name


def is_done(folder: Path, run: Run) -> bool:
    """Whether ``run`` has finished in ``folder``, the suite's ``runs/``. A half-written record does not count."""
    place = folder / run.folder
    record = record_of(place)
    try:
        return record is not None and (place / json.loads(record.read_text())["json"]).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def iterations_done(folder: Path, runs: Sequence[Run]) -> int:
    """Iterations that ``runs`` have done so far, finished or not."""
    total = 0
    for run in runs:
        try:
            total += int((folder / run.folder / PROGRESS).read_text())
        except (OSError, ValueError):
            continue
    return total


def failure(folder: Path, run: Run) -> str:
    """Why ``run`` has not finished, in a line."""
    try:
        return (folder / run.folder / FAILURE).read_text().strip().splitlines()[-1]
    except (OSError, IndexError):
        return "did not finish, and left no reason: its process was ended from outside"
