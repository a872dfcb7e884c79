"""The agents that a pool of co-players is made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarl_reciprocator.agents.agent import Agent, ScriptedAgent
from benchmarl_reciprocator.agents.trained import Team, TrainedAgent, agents_for_seats
from benchmarl_reciprocator.algorithms.co_players.options import Entry
from benchmarl_reciprocator.algorithms.scripted import players_of
from benchmarl_reciprocator.tasks.groups import seats

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment


class CoPlayerPool:
    """Who is to be met beside the learners of an experiment.

    Args:
        entries (sequence of Entry): what the pool is made of.
        experiment (Experiment): whose task they play.
        open_seats (sequence of int): where they may be seated.

    Raises:
        ValueError: if the task has no such player, or agents of a checkpoint cannot play it or sit there.
    """

    def __init__(self, entries: Sequence[Entry], experiment: Experiment, open_seats: Sequence[int]) -> None:
        self.entries = list(entries)
        self.weights = torch.tensor([float(entry.weight) for entry in entries])
        self.past = {index: Snapshots(entry) for index, entry in enumerate(entries) if entry.past}
        self._agents: dict[int, list[Agent]] = {}
        for index, entry in enumerate(entries):
            if entry.player is not None:
                self._agents[index] = [_scripted(index, entry.player, experiment)] * _n_agents(experiment)
            elif entry.checkpoint is not None:
                key = f"co_players.pool[{index}]"
                agents: list[Agent] = [*agents_for_seats(experiment, key, Path(entry.checkpoint), entry.agent)]
                _refuse_strange_seats(key, agents, experiment, open_seats)
                self._agents[index] = agents

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Integers ``[n]``, independent draws of entries by their weights; -1 for one that has nobody yet."""
        if n == 0:
            return torch.empty(0, dtype=torch.long)
        entries = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        for index, snapshots in self.past.items():
            if not snapshots.teams:
                entries[entries == index] = -1
        return entries

    def agent(self, entry: int, seat: int, generator: torch.Generator) -> Agent:
        """Who plays an entry in a seat from the next episode on."""
        if entry in self.past:
            return self.past[entry].draw(generator)[seat]
        return self._agents[entry][seat]


class Snapshots:
    """The learners of an experiment as they were at earlier times.

    Args:
        entry (Entry): how often and how many are kept.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.teams: list[list[TrainedAgent]] = []

    def due(self, iteration: int) -> bool:
        """Whether it is time for a snapshot."""
        return iteration % self.entry.period == 0

    def take(self, live: Team) -> None:
        """Keep a copy of the policies as they are now, on the device of ``live``. Where that is not the one on which
        they are trained, ``live`` must be new: it has copies itself.
        """
        self._keep(_copy_of(live))

    def draw(self, generator: torch.Generator) -> list[TrainedAgent]:
        """The agents of one snapshot, by seat."""
        ranks = torch.arange(1.0, len(self.teams) + 1)
        weights = ranks if self.entry.recent else torch.ones_like(ranks)
        return self.teams[int(torch.multinomial(weights, 1, generator=generator))]

    def state_dict(self) -> list[dict[str, Any]]:
        """The parameters of every snapshot's policies, by group."""
        return [
            {group: dict(policy.state_dict()) for group, policy in agents[0].team.policies.items()}
            for agents in self.teams
        ]

    def load_state_dict(self, state: list[dict[str, Any]], live: Team) -> None:
        """Take up the snapshots that :meth:`state_dict` gave."""
        self.teams = []
        for saved in state:
            team = _copy_of(live)
            for group, policy in team.policies.items():
                policy.load_state_dict(saved[group])
            self._keep(team)

    def _keep(self, team: Team) -> None:
        self.teams = [*self.teams, team.agents()][-self.entry.keep :]


def _copy_of(live: Team) -> Team:
    team = copy.copy(live)
    team.policies = copy.deepcopy(live.policies)
    return team


def _scripted(index: int, player: str, experiment: Experiment) -> Agent:
    players = players_of(experiment.task)
    if player not in players:
        raise ValueError(
            f"co_players.pool[{index}] must be a scripted player of task={experiment.task_name} "
            f"({', '.join(players) or 'it has none'}), past or a checkpoint, but is {player!r}"
        )
    if experiment.continuous_actions and not getattr(players[player](), "continuous", False):
        raise ValueError(
            f"co_players.pool[{index}] must be a player with continuous actions where the learners' are, but "
            f"{player!r} acts by discrete ones: set experiment.prefer_continuous_actions=false"
        )
    return ScriptedAgent(players[player]())


def _refuse_strange_seats(key: str, agents: Sequence[Agent], experiment: Experiment, open_seats: Sequence[int]) -> None:
    if getattr(experiment.test_env, "interchangeable_seats", True):
        return
    for seat in open_seats:
        if agents[seat].place not in (None, seat):
            raise ValueError(
                f"{key}.agent must be null in task={experiment.task_name}, which is another game from every seat, but "
                f"is {agents[seat].place}"
            )


def _n_agents(experiment: Experiment) -> int:
    return max(members.stop for members in seats(experiment.group_map).values())
