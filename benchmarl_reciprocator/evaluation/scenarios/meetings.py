"""Focal agents meet the backgrounds of a scenario; every meeting leaves a record on disk, and is not played again."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from benchmarl_reciprocator.agents.agent import Agent, ScriptedAgent
from benchmarl_reciprocator.agents.play import outcome
from benchmarl_reciprocator.agents.trained import load_agents
from benchmarl_reciprocator.evaluation.pairings import FIRST, Contestant
from benchmarl_reciprocator.evaluation.records import digest_of, earlier_record, slug, write_json
from benchmarl_reciprocator.evaluation.scenarios.scenario import Background, Member, Scenario
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

RECORDS = "records"
# Games whose environments are kept
MOST_ENVS = 8


@dataclass(frozen=True)
class Meeting:
    """Agents of one checkpoint, or one scripted player, in the focal seats of a scenario.

    Args:
        scenario (Scenario): what is played.
        task (SocialDilemmaClass): its game, as the focal agents see it.
        focal (Contestant): whose agents are measured.
        seed (int, optional): of the population; ``None`` for a scripted player.
        agents (tuple): who sits in the focal seats, by the seats that they were trained in; ``None`` for a script.
        seats (tuple of int): the focal seats, in the same order.
    """

    scenario: Scenario
    task: SocialDilemmaClass
    focal: Contestant
    seed: int | None
    agents: tuple[int | None, ...]
    seats: tuple[int, ...]

    def identity(self) -> dict[str, Any]:
        """All that decides what comes out: a record with the same is this meeting's own."""
        who = {**self.focal.identity(self.seed), "agents": list(self.agents), "in_seats": list(self.seats)}
        # The game as these agents see it, which is no part of the scenario
        return {**self.scenario.identity(), "who": who, "game": self.task.config}


def meetings_of(
    scenario: Scenario, task: SocialDilemmaClass, contestant: Contestant, env: SocialDilemmaEnv, agents: str
) -> list[Meeting]:
    """The meetings by which every agent of a contestant is measured: each in its turn takes the first focal seat, and
    those that come after it the others. Where a contestant has fewer agents than there are focal seats, they sit in
    several. Where seats are not interchangeable, each has its own.

    Args:
        scenario (Scenario): what is played.
        task (SocialDilemmaClass): its game, as these agents see it.
        contestant (Contestant): a population or a scripted player.
        env (SocialDilemmaEnv): of that game.
        agents (str): ``"all"``, or ``"first"``: the first turn alone.

    Raises:
        ValueError: if it has too few agents for focal seats that are not interchangeable.
    """
    n_focal, first_seats = scenario.focal, tuple(range(scenario.focal))
    if contestant.scripted:
        return [Meeting(scenario, task, contestant, None, (None,) * n_focal, first_seats)]
    own = contestant.seats
    if not env.interchangeable_seats and len(own) < n_focal:
        raise ValueError(
            f"{contestant.name} must have agents for {n_focal} seats, each its own, but has {len(own)} of them"
        )
    turns = [tuple(own[(turn + place) % len(own)] for place in range(n_focal)) for turn in range(len(own))]
    return [
        Meeting(scenario, task, contestant, seed, turn, first_seats if env.interchangeable_seats else turn)
        for seed in contestant.checkpoints
        for turn in (turns[:1] if agents == FIRST else turns)
    ]


class MeetingRecords:
    """The records of meetings, which are played where there is none yet.

    Args:
        folder (Path): where the records go, in ``records/``; ``None``: nowhere, and all is played.
        device (str): where agents play.
    """

    def __init__(self, folder: Path | None, device: str = "cpu") -> None:
        self.folder = None if folder is None else folder / RECORDS
        self.device = device
        self.skipped: list[str] = []
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._agents = lru_cache(maxsize=8)(partial(load_agents, device=device))
        self._envs: dict[str, SocialDilemmaEnv] = {}

    def record_of(self, meeting: Meeting) -> dict[str, Any] | None:
        """The record of a meeting, which is played if there is none.

        Returns:
            dict: its identity, and of the focal agents ``per_capita`` (float), the mean of their returns in an episode,
            ``by_agent`` (list of float), the return of each, and ``cooperation`` (float), their mean by the task's
            measure; ``others`` (float), the mean return of the background; ``None`` if it cannot be played, which a
            warning and :attr:`skipped` tell.
        """
        identity = meeting.identity()
        digest = digest_of(identity)
        name = f"{slug(meeting.scenario.name)}__{slug(meeting.focal.name)}__{digest}.json"
        file = None if self.folder is None else self.folder / name
        record = None if file is None else earlier_record(file)
        if record is None:
            try:
                record = {**identity, **self._play(meeting)}
            except ValueError as error:
                seed = "" if meeting.seed is None else f", seed {meeting.seed}"
                self.skipped.append(f"{meeting.focal.name}{seed} in {meeting.scenario.name}: {error}")
                warnings.warn(f"skipped {self.skipped[-1]}", stacklevel=2)
                return None
            if file is not None:
                write_json(file, record)
        return record

    def _play(self, meeting: Meeting) -> dict[str, Any]:
        scenario, task = meeting.scenario, meeting.task
        measure = task.cooperation
        players = {name: make for name, make in task.players().items()}
        # The same episodes for all focal agents of a turn, whoever they are
        seed = int(scenario.digest[:7], 16) + (meeting.agents[0] or 0)
        returns, cooperation, others = [0.0] * scenario.focal, 0.0, 0.0
        for number, (background, share) in enumerate(zip(scenario.background, scenario.shares())):
            env = self._env(task, share)
            seated = self._seated(meeting, background, players, env)
            played = outcome(env, task, seated, seed + 1000 * number)
            of_seats = played.returns.tolist()
            part = share / scenario.episodes
            for place, seat in enumerate(meeting.seats):
                returns[place] += part * of_seats[seat]
            others += part * _mean([of_seats[seat] for seat in range(env.n_agents) if seat not in meeting.seats])
            if measure is not None and measure.metric in played.by_seat:
                cooperation += part * _mean([played.by_seat[measure.metric][seat] for seat in meeting.seats])
            else:
                cooperation = math.nan
        return {
            "per_capita": _mean(returns),
            "by_agent": returns,
            # JSON knows no nan.
            "cooperation": None if math.isnan(cooperation) else cooperation,
            "others": others,
        }

    def _seated(
        self, meeting: Meeting, background: Background, players: Mapping[str, Any], env: SocialDilemmaEnv
    ) -> list[Agent]:
        agents: dict[int, Agent] = {}
        for seat, place in zip(meeting.seats, meeting.agents):
            if place is None:
                agents[seat] = ScriptedAgent(players[meeting.focal.name]())
            else:
                agents[seat] = self._agents(meeting.focal.of_seed(meeting.seed).file)[place]
        left = [seat for seat in range(env.n_agents) if seat not in agents]
        for seat, member in zip(left, background.in_seats(len(left))):
            agents[seat] = self._member(member, seat, players, env)
        return [agents[seat] for seat in range(env.n_agents)]

    def _member(self, member: Member, seat: int, players: Mapping[str, Any], env: SocialDilemmaEnv) -> Agent:
        if member.checkpoint is None:
            return ScriptedAgent(players[str(member.player)]())
        trained = self._agents(member.checkpoint)
        place = seat if member.agent is None else member.agent
        if len(trained) != env.n_agents or place >= len(trained):
            raise ValueError(
                f"the checkpoint of a background must be of {env.n_agents} agents, as the game has, but "
                f"{str(member.checkpoint)!r} is of {len(trained)}"
            )
        return trained[place]

    def _env(self, task: SocialDilemmaClass, episodes: int) -> SocialDilemmaEnv:
        """So many environments of a game. Some are kept: meetings of a scenario come together."""
        key = digest_of({"task": task.name, "options": task.config, "episodes": episodes})
        if key not in self._envs:
            if len(self._envs) >= MOST_ENVS:
                self._envs.clear()
            self._envs[key] = task.options.make_env(episodes, self.device, seed=0)
        return self._envs[key]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
