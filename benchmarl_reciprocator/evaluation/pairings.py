"""Who meets whom in cross-play, and the record that every pairing leaves on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from benchmarl_reciprocator.agents.agent import Agent, ScriptedAgent
from benchmarl_reciprocator.agents.play import outcome
from benchmarl_reciprocator.agents.trained import load_agents
from benchmarl_reciprocator.evaluation.checkpoints import Checkpoint
from benchmarl_reciprocator.evaluation.records import digest_of, earlier_record, slug, write_json
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

SAME_SEED, OTHER_SEED = "same seed", "other seed"
RECORDS = "pairings"
# Which agents of a checkpoint are measured.
ALL, FIRST = "all", "first"
AGENTS = (ALL, FIRST)


@dataclass(frozen=True)
class Contestant:
    """A row and a column of the matrix: a population over its seeds, or a scripted player.

    Args:
        name (str): for tables and figures.
        checkpoints (dict): by seed; empty for a scripted player.
        seats (tuple of int): seats that its agents were trained in.
        own (bool): whether its agents are Reciprocators, this package's own method.
    """

    name: str
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    seats: tuple[int, ...] = ()
    own: bool = False

    @property
    def scripted(self) -> bool:
        """Whether it is one of the task's players, not a trained population."""
        return not self.checkpoints

    def of_seed(self, seed: int | None) -> Checkpoint:
        """The checkpoint of a seed; a scripted player, of seed ``None``, has none."""
        assert seed is not None
        return self.checkpoints[seed]

    def identity(self, seed: int | None) -> dict[str, Any]:
        """All that tells it, of a seed, from others."""
        identity: dict[str, Any] = {"name": self.name, "seed": seed}
        if not self.scripted:
            checkpoint = self.of_seed(seed)
            identity |= {
                "checkpoint": f"{checkpoint.file.resolve().parent.parent.name}/{checkpoint.file.name}",
                "frames": checkpoint.frames,
                "seats": list(self.seats),
            }
        return identity

    def trained_in(self, seat: int) -> int:
        """The seat that its agent for ``seat`` was trained in: the same where it has one."""
        return seat if seat in self.seats else self.seats[seat % len(self.seats)]

    def from_on(self, agent: int, steps: int) -> int:
        """Its agent that comes so many ``steps`` after ``agent``, after the last the first again."""
        return self.seats[(self.seats.index(agent) + steps) % len(self.seats)]


@dataclass(frozen=True)
class Pairing:
    """One meeting: ``row`` in seat 0, ``column`` in all others.

    Args:
        row (Contestant): whose agent sits in seat 0.
        column (Contestant): whose agents sit in the others.
        seeds (tuple): of both; ``None`` for a scripted player.
        kind (str): ``"same seed"``, or ``"other seed"`` where a population meets itself across seeds.
        agents (tuple): the row's agent, and the column's in seat 1, after which its others follow in their order; by
            the seats that they were trained in. ``None`` for a scripted player, and for whoever was trained in the
            seat that is to be taken.
    """

    row: Contestant
    column: Contestant
    seeds: tuple[int | None, int | None]
    kind: str = SAME_SEED
    agents: tuple[int | None, int | None] = (None, None)

    def who_takes(self, seat: int) -> tuple[Contestant, int | None, int | None]:
        """Who sits in ``seat``: whose agent, of which seed, and the seat that it was trained in; ``None`` of a scripted
        player.
        """
        side = min(seat, 1)
        contestant, seed, first = (self.row, self.column)[side], self.seeds[side], self.agents[side]
        if contestant.scripted:
            return contestant, None, None
        place = contestant.trained_in(seat) if first is None else contestant.from_on(first, seat - side)
        return contestant, seed, place

    def identity(self, task: SocialDilemmaClass, episodes: int) -> dict[str, Any]:
        """All that decides what comes out: a record with the same is the pairing's own."""
        sides: dict[str, dict[str, Any]] = {}
        for side, contestant, seed, agent in zip(("row", "column"), (self.row, self.column), self.seeds, self.agents):
            sides[side] = contestant.identity(seed)
            if agent is not None:
                sides[side]["agent"] = agent
        return {**sides, "kind": self.kind, "episodes": episodes, "task": task.name.lower(), "options": task.config}


def contestants_of(checkpoints: Iterable[Checkpoint], taken: Iterable[str] = ()) -> list[Contestant]:
    """The populations of the checkpoints. One that mixes algorithms has a contestant for each.

    Args:
        checkpoints (iterable of Checkpoint): of any populations and seeds.
        taken (iterable of str): names of others that they meet; a population of such a name is told apart.
    """
    names = set(taken)
    populations: dict[str, dict[int, Checkpoint]] = {}
    for checkpoint in checkpoints:
        populations.setdefault(checkpoint.population, {})[checkpoint.seed] = checkpoint
    contestants = []
    for name, by_seed in populations.items():
        first = next(iter(by_seed.values()))
        members = first.seats_by_member()
        for member, seats in members.items():
            if not first.learns(member):
                continue
            label = name if len(members) == 1 else f"{name}: {member}"
            while label in names:
                label += " (trained)"
            names.add(label)
            own = first.reciprocates(member)
            contestants.append(Contestant(label, dict(sorted(by_seed.items())), tuple(seats), own))
    return contestants


def scripted_contestants(names: Sequence[str], task: SocialDilemmaClass) -> list[Contestant]:
    """The scripted players of ``task`` by these names.

    Raises:
        ValueError: if the task has no player of a name.
    """
    allowed = task.players()
    for name in names:
        check_option(
            "against", name, name in allowed, one_of(allowed) if allowed else "left out, since the task has no players"
        )
    return [Contestant(name) for name in names]


def pair_up(contestants: Sequence[Contestant], env: SocialDilemmaEnv, agents: str = ALL) -> list[Pairing]:
    """Every contestant with every other and itself, in both orders, by seed: seed ``s`` of one meets seed ``s`` of the
    other. Where they have no seed in common, in the order of seeds. A population also meets itself across seeds, each
    seed the one after it.

    Args:
        contestants (sequence of Contestant): who meets.
        env (SocialDilemmaEnv): the game. Where its seats are not interchangeable, every agent keeps its own; where they
            are and every agent of two is measured, a meeting is played in one order alone, see :func:`one_order`.
        agents (str): ``"all"``: every agent of both sides has its meetings, see :func:`_agents`. ``"first"``: one
            meeting for each pair of seeds, in which the row has its first agent and every seat of the column the agent
            that was trained in it.
    """
    once = one_order(env, agents)

    def pairings(row: Contestant, column: Contestant, seeds: tuple[int | None, int | None], kind: str) -> list[Pairing]:
        chosen = [(None, None)] if agents == FIRST else _agents(row, column, kind, env)
        return [Pairing(row, column, seeds, kind, pair) for pair in chosen]

    found = []
    for (place, row), (other_place, column) in product(enumerate(contestants), repeat=2):
        if once and other_place < place:
            continue
        for pair in _seeds(row, column):
            found += pairings(row, column, pair, SAME_SEED)
        if row is column and len(row.checkpoints) > 1:
            seeds = list(row.checkpoints)
            for one, other in zip(seeds, seeds[1:] + seeds[:1]):
                found += pairings(row, row, (one, other), OTHER_SEED)
    # By seed first: the agents of a seed are loaded once.
    return sorted(found, key=lambda pairing: tuple(-1 if seed is None else seed for seed in pairing.seeds))


def one_order(env: SocialDilemmaEnv, agents: str) -> bool:
    """Whether every meeting is played in one order and counts from both sides: two agents whose seats are
    interchangeable, all of whom are measured.
    """
    return agents == ALL and env.n_agents == 2 and env.interchangeable_seats


def _agents(
    row: Contestant, column: Contestant, kind: str, env: SocialDilemmaEnv
) -> Sequence[tuple[int | None, int | None]]:
    """Which agents of two checkpoints meet, see :class:`Pairing`.

    With two agents every agent of one side meets every agent of the other; among those that trained together each meets
    the other. With ``N > 2`` every agent of the row in its turn takes the place of the same one of the column, whose
    other ``N - 1`` keep their order: within a population these are all that trained together. Where one side has fewer
    agents, they take turns. Where seats are not interchangeable, each side has the agents of the seats it takes.
    """
    own: Sequence[int | None] = row.seats or (None,)
    others: Sequence[int | None] = column.seats or (None,)
    if not env.interchangeable_seats:
        return [(row.trained_in(0) if row.seats else None, column.trained_in(1) if column.seats else None)]
    if env.n_agents > 2:
        turns = range(max(len(own), len(others)))
        return [(own[turn % len(own)], others[(turn + 1) % len(others)]) for turn in turns]
    together = row is column and kind == SAME_SEED and len(own) > 1
    # One order of each, see one_order
    return [*combinations(own, 2)] if together else [*product(own, others)]


def _seeds(row: Contestant, column: Contestant) -> list[tuple[int | None, int | None]]:
    if row.scripted or column.scripted:
        own: list[int | None] = [*(row.checkpoints or column.checkpoints)] or [None]
        return [(None if row.scripted else seed, None if column.scripted else seed) for seed in own]
    common = [seed for seed in row.checkpoints if seed in column.checkpoints]
    if common:
        return [(seed, seed) for seed in common]
    return list(zip(row.checkpoints, column.checkpoints))


def play_missing(
    pairings: Sequence[Pairing], task: SocialDilemmaClass, episodes: int, folder: Path, device: str = "cpu"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Play every pairing that has no record in ``folder`` yet, and write its record.

    Args:
        pairings (sequence of Pairing): what there is to play.
        task (SocialDilemmaClass): the game.
        episodes (int): in each pairing.
        folder (Path): where the records go, in ``pairings/``.
        device (str): where agents play.

    Returns:
        tuple[list[dict], list[str]]: the records of all pairings, see :func:`meet`; and those that could not be played,
        with the reasons, of which there is a warning too.
    """
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    env = task.options.make_env(episodes, device, seed=0)
    players = task.players()
    loaded = lru_cache(maxsize=32)(partial(load_agents, device=device))
    records, skipped = [], []
    for pairing in tqdm(pairings, unit="pairing"):
        identity = pairing.identity(task, episodes)
        digest = digest_of(identity)
        file = folder / RECORDS / f"{slug(pairing.row.name)}__{slug(pairing.column.name)}__{digest}.json"
        record = earlier_record(file)
        if record is None:
            try:
                agents = _seated(pairing, env.n_agents, loaded, players)
                record = {**identity, **meet(env, task, agents, seed=int(digest[:7], 16))}
            except ValueError as error:
                skipped.append(f"{pairing.row.name} with {pairing.column.name}, seeds {pairing.seeds}: {error}")
                warnings.warn(f"skipped {skipped[-1]}", stacklevel=2)
                continue
            write_json(file, record)
        records.append(record)
    return records, skipped


def meet(
    env: SocialDilemmaEnv, task: SocialDilemmaClass, agents: Sequence[Agent], seed: int, focal: int = 0
) -> dict[str, Any]:
    """What comes out when agents play.

    Args:
        env (SocialDilemmaEnv): as many environments as episodes are to be played.
        task (SocialDilemmaClass): whose measures are taken.
        agents (sequence of Agent): who sits in each seat.
        seed (int): of the environments and the actions.
        focal (int): whose seat is the ``row``.

    Returns:
        dict: ``per_step`` and ``per_episode``, the scores of the focal agent (``row``) and of all others (``column``,
        their mean); ``steps``, the mean length of an episode; ``measures``, both sides' by name, of what is measured
        for all together too; and ``by_agent``, of what is measured for each agent alone.
    """
    played = outcome(env, task, agents, seed)
    sides = {name: _sides(values, focal) for name, values in played.by_seat.items()}
    return {
        "per_step": _sides((played.returns / played.steps).tolist(), focal),
        "per_episode": _sides(played.returns.tolist(), focal),
        "steps": played.steps,
        # What is measured for all and for each agent: the task's measure of cooperation
        "measures": {name: sides[name] for name in played.of_all},
        "by_agent": {name: values for name, values in sides.items() if name not in played.of_all},
    }


def _sides(by_agent: list[float], focal: int) -> dict[str, float | None]:
    others = [value for seat, value in enumerate(by_agent) if seat != focal]
    sides = {"row": by_agent[focal], "column": sum(others) / len(others)}
    # A measure can be undefined: JSON knows no nan.
    return {side: value if value == value else None for side, value in sides.items()}


def _seated(
    pairing: Pairing,
    n_agents: int,
    loaded: Callable[[Path], Sequence[Agent]],
    players: dict[str, Callable[[], Any]],
) -> list[Agent]:
    agents: list[Agent] = []
    for contestant, seed, place in map(pairing.who_takes, range(n_agents)):
        if place is None:
            agents.append(ScriptedAgent(players[contestant.name]()))
        else:
            agents.append(loaded(contestant.of_seed(seed).file)[place])
    return agents


def as_table(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Records as rows: whose they are (``row``, ``row_seed``, ``row_agent``, ...), and their scores and measures as
    columns ``row_per_step``, ``column_per_step``, ...
    """
    rows = []
    for record in records:
        entry = {key: record[key]["name"] for key in ("row", "column")}
        entry |= {f"{key}_{what}": record[key].get(what) for what in ("seed", "agent") for key in ("row", "column")}
        entry |= {key: record[key] for key in ("kind", "episodes", "steps")}
        values = {"per_step": record["per_step"], "per_episode": record["per_episode"], **record["measures"]}
        # Records of before there were any have none.
        values |= record.get("by_agent", {})
        entry |= {f"{side}_{name}": value for name, sides in values.items() for side, value in sides.items()}
        rows.append(entry)
    return pd.DataFrame(rows).astype(
        {f"{key}_{what}": "Int64" for key in ("row", "column") for what in ("seed", "agent")}
    )
