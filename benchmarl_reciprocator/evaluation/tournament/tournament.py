"""A tournament of trained policies with the strategies of the Axelrod library (optional extra ``axelrod``).

For matrix games of two players with two actions. Every trained agent plays a round robin with the library's strategies,
one at a time: agents of other seeds and populations do not change its rank. What was played is on disk, and is not
played again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import axelrod
import numpy as np
import pandas as pd
import torch
from torchrl.envs.utils import ExplorationType, set_exploration_type
from tqdm import tqdm

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.trained import load_agents
from benchmarl_reciprocator.evaluation.checkpoints import choose_game, find_checkpoints
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.pairings import AGENTS, ALL, contestants_of
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import digest_of, earlier_record, slug, write_json
from benchmarl_reciprocator.evaluation.reports.measured import MeasuredMeetings
from benchmarl_reciprocator.evaluation.sections import write_sections
from benchmarl_reciprocator.evaluation.tournament.sections import tournament_sections
from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameEnv, MatrixGameOptions
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

STRATEGIES = {
    "first": axelrod.axelrod_first_strategies,
    "basic": axelrod.basic_strategies,
    "short_run_time": axelrod.short_run_time_strategies,
}
ITSELF = "itself"


class TrainedPlayer(axelrod.Player):
    """An agent of a checkpoint as a player of the Axelrod library, in the seat that it was trained in.

    Args:
        label (str): its name in tables.
        agent (Agent): who plays.
        make_env (callable): makes the matrix game of one environment.
    """

    name = "Trained"
    classifier = {  # noqa: RUF012
        "memory_depth": math.inf,
        "stochastic": True,
        "long_run_time": False,
        "inspects_source": False,
        "manipulates_source": False,
        "manipulates_state": False,
    }

    def __init__(self, label: str, agent: Agent, make_env: Callable[[], MatrixGameEnv]) -> None:
        super().__init__()
        self.name = label
        self.agent = agent
        self.env = make_env()
        # Slips are the match's: what is played on here is what has happened.
        self.env.action_noise = 0.0
        self.memory = agent.start(1, self.env.device)
        self.seat = agent.place or 0

    def __repr__(self) -> str:
        return self.name

    def strategy(self, opponent: axelrod.Player) -> axelrod.Action:
        """Its next action, after the last turn of both has been played on the game that it knows."""
        env, cooperates = self.env, self.env.cooperative_action
        assert cooperates is not None
        if not self.history:
            env.start(torch.ones(1, dtype=torch.bool, device=env.device))
        else:
            last = [self.history[-1], opponent.history[-1]]
            played = [[cooperates if action is axelrod.Action.C else 1 - cooperates for action in last]]
            actions = torch.tensor(played, device=env.device).roll(self.seat, 1)
            if self.agent.looks_back:
                self.memory = self.agent.look_back(env.observations(), env.state(), actions, self.memory)
            env.transition(actions)
        with set_exploration_type(ExplorationType.RANDOM):
            action, self.memory = self.agent.act(env.observations(), self.memory)
        return axelrod.Action.C if action.item() == cooperates else axelrod.Action.D


def game_of(task: SocialDilemmaClass) -> axelrod.Game:
    """The Axelrod library's game with the payoffs of ``task``.

    Raises:
        ValueError: if it is no symmetric matrix game of two players with two actions, one of which is to cooperate.
    """
    env = task.options.make_env(1, "cpu", seed=0)
    two_by_two = isinstance(env, MatrixGameEnv) and env.n_actions == [2, 2]
    check_option(
        "task",
        task.name.lower(),
        two_by_two and env.interchangeable_seats and env.cooperative_action is not None,
        "a symmetric matrix game of two players with two actions, one of them cooperative",
    )
    c = env.cooperative_action
    assert c is not None
    d = 1 - c
    r, s, t, p = (env.payoffs[own, other, 0].item() for own, other in ((c, c), (c, d), (d, c), (d, d)))
    return axelrod.Game(r=r, s=s, t=t, p=p)


def rules_of(task: SocialDilemmaClass, turns: int) -> dict[str, Any]:
    """Arguments of ``axelrod.Match`` by which it is played as ``task`` is, in at most ``turns`` turns. Noise on rewards
    is left out: it changes no mean.

    Raises:
        ValueError: as :func:`game_of`.
    """
    options: MatrixGameOptions = task.options
    # Half of the actions that are replaced by a random one are as they were meant, the library's noise turns all.
    noise = options.action_noise / 2
    # None where no match ends early: players of the library then know its length.
    end = 1 - options.continuation_probability
    return {"game": game_of(task), "turns": turns, "noise": noise, "prob_end": end or None}


def tournament(
    places: Sequence[Path],
    overrides: Sequence[str] = (),
    strategies: str = "first",
    turns: int | None = None,
    repetitions: int = 10,
    output: Path | None = None,
    agents: str = ALL,
    device: str = "cpu",
) -> MeasuredMeetings:
    """Play what is missing, and write the tables.

    Args:
        places (sequence of Path): checkpoints and folders, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.find_checkpoints`.
        overrides (sequence of str): of the task, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.choose_game`.
        strategies (str): which of the library's strategies, one of :data:`STRATEGIES`.
        turns (int, optional): of a match; default: the task's ``max_steps``.
        repetitions (int): of every match.
        output (Path, optional): where everything goes; default: ``tournament/<task>``.
        agents (str): which agents of every checkpoint take part, ``"all"`` or ``"first"``.
        device (str): where the trained agents play.

    Returns:
        MeasuredMeetings: the folder and the report; no meeting is skipped.

    Raises:
        ValueError: on bad input.
    """
    check_option("agents", agents, agents in AGENTS, one_of(AGENTS))
    check_option("--strategies", strategies, strategies in STRATEGIES, one_of(STRATEGIES))
    task, checkpoints = choose_game(find_checkpoints(places), overrides)
    game_of(task)
    folder = output or Path("tournament") / task.name.lower()
    with locked(folder):
        (folder / "records").mkdir(parents=True, exist_ok=True)
        options: MatrixGameOptions = task.options
        turns = turns or options.max_steps
        setting = {
            "task": task.name.lower(),
            "options": task.config,
            "turns": turns,
            "repetitions": repetitions,
            "strategies": strategies,
            "axelrod": axelrod.__version__,
        }
        rules = rules_of(task, turns)
        if rules["noise"] or rules["prob_end"]:
            setting |= {key: rules[key] for key in ("noise", "prob_end")}
        match = partial(_match, repetitions=repetitions, **rules)
        library = {player.name: player for player in (strategy() for strategy in STRATEGIES[strategies])}
        among = _recorded(folder, "library", setting, partial(_among_themselves, library, match))
        rows = []
        entries = [
            (one, seed, place)
            for one in contestants_of(checkpoints, [*library, ITSELF])
            for seed in one.checkpoints
            for place in (one.seats if agents == ALL else one.seats[:1])
        ]
        for contestant, seed, place in tqdm(entries, unit="agent"):
            checkpoint = contestant.checkpoints[seed]
            of = {"agent": contestant.name, "seed": seed, "place": place}
            identity = {**setting, **of, "checkpoint": str(checkpoint.file.resolve())}
            who = (contestant.name, checkpoint.file, place)
            played = partial(_against_all, *who, task, library, match, device)
            record = _recorded(folder, f"{slug(contestant.name)}_seed_{seed}_agent_{place}", identity, played)
            rows += ranking(contestant.name, seed, record, among, place)
        table = pd.DataFrame(rows)
        table.to_csv(folder / "ranking.csv", index=False, float_format="%.6g")
        text = write_sections(tournament_sections(table, task, setting), folder, "tournament")
        add_setting(folder / "setting.json", "benchmarl-reciprocator tournament")
    return MeasuredMeetings(folder, text)


def _recorded(folder: Path, name: str, identity: dict[str, Any], play: Callable[[], dict]) -> dict[str, Any]:
    """What ``play`` gives, from disk if it was played before."""
    file = folder / "records" / f"{name}__{digest_of(identity)}.json"
    record = earlier_record(file)
    if record is None:
        record = {**identity, "matches": play()}
        write_json(file, record)
    return record


def _match(one: axelrod.Player, other: axelrod.Player, repetitions: int, **rules: Any) -> dict[str, list[float]]:
    """Both sides' scores per turn and cooperation rates, over all turns of all repetitions.

    Args:
        one (axelrod.Player): the first.
        other (axelrod.Player): the second.
        repetitions (int): of the match.
        **rules: of ``axelrod.Match``: ``game``, ``turns``, ``noise`` and ``prob_end``.
    """
    scores, cooperation, turns = np.zeros(2), np.zeros(2), 0
    for repetition in range(repetitions):
        played = axelrod.Match((one, other), seed=repetition, **rules)
        with seeded(repetition):
            turns += len(played.play())
        scores += played.final_score()
        cooperation += played.cooperation()
    return {"scores": (scores / turns).tolist(), "cooperation": (cooperation / turns).tolist()}


def _among_themselves(library: dict[str, axelrod.Player], match: Callable) -> dict[str, dict]:
    """Matches of every two of the library's strategies: by the first's name, then the second's."""
    names = list(library)
    matches: dict[str, dict] = {name: {} for name in names}
    for index, name in enumerate(tqdm(names, unit="strategy")):
        for other in names[index + 1 :]:
            matches[name][other] = match(library[name], library[other])
    return matches


def _against_all(
    label: str,
    checkpoint: Path,
    place: int,
    task: SocialDilemmaClass,
    library: dict[str, axelrod.Player],
    match: Callable,
    device: str = "cpu",
) -> dict[str, dict]:
    """Matches of a trained agent with every strategy of the library, by name, and with itself."""
    make_env = partial(task.options.make_env, 1, device, seed=0)
    agent = load_agents(checkpoint, device)[place]
    # It knows what others meant to do, which a match does not tell.
    check_option(
        "task.action_noise",
        task.options.action_noise,
        not (agent.looks_back and task.options.action_noise),
        f"0 in a tournament of {label}, whose agents observe their influence balance",
    )
    matches = {name: match(TrainedPlayer(label, agent, make_env), player) for name, player in library.items()}
    return {**matches, ITSELF: match(TrainedPlayer(label, agent, make_env), TrainedPlayer(label, agent, make_env))}


def ranking(
    name: str, seed: int, record: dict[str, Any], among: dict[str, Any], place: int = 0
) -> list[dict[str, Any]]:
    """A row for every player of the tournament of one trained agent, by rank: mean score and cooperation rate over its
    matches with all others, as the library counts them (without the match with itself).

    Args:
        name (str): of its population.
        seed (int): of its checkpoint.
        record (dict): its ``matches`` with every strategy and with itself.
        among (dict): the library's ``matches`` among themselves.
        place (int): the seat that it was trained in.
    """
    own = record["matches"]
    players = {name: {other: _side(played, 0) for other, played in own.items() if other != ITSELF}}
    for player, matches in among["matches"].items():
        players.setdefault(player, {})[name] = _side(own[player], 1)
        for other, played in matches.items():
            players[player][other] = _side(played, 0)
            players.setdefault(other, {})[player] = _side(played, 1)
    means = {player: np.mean(list(matches.values()), axis=0) for player, matches in players.items()}
    ranked = sorted(means, key=lambda player: -means[player][0])
    return [
        {
            "population": name,
            "seed": seed,
            "agent": place,
            "player": player,
            "trained": player == name,
            "rank": 1 + ranked.index(player),
            "score_per_turn": means[player][0],
            "cooperation": means[player][1],
            "score_with_itself": own[ITSELF]["scores"][0] if player == name else np.nan,
        }
        for player in ranked
    ]


def _side(played: dict[str, list[float]], side: int) -> tuple[float, float]:
    return played["scores"][side], played["cooperation"][side]
