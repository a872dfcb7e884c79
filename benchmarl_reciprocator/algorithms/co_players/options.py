"""What a pool of co-players is made of, and how often its members are met."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarl.experiment import ExperimentConfig

from benchmarl_reciprocator.agents.setup import CO_PLAYERS
from benchmarl_reciprocator.tasks.options import check_option, one_of

PAST = "past"
# By the key that tells the kind of an entry: what else it may have.
KINDS = {"player": (), "checkpoint": ("agent",), PAST: ("period", "keep", "recent")}


@dataclass(frozen=True)
class Entry:
    """One entry of a pool.

    Args:
        name (str): what logs call it.
        weight (float): how often it is met, relative to the other entries.
        player (str, optional): a scripted player of the task.
        checkpoint (str, optional): a file that an experiment saved; its agents play.
        agent (int, optional): which of them, by the seat that it was trained in; ``None``: in every seat the agent of
            that seat.
        past (bool): whether the learner whose seat it is plays as it was at an earlier time.
        period (int): a snapshot of the learners is taken once in so many iterations.
        keep (int): so many of the latest snapshots are kept.
        recent (bool): whether a snapshot is met the more often the later it was taken, in proportion to its rank; else
            all are equally likely.
    """

    name: str
    weight: float = 1.0
    player: str | None = None
    checkpoint: str | None = None
    agent: int | None = None
    past: bool = False
    period: int = 10
    keep: int = 5
    recent: bool = False


@dataclass
class CoPlayerOptions:
    """Which co-players an experiment has: ``co_players`` in Hydra's config.

    Args:
        share (float): share of the environments, drawn anew at every episode, in which a co-player takes a seat, in
            ``[0, 1)``; 0: none.
        pool (list): the co-players. An entry is the name of a scripted player of the task, ``past`` for the learners'
            own earlier policies, or a mapping: ``{player: greedy, weight: 2}``, ``{checkpoint: file, agent: 0}``,
            ``{past: true, period: 10, keep: 5, recent: false}``, see :class:`Entry`.
        learners (list of str, optional): names of the algorithms whose agents meet co-players; null: all. Whose seat a
            co-player may take is up to who is left: one of these agents at least.
        fit_estimator (bool): whether trajectories with co-players enter the buffer that the value-influence estimator
            is fitted on. By default they do not: what co-players do would become the norm by which the influence of
            ordinary acts is measured.
    """

    share: float = 0.0
    pool: list[Any] = field(default_factory=list)
    learners: list[str] | None = None
    fit_estimator: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> CoPlayerOptions:
        """The options in a mapping.

        Raises:
            ValueError: if one is unknown, or as :meth:`check`.
        """
        known = [option.name for option in fields(cls)]
        for option in config:
            check_option(
                f"co_players.{option}", "none", option in known, f"an option of co_players ({', '.join(known)})"
            )
        options = cls(**config)
        options.check()
        return options

    def check(self) -> None:
        """Raise one ``ValueError`` that names the key, what it must be and what it is, if an option is bad."""
        share = self.share
        is_share = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share < 1
        check_option("co_players.share", share, is_share, "a number >= 0 and < 1")
        check_option("co_players.pool", self.pool, isinstance(self.pool, list), "a list of co-players")
        if share > 0:
            check_option(
                "co_players.pool", self.pool, bool(self.pool), "a list of at least one co-player with a share > 0"
            )
        names = self.learners
        is_list = names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
        check_option("co_players.learners", names, is_list, "null or a list of names of algorithms")
        fit = self.fit_estimator
        check_option("co_players.fit_estimator", fit, isinstance(fit, bool), "true or false")
        self.entries()

    def entries(self) -> list[Entry]:
        """The pool's entries, each with a name of its own.

        Raises:
            ValueError: if one is not of the form that :class:`CoPlayerOptions` says.
        """
        entries: list[Entry] = []
        for index, given in enumerate(self.pool):
            entry = _entry(f"co_players.pool[{index}]", given)
            same = sum(other.name == entry.name or other.name.startswith(f"{entry.name}_") for other in entries)
            entries.append(Entry(**{**vars(entry), "name": f"{entry.name}_{same + 1}"}) if same else entry)
        return entries


def with_co_players(config: ExperimentConfig, **options: Any) -> ExperimentConfig:
    """A configuration for experiments with co-players, which it carries beside BenchMARL's options.

    Args:
        config (ExperimentConfig): of experiments with an on-policy algorithm on social dilemmas.
        **options: see :class:`CoPlayerOptions`.

    Returns:
        ExperimentConfig: a copy.

    Raises:
        ValueError: if an option is bad, naming the key, the value and what it must be.

    Examples:
        >>> from benchmarl.experiment import ExperimentConfig
        >>> config = with_co_players(ExperimentConfig.get_from_yaml(), share=0.125, pool=["greedy", "past"])
        >>> [entry.name for entry in options_in(config).entries()]
        ['greedy', 'past']
    """
    config = copy.copy(config)
    setattr(config, CO_PLAYERS, CoPlayerOptions.of(options))
    return config


def options_in(config: ExperimentConfig) -> CoPlayerOptions | None:
    """The options that an experiment's configuration carries; ``None`` without co-players."""
    options = getattr(config, CO_PLAYERS, None)
    return options if options is not None and options.share > 0 else None


def _entry(key: str, given: Any) -> Entry:
    must_be = "the name of a player, past, or a mapping with one of the keys " + one_of(KINDS)
    if isinstance(given, str):
        given = {PAST: True} if given == PAST else {"player": given}
    check_option(key, given, isinstance(given, Mapping), must_be)
    kinds = [kind for kind in KINDS if kind in given]
    check_option(key, given, len(kinds) == 1, must_be)
    (kind,) = kinds
    known = [kind, "weight", *KINDS[kind]]
    for option in given:
        check_option(
            f"{key}.{option}", given[option], option in known, f"an option of such an entry ({', '.join(known)})"
        )
    entry = Entry(name=_name(kind, given), **given)
    check_option(f"{key}.weight", entry.weight, _is_number(entry.weight) and entry.weight > 0, "a number > 0")
    if kind == PAST:
        check_option(f"{key}.past", entry.past, entry.past is True, "true")
        for option in ("period", "keep"):
            value = getattr(entry, option)
            check_option(f"{key}.{option}", value, type(value) is int and value >= 1, "an integer >= 1")
        check_option(f"{key}.recent", entry.recent, isinstance(entry.recent, bool), "true or false")
    elif kind == "checkpoint":
        is_file = isinstance(entry.checkpoint, str) and Path(entry.checkpoint).is_file()
        check_option(f"{key}.checkpoint", entry.checkpoint, is_file, "a file that an experiment saved")
    else:
        check_option(f"{key}.player", entry.player, isinstance(entry.player, str), "the name of a scripted player")
    return entry


def _name(kind: str, given: Mapping[str, Any]) -> str:
    if kind == PAST:
        return PAST
    value = str(given[kind])
    if kind == "player":
        return value
    agent = given.get("agent")
    return f"{Path(value).stem}{'' if agent is None else f'_agent_{agent}'}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
