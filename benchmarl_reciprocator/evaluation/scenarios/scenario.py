"""What a scenario is, and how it is read from its yaml file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarl.environments import task_config_registry

from benchmarl_reciprocator.evaluation.checkpoints import SEEN_BY
from benchmarl_reciprocator.evaluation.records import digest_of
from benchmarl_reciprocator.extensions import CONF, ExtensionWarning, conf_folders, read_mapping, yaml_files
from benchmarl_reciprocator.tasks.options import bad_option, check_option, one_of
from benchmarl_reciprocator.tasks.players import Player
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

GROUP = "scenario"
VISITOR, RESIDENT = "visitor", "resident"
ROLES = (VISITOR, RESIDENT)
# Options of a task that are a matter of the trained agents: how they see it, and how they were grouped in training.
OF_AGENTS = (*SEEN_BY, "view_behind", "grouping")


@dataclass(frozen=True)
class Member:
    """Who sits in one seat of a background.

    Args:
        player (str, optional): a scripted player of the task.
        checkpoint (Path, optional): a file that an experiment saved; one of its agents plays.
        agent (int, optional): which of them, by the seat that it was trained in; ``None``: that of the seat it takes.
    """

    player: str | None = None
    checkpoint: Path | None = None
    agent: int | None = None

    def __str__(self) -> str:
        if self.checkpoint is None:
            return str(self.player)
        return self.checkpoint.stem + ("" if self.agent is None else f" agent {self.agent}")


@dataclass(frozen=True)
class Background:
    """Who sits in all seats that are not focal.

    Args:
        members (tuple of Member): one for each of these seats in their order, or a single one for all.
        weight (float): how often it is met, relative to the scenario's other backgrounds.
    """

    members: tuple[Member, ...]
    weight: float = 1.0

    def __str__(self) -> str:
        return " and ".join(map(str, self.members))

    def in_seats(self, n_seats: int) -> tuple[Member, ...]:
        """One for each of so many seats."""
        return self.members * n_seats if len(self.members) == 1 else self.members


@dataclass(frozen=True)
class Scenario:
    """A game, and whom the agents that are measured meet in it.

    With more than two agents a visitor is one focal agent among a background, and residents are a majority of focal
    agents that a background visits. With two, one meets one: as a visitor it meets those who live by a convention of
    theirs, as a resident those who come to try what they can get.

    Args:
        name (str): that of its file.
        file (Path): its yaml file.
        version (int): to be raised with whatever changes what comes out.
        task (str): name of the game, without ``social_dilemmas/``.
        options (mapping): the options of the task that make this game. Populations that were trained with others of
            these are not measured. All further options are as in the task's yaml file, but for those by which agents
            see the game, which are as they were trained.
        role (str): ``"visitor"`` or ``"resident"``.
        focal (int): number of focal seats.
        background (tuple of Background): who is met, each in a share of the episodes.
        episodes (int): number of episodes that every focal agent plays.
    """

    name: str
    file: Path
    version: int
    task: str
    role: str
    focal: int
    background: tuple[Background, ...]
    episodes: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def game(self, seen_by: Mapping[str, Any] | None = None) -> SocialDilemmaClass:
        """The game that is played.

        Args:
            seen_by (mapping, optional): options of :data:`OF_AGENTS`, as agents were trained.
        """
        task = task_config_registry[f"{SocialDilemmaClass.env_name()}/{self.task}"].get_from_yaml()
        own = {key: value for key, value in (seen_by or {}).items() if key in OF_AGENTS and key in task.config}
        return SocialDilemmaClass(
            name=task.name, config={**task.config, **self.options, **own, "grouping": "per_agent"}
        )

    def identity(self) -> dict[str, Any]:
        """All that decides what comes out for given focal agents: a task whose rules change has a new version."""
        background = [
            {"seats": [[m.player, m.checkpoint and m.checkpoint.name, m.agent] for m in one.members], "weight": w}
            for one, w in zip(self.background, self.shares())
        ]
        return {
            "scenario": self.name,
            "version": self.version,
            "task": self.task,
            "task_version": self.game().version,
            "options": dict(self.options),
            "focal": self.focal,
            "background": background,
            "episodes": self.episodes,
        }

    @property
    def digest(self) -> str:
        """A short name for :meth:`identity`."""
        return digest_of(self.identity())

    def shares(self) -> list[int]:
        """How many of the episodes each background is met in: by the weights, and at least one."""
        left, weight, shares = self.episodes, sum(one.weight for one in self.background), []
        for place, one in enumerate(self.background, 1):
            others = len(self.background) - place
            share = min(max(round(left * one.weight / weight), 1), left - others)
            shares.append(share)
            left, weight = left - share, weight - one.weight
        return shares

    def names_player(self, player: str) -> bool:
        """Whether a scripted player is in its backgrounds."""
        return any(member.player == player for one in self.background for member in one.members)

    def check(self) -> None:
        """Raise one ``ValueError`` that names the file and the place, if the game cannot be played like that."""
        key = f"{SocialDilemmaClass.env_name()}/{self.task}"
        self._check("task", self.task, key in task_config_registry, "the name of a social dilemma that is registered")
        known = task_config_registry[key].get_from_yaml().config
        for option in self.options:
            valid = option in known and option not in OF_AGENTS
            self._check("options", option, valid, f"rules of {self.task} ({', '.join(set(known) - set(OF_AGENTS))})")
        game = self.game()
        try:
            n_agents = game.options.make_env(1, "cpu", seed=0).n_agents
            players = game.players()
        except ValueError as error:
            raise ValueError(f"{self.file}: options: {error}") from error
        least, most = 1, n_agents - 1
        if n_agents > 2:
            least, most = (1, 1) if self.role == VISITOR else (n_agents // 2 + 1, most)
        allowed = f"{least}" if least == most else f"{least} to {most}"
        self._check("focal", self.focal, least <= self.focal <= most, f"{allowed} of {n_agents} seats ({self.role})")
        others = n_agents - self.focal
        for index, one in enumerate(self.background):
            seats = [str(member) for member in one.members]
            place = f"background[{index}].seats"
            self._check(place, seats, len(seats) in (1, others), f"one for all, or one for each of {others} seats")
            for member in one.members:
                if member.player is not None:
                    self._check_player(place, member.player, players)

    def _check_player(self, place: str, name: str, players: Mapping[str, Callable[[], Player]]) -> None:
        self._check(place, name, name in players, f"scripted players of {self.task} ({one_of(players or ['none'])})")
        try:
            players[name]()
        except ValueError as error:
            raise ValueError(f"{self.file}: {place}: {name} cannot play this game: {error}") from error

    def _check(self, key: str, value: object, valid: bool, must_be: str) -> None:
        check_option(f"{self.file}: {key}", value, valid, must_be)


def find_scenarios(patterns: Sequence[str] = ()) -> list[Scenario]:
    """The scenarios whose names are like one of some patterns (``coins_*``), all by default. They are not checked yet.

    Raises:
        ValueError: if a pattern is like none, or a file is not that of a scenario.
    """
    files = yaml_files(GROUP)
    for pattern in patterns:
        is_like_one = any(fnmatchcase(name, pattern) for name in files)
        check_option("scenarios", pattern, is_like_one, f"names of scenarios, or patterns of them ({one_of(files)})")
    found = []
    for name, file in files.items():
        if patterns and not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        try:
            found.append(read_scenario(file))
        except ValueError as error:
            # What another package has wrong leaves all others as they are, unless it is asked for.
            if patterns or file.is_relative_to(conf_folders()[CONF]):
                raise
            warnings.warn(f"left out: {error}", ExtensionWarning, stacklevel=2)
    return found


def read_scenario(file: Path) -> Scenario:
    """The scenario of a yaml file.

    Raises:
        ValueError: if it is not of the form that :class:`Scenario` says, naming the file, the key, what it must be and
            what it is.
    """
    content = read_mapping(file)
    known = {entry.name: entry for entry in fields(Scenario) if entry.name not in ("name", "file")}
    for key in content:
        check_option(f"{file}: {key}", content[key], key in known, f"one of the keys {one_of(known)}")
    for key, entry in known.items():
        optional = entry.default is not MISSING or entry.default_factory is not MISSING
        check_option(f"{file}: {key}", None, optional or key in content, "given")
    for key in ("version", "focal", "episodes"):
        check_option(f"{file}: {key}", content[key], type(content[key]) is int and content[key] >= 1, "an integer >= 1")
    check_option(f"{file}: task", content["task"], isinstance(content["task"], str), "the name of a social dilemma")
    check_option(f"{file}: role", content["role"], content["role"] in ROLES, one_of(ROLES))
    options = content.get("options", {})
    check_option(f"{file}: options", options, isinstance(options, dict), "options of the task by name")
    entries = content["background"]
    is_list = isinstance(entries, list) and 1 <= len(entries) <= content["episodes"]
    check_option(f"{file}: background", entries, is_list, "a list of at least one, and no more than there are episodes")
    task = content["task"].removeprefix(f"{SocialDilemmaClass.env_name()}/")
    background = tuple(_backgrounds(file, entries))
    return Scenario(**{**content, "name": file.stem, "file": file, "task": task, "background": background})


def _backgrounds(file: Path, entries: Sequence[Any]) -> Iterator[Background]:
    for index, entry in enumerate(entries):
        key = f"{file}: background[{index}]"
        entry = {"seats": entry} if isinstance(entry, str) else entry
        is_entry = isinstance(entry, dict) and "seats" in entry and set(entry) <= {"seats", "weight"}
        check_option(key, entry, is_entry, "the name of a player, or a mapping with seats and, if not 1, weight")
        weight = entry.get("weight", 1.0)
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool) and weight > 0
        check_option(f"{key}.weight", weight, is_number, "a number > 0")
        seats = entry["seats"] if isinstance(entry["seats"], list) else [entry["seats"]]
        check_option(f"{key}.seats", seats, bool(seats), "at least one")
        yield Background(tuple(_member(file, f"{key}.seats", seat) for seat in seats), float(weight))


def _member(file: Path, key: str, given: Any) -> Member:
    if isinstance(given, str):
        return Member(player=given)
    is_checkpoint = isinstance(given, dict) and set(given) in ({"checkpoint"}, {"checkpoint", "agent"})
    if not (is_checkpoint and isinstance(given["checkpoint"], str)):
        raise bad_option(key, given, "names of players, or mappings with checkpoint and, if not each seat's own, agent")
    checkpoint = file.parent / given["checkpoint"]
    check_option(f"{key}.checkpoint", str(checkpoint), checkpoint.is_file(), "a file that an experiment saved")
    agent = given.get("agent")
    is_place = agent is None or (type(agent) is int and agent >= 0)
    check_option(f"{key}.agent", agent, is_place, "null, or the seat that an agent was trained in")
    return Member(checkpoint=checkpoint, agent=agent)
