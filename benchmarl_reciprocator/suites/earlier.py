"""What earlier runs of a suite were made with, where that is not what they would be made with today."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmarl_reciprocator.suites.suite import Run

# What makes a run; all else in its configuration says where it goes.
OF_A_RUN = ("experiment", "algorithm", "task", "model", "critic_model", "co_players")
ELSEWHERE = ("experiment.save_folder",)
# Longer lists say no more.
MOST_NAMED = 3


def made_otherwise(folder: Path, runs: Sequence[Run], compose: Callable[[Run], DictConfig]) -> list[str]:
    """Populations and tasks whose results have the folder of a run, but not its options: a preset has changed since.

    A run's folder goes by its overrides, and those name presets. Options that one of the two lacks, as an older version
    does, are not compared.

    Args:
        folder (Path): the suite's ``runs/``.
        runs (sequence of Run): those whose folders are there.
        compose (callable): the configuration of a run as it is made today.

    Returns:
        list of str: a sentence for each.
    """
    sentences = []
    kinds = {(one.task, one.population): one for one in reversed(runs)}
    for one in reversed(kinds.values()):
        place = folder / one.folder
        try:
            then = _options(OmegaConf.load(place / ".hydra" / "config.yaml"))
            now = _options(compose(one))
        except Exception:  # an unreadable file, or options that are gone: the run itself tells of those
            continue
        changed = [f"{key} was {then[key]!r}, is {now[key]!r}" for key in then if key in now and then[key] != now[key]]
        if changed:
            more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
            sentences.append(
                f"{one.task}, {one.population}: earlier results are kept, which were made with other options "
                f"({'; '.join(changed[:MOST_NAMED])}{more}); delete {place.parent} to make them anew"
            )
    return sentences


def _options(config: Any) -> dict[str, Any]:
    """All options that make a run, by their full key."""
    chosen = {group: config[group] for group in OF_A_RUN if group in config}
    # Interpolations read what is beside them.
    resolved = {group: OmegaConf.to_container(part, resolve=True) for group, part in chosen.items()}
    return {key: value for key, value in _flat(resolved) if key not in ELSEWHERE}


def _flat(mapping: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
