"""The reference set of a scenario: what scripted players come to in the focal seats, between whose worst and best the
returns of trained agents are normalised.

``conf/scenario/reference/<scenario>.yaml`` holds it, as ``benchmarl-reciprocator scenarios --reference`` writes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from omegaconf import OmegaConf

from benchmarl_reciprocator.evaluation.pairings import ALL, Contestant
from benchmarl_reciprocator.evaluation.scenarios.meetings import MeetingRecords, meetings_of
from benchmarl_reciprocator.evaluation.scenarios.scenario import GROUP, Scenario
from benchmarl_reciprocator.extensions import find_yaml, read_mapping
from benchmarl_reciprocator.tasks.options import check_option

REFERENCE = f"{GROUP}/reference"
DIGITS = 4


class Reference(NamedTuple):
    """What is between the worst and the best of a reference set.

    Args:
        returns (mapping): focal per-capita return in an episode of each population, by name.
        committed (bool): whether it is read from a file, not played just now.
    """

    returns: Mapping[str, float]
    committed: bool

    @property
    def worst(self) -> str:
        """Name of the population with the least return."""
        return min(self.returns, key=lambda name: self.returns[name])

    @property
    def best(self) -> str:
        """Name of the population with the largest return."""
        return max(self.returns, key=lambda name: self.returns[name])

    def normalised(self, value: float) -> float:
        """0 for a return as the worst has, 1 for one as the best has."""
        low, high = self.returns[self.worst], self.returns[self.best]
        return (value - low) / (high - low)


def reference_of(scenario: Scenario, table: MeetingRecords) -> Reference:
    """The reference set of a scenario: that of its file, or, where there is none or it is of another version of the
    scenario or its game, what the task's scripted players come to now.

    Raises:
        ValueError: if the file is not of that form, or all come to the same.
    """
    file = find_yaml(REFERENCE, scenario.name)
    returns: dict[str, float] = {}
    committed = False
    if file is not None:
        content = read_mapping(file)
        returns = content.get("returns") or {}
        is_set = isinstance(returns, dict) and all(isinstance(value, int | float) for value in returns.values())
        check_option(f"{file}: returns", returns, is_set, "numbers by name of a population")
        committed = content.get("digest") == scenario.digest
        if not committed:
            warnings.warn(f"{file} is of another version of {scenario.name}: played anew", stacklevel=2)
    if not committed:
        returns = played_reference(scenario, table)
    low, high = (pick(returns.values(), default=0.0) for pick in (min, max))
    check_option(f"{scenario.file}: background", returns, high > low, "such that not all scripted players fare alike")
    return Reference({str(name): float(value) for name, value in returns.items()}, committed)


def played_reference(scenario: Scenario, table: MeetingRecords) -> dict[str, float]:
    """What every scripted player of the task comes to, in all focal seats; those that cannot play it are left out."""
    task = scenario.game()
    env = task.options.make_env(1, "cpu", seed=0)
    returns = {}
    for name, make in task.players().items():
        try:
            make()
        except ValueError:
            continue
        (meeting,) = meetings_of(scenario, task, Contestant(name), env, ALL)
        record = table.record_of(meeting)
        if record is not None:
            returns[name] = round(record["per_capita"], DIGITS)
    return returns


def write_reference(scenario: Scenario, folder: Path) -> Path:
    """Play the reference set of a scenario and write its file.

    Args:
        scenario (Scenario): checked.
        folder (Path): such as ``conf/scenario/reference``.

    Returns:
        Path: the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{scenario.name}.yaml"
    content = {"digest": scenario.digest, "returns": played_reference(scenario, MeetingRecords(None))}
    command = f"benchmarl-reciprocator scenarios --reference {folder.name} --only {scenario.name}"
    text = OmegaConf.to_yaml(OmegaConf.create(content))
    file.write_text(
        f"# Focal per-capita returns of scripted players, {scenario.episodes} episodes each: {command}\n{text}",
        encoding="utf-8",
    )
    return file
