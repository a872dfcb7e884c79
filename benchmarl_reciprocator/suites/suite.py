"""A suite: populations x tasks x seeds as runs, each with a folder of its own by what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from omegaconf import OmegaConf

from benchmarl_reciprocator.evaluation.layout import FAILURE, PROGRESS, find_records, record_of
from benchmarl_reciprocator.evaluation.locks import in_use
from benchmarl_reciprocator.evaluation.records import LONGEST, slug
from benchmarl_reciprocator.evaluation.reports.study import read_study


@dataclass(frozen=True)
class Run:
    """One run of a suite.

    Args:
        task (str): the task's name in the suite.
        population (str): the population's.
        seed (int): of everything.
        overrides (tuple of str): BenchMARL overrides that make it, without the seed.
        apart (bool): whether the names count for its folder in full, see :func:`told_apart`.
    """

    task: str
    population: str
    seed: int
    overrides: tuple[str, ...]
    apart: bool = False

    @property
    def folder(self) -> str:
        """Its folder below a suite's ``runs/``: the same for the same overrides, and for no others."""
        names = (self.task, self.population)
        ordinary = all(name.isascii() and len(name) <= LONGEST for name in names)
        lines = self.overrides if ordinary and not self.apart else (json.dumps(names), *self.overrides)
        digest = hashlib.sha1("\n".join(lines).encode()).hexdigest()[:8]
        return f"{slug(self.task)}/{slug(self.population)}-{digest}/seed_{self.seed}"


def expand(suite: Mapping[str, Any], common: Sequence[str] = ()) -> list[Run]:
    """All runs of a suite, the first seed of everything first.

    Args:
        suite (mapping): ``seeds``, a number or a list; ``tasks`` and ``populations``, by name a list of overrides, or
            the name of a BenchMARL task or algorithm; and, where it is to answer a question, ``study``, see
            :func:`~benchmarl_reciprocator.evaluation.reports.study.read_study`.
        common (sequence of str): overrides of every run, on top.

    Raises:
        ValueError: if the suite is not of that form, naming the key, the value and what it must be.
    """
    unknown = set(suite) - {"seeds", "tasks", "populations", "study"}
    if unknown:
        raise ValueError(
            "suite must have the entries seeds, tasks and populations, and may have study, but has "
            f"{sorted(unknown)} too"
        )
    seeds = suite.get("seeds")
    if isinstance(seeds, int) and seeds >= 1:
        seeds = range(seeds)
    elif not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise ValueError(f"suite.seeds must be an integer >= 1, or a list of seeds >= 0, but is {seeds!r}")
    tasks = _overrides_by_name(suite, "tasks", "task")
    populations = _overrides_by_name(suite, "populations", "algorithm")
    if suite.get("study") is not None:
        read_study(suite["study"], tasks, populations)
    return [
        Run(task, population, seed, (*task_overrides, *population_overrides, *common))
        for seed in dict.fromkeys(seeds)
        for task, task_overrides in tasks.items()
        for population, population_overrides in populations.items()
    ]


def told_apart(runs: Sequence[Run], folder: Path) -> list[Run]:
    """The same runs with folders that no two names share: not ``lr 1`` and ``lr_1``, nor ``Mine`` and ``mine``.

    Who comes first keeps the folder of that name: on disk, else in the suite.

    Args:
        runs (sequence of Run): all of a suite.
        folder (Path): the suite's ``runs/``, which need not be there yet.
    """
    owners: dict[PurePath, tuple[str, str]] = {}
    for run in runs:
        place = PurePath(run.folder).parent
        if place not in owners:
            owners[place] = _owner(folder / place) or (run.task, run.population)
    return [replace(run, apart=owners[PurePath(run.folder).parent] != (run.task, run.population)) for run in runs]


def _owner(place: Path) -> tuple[str, str] | None:
    """The task and the population whose runs are in ``place``, by a record or by the config that Hydra leaves."""
    for file in (*find_records(place), *sorted(place.glob("*/.hydra/config.yaml"))):
        try:
            content: Any = OmegaConf.load(file)
            names = content.run if file.name == "config.yaml" else content
            return str(names.task), str(names.population)
        except Exception:  # a file that was being written when the run was killed fails in all kinds of ways
            continue
    return None


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
    return has_record(folder / run.folder)


def has_record(place: Path) -> bool:
    """Whether the run in the folder ``place`` has finished."""
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
    other = in_use(folder / run.folder)
    if other is not None:
        return f"left to the process that is at it: its folder {other}"
    try:
        return (folder / run.folder / FAILURE).read_text(encoding="utf-8").strip().splitlines()[-1]
    except (OSError, IndexError):
        return "did not finish, and left no reason: its process was ended from outside"
