"""Who has learned with a scenario's own background: then it is not held out from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarl_reciprocator.agents.setup import read_setup
from benchmarl_reciprocator.algorithms.co_players.options import options_in
from benchmarl_reciprocator.algorithms.mixed import MixedConfig
from benchmarl_reciprocator.evaluation.checkpoints import Checkpoint
from benchmarl_reciprocator.evaluation.pairings import Contestant
from benchmarl_reciprocator.evaluation.scenarios.scenario import Scenario


def trained_with(contestant: Contestant, scenario: Scenario) -> list[str]:
    """The members of a scenario's backgrounds that the agents of a population met in training: in a pool of co-players,
    in a mixed population, or because they are the background themselves.

    Args:
        contestant (Contestant): a trained population, of which one seed stands for all.
        scenario (Scenario): in which it is measured.

    Returns:
        list of str: names of players and of files, without repetition; empty if the background is held out.
    """
    checkpoint = next(iter(contestant.checkpoints.values()))
    met = {*_met(checkpoint, contestant)}
    members = {member for one in scenario.background for member in one.members}
    names = {m.player for m in members if m.player is not None and m.player in met}
    own = {one.file.resolve() for one in contestant.checkpoints.values()}
    files = {m.checkpoint for m in members if m.checkpoint is not None}
    return sorted(names | {file.name for file in files if file.resolve() in own or str(file.resolve()) in met})


def _met(checkpoint: Checkpoint, contestant: Contestant) -> Iterator[str]:
    """Names of players and places of checkpoints that the agents learned with."""
    config = checkpoint.algorithm
    if isinstance(config, MixedConfig):
        yield from config.member_names().values()
        for options in (config.overrides or {}).values():
            if "checkpoint" in options:
                yield str(Path(options["checkpoint"]).resolve())
    pool = options_in(read_setup(checkpoint.file).experiment)
    if pool is None:
        return
    own = [name for name, seats in checkpoint.seats_by_member().items() if set(seats) & set(contestant.seats)]
    if pool.learners is not None and set(own).isdisjoint(pool.learners):
        return
    # As they were given: a checkpoint need not be there any more.
    for given in pool.pool:
        entry = given if isinstance(given, Mapping) else {"player": given}
        if "player" in entry:
            yield str(entry["player"])
        if "checkpoint" in entry:
            yield str(Path(entry["checkpoint"]).resolve())
