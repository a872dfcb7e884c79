"""What a suite says that it is to find out: its section ``study``, and where a suite's folder keeps it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarl_reciprocator.evaluation.records import slug, write_json
from benchmarl_reciprocator.evaluation.reports.ordered import OF_TRAINING

# The folder of a suite's folder in which every suite that was run there leaves its study
FOLDER = "studies"
# Outcomes that every suite knows, besides those that begin with one of PREFIXES
OUTCOMES = (
    "cooperation",
    "return",
    "worst_off",
    "normalised",
    "equality",
    "sustainability",
    "peace",
    *OF_TRAINING,
    "seconds",
    "cpu_seconds",
)
# Of a column of final.csv, and of what a Reciprocator logged, without "reciprocity/" and the agents' numbers
MEASURE, DIAGNOSTIC = PREFIXES = ("measure/", "diagnostic/")
KEYS = {"question", "outcomes", "varied", "baseline"}
KEYS_OF_VARIED = {"name", "unit", "log", "values", "baseline"}


@dataclass(frozen=True)
class Varied:
    """What is varied from one task or population of a suite to the next.

    Args:
        name (str): what it is.
        unit (str): of its values, empty where they have none.
        log (bool): whether the axis is logarithmic.
        of_tasks (bool): whether tasks differ in it, or populations.
        values (dict): by task or population its value: numbers, or names of what has no order.
        baseline (str, optional): the task or population to which the others are compared.
    """

    name: str
    unit: str
    log: bool
    of_tasks: bool
    values: dict[str, float | str]
    baseline: str | None

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return not any(isinstance(value, str) for value in self.values.values())

    @property
    def label(self) -> str:
        """Its name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def points(self, tasks: Collection[str], populations: Collection[str]) -> list[tuple[str, str, str]]:
        """Task, population and which of the two is the value, of all that it is varied over."""
        if self.of_tasks:
            return [(value, line, value) for line in populations for value in self.values]
        return [(line, value, value) for line in tasks for value in self.values]


@dataclass(frozen=True)
class Study:
    """What a suite is to find out.

    Args:
        question (str): a sentence.
        outcomes (dict): scores and measures by which it is answered, see :data:`OUTCOMES` and :data:`PREFIXES`, each
            with the largest difference that counts as none; ``None`` where that is not judged.
        varied (tuple of Varied): each by itself.
        baseline (str, optional): the population to which the others are compared.
    """

    question: str
    outcomes: dict[str, float | None]
    varied: tuple[Varied, ...]
    baseline: str | None


def read_study(section: Any, tasks: Collection[str], populations: Collection[str]) -> Study:
    """The study that a suite's section ``study`` describes.

    Args:
        section (mapping): ``question``; ``outcomes``, by name the largest difference that counts as none, or null;
            ``varied``, a list of mappings with ``name``, ``values`` (by task, or by population) and, where wanted,
            ``unit``, ``log`` and ``baseline`` (one of the values' names); and, where wanted, ``baseline``, a
            population. Values by names that the suite has not, as when a task is taken out of it, are left out with a
            warning.
        tasks (collection of str): the names of the suite's tasks.
        populations (collection of str): those of its populations.

    Raises:
        ValueError: if it is not of that form, naming the key, the value and what it must be.
    """
    _check_keys("suite.study", section, KEYS, {"question", "outcomes", "varied"})
    _check("suite.study.question", section["question"], _text(section["question"]), "a sentence")
    outcomes = section["outcomes"]
    _check("suite.study.outcomes", outcomes, isinstance(outcomes, Mapping) and bool(outcomes), "a mapping of outcomes")
    for name, margin in outcomes.items():
        known = name in OUTCOMES or (isinstance(name, str) and name.startswith(PREFIXES) and name not in PREFIXES)
        words = f"{', '.join(OUTCOMES)}, {MEASURE}<column of final.csv> or {DIAGNOSTIC}<name>"
        _check("an entry of suite.study.outcomes", name, known, f"one of {words}")
        positive = margin is None or (_number(margin) and margin > 0)
        _check(f"suite.study.outcomes.{name}", margin, positive, "null or the difference > 0 that counts as none")
    varied = section["varied"]
    _check("suite.study.varied", varied, isinstance(varied, list) and bool(varied), "a list of what is varied")
    baseline = section.get("baseline")
    one_of = f"null or one of the populations {', '.join(populations)}"
    _check("suite.study.baseline", baseline, baseline is None or baseline in populations, one_of)
    read = tuple(
        _read_varied(f"suite.study.varied[{number}]", one, tasks, populations) for number, one in enumerate(varied)
    )
    return Study(section["question"], dict(outcomes), read, baseline)


def _read_varied(key: str, section: Any, tasks: Collection[str], populations: Collection[str]) -> Varied:
    _check_keys(key, section, KEYS_OF_VARIED, {"name", "values"})
    _check(f"{key}.name", section["name"], _text(section["name"]), "a name")
    unit, log, baseline = section.get("unit") or "", section.get("log", False), section.get("baseline")
    _check(f"{key}.unit", unit, isinstance(unit, str), "a unit")
    _check(f"{key}.log", log, isinstance(log, bool), "true or false")
    values = section["values"]
    _check(f"{key}.values", values, isinstance(values, Mapping) and bool(values), "a mapping with at least one entry")
    values = {str(name): value for name, value in values.items()}
    of_tasks, of_populations = bool(set(values) & set(tasks)), bool(set(values) & set(populations))
    _check(
        f"{key}.values",
        list(values),
        of_tasks != of_populations,
        f"by names of tasks ({', '.join(tasks)}) or of populations ({', '.join(populations)})",
    )
    numeric = all(map(_number, values.values()))
    _check(f"{key}.values", values, numeric or all(map(_text, values.values())), "all numbers, or all names")
    above_zero = numeric and min(values.values()) > 0
    _check(f"{key}.log", log, above_zero or not log, "false where not all values are numbers > 0")
    one_of = f"null or one of {', '.join(values)}"
    _check(f"{key}.baseline", baseline, baseline is None or baseline in values, one_of)
    there = tasks if of_tasks else populations
    missing = [name for name in values if name not in there]
    if missing:
        kind = "tasks" if of_tasks else "populations"
        warnings.warn(
            f"{key}.values names {', '.join(missing)}, which the suite has not in its {kind}: left out of the study",
            stacklevel=4,
        )
        values = {name: value for name, value in values.items() if name in there}
        baseline = baseline if baseline in values else None
    return Varied(section["name"], unit, log, of_tasks, values, baseline)


def keep_study(folder: Path, suite: str, section: Any, tasks: Collection[str], populations: Collection[str]) -> None:
    """Write a suite's section ``study`` into the suite's folder, where :func:`kept_studies` finds it.

    Args:
        folder (Path): of the suite, or of several.
        suite (str): its name, by which an earlier section is replaced.
        section (mapping): see :func:`read_study`.
        tasks (collection of str): the names of the suite's tasks.
        populations (collection of str): those of its populations.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    content = {"tasks": [*map(str, tasks)], "populations": [*map(str, populations)], "study": section}
    write_json(folder / FOLDER / f"{slug(suite)}.json", content)


def kept_studies(folder: Path) -> tuple[dict[str, Study], list[str]]:
    """The studies of a suite's folder by the name of the suite, and what could not be read of them, and why."""
    studies, skipped = {}, []
    for file in sorted((folder / FOLDER).glob("*.json")):
        try:
            content = json.loads(file.read_text())
            studies[file.stem] = read_study(content["study"], content["tasks"], content["populations"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            skipped.append(f"{file}: {error}")
    return studies, skipped


def _check(key: str, value: Any, valid: bool, must_be: str) -> None:
    if not valid:
        raise ValueError(f"{key} must be {must_be}, but is {value!r}")


def _check_keys(key: str, section: Any, known: set[str], needed: set[str]) -> None:
    valid = isinstance(section, Mapping) and needed <= set(section) <= known
    optional = f", and may have {', '.join(sorted(known - needed))}"
    _check(key, section, valid, f"a mapping with the entries {', '.join(sorted(needed))}{optional}")


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
