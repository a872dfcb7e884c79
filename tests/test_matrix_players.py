"""Scripted players of matrix games: what they answer to histories written by hand."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaTask
from benchmarl_reciprocator.tasks.matrix.matrix_game import OBSERVATIONS, MatrixGameEnv, symmetric_table
from benchmarl_reciprocator.tasks.matrix.players import PLAYERS, MatrixGame, MemoryOne, extortion, random
from benchmarl_reciprocator.tasks.matrix.prisoners_dilemma import VARIANTS
from benchmarl_reciprocator.tasks.players import Player, play

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
# Row player's rewards for CC, CD, DC, DD, in the tournaments of Axelrod and in Press and Dyson 2012.
CONVENTIONAL = (3.0, 0.0, 5.0, 1.0)


def public_goods(n_agents: int) -> Tensor:
    task = SocialDilemmaTask.PUBLIC_GOODS.get_from_yaml()
    task.config["n_agents"] = n_agents
    return task.options.payoff_table()


def answers(
    make: Any, own: str, *others: str, cooperative_action: int = 0, observation: str = "joint", **options: Any
) -> list[float]:
    """Chance to cooperate in every step, from histories of moves ``C`` and ``D`` by seat; the last step's moves are
    what is answered last.
    """
    payoffs = symmetric_table(VARIANTS["lola"]) if len(others) == 1 else public_goods(1 + len(others))
    if cooperative_action == 1:
        payoffs = payoffs.flip(*range(payoffs.ndim - 1))
    env = MatrixGameEnv(
        payoffs, cooperative_action=cooperative_action, observation=observation, num_envs=1, max_steps=100, seed=0
    )
    player = make(MatrixGame(payoffs, cooperative_action, observation), **options)
    env.start(torch.ones(1, dtype=torch.bool))
    memory, chances = torch.zeros(1, player.memory_size), []
    for step in range(len(own) + 1):
        probabilities, memory = player(env.observations()[:, 0], memory)
        assert probabilities.sum().item() == pytest.approx(1)
        chances.append(probabilities[0, cooperative_action].item())
        if step < len(own):
            moves = [cooperative_action if move[step] == "C" else 1 - cooperative_action for move in (own, *others)]
            env.transition(torch.tensor([moves]))
    return [round(chance, 4) for chance in chances]


HISTORIES = [
    ("all_c", "CCCC", ["CDDC"], [1, 1, 1, 1, 1]),
    ("all_d", "DDDD", ["CDDC"], [0, 0, 0, 0, 0]),
    ("random", "CDCD", ["CCDD"], [0.5, 0.5, 0.5, 0.5, 0.5]),
    ("tit_for_tat", "CCDD", ["CDDC"], [1, 1, 0, 0, 1]),
    ("suspicious_tit_for_tat", "DCDD", ["CDDC"], [0, 1, 0, 0, 1]),
    # These payoffs allow to forgive every second time.
    ("generous_tit_for_tat", "CCDC", ["CDDC"], [1, 1, 0.5, 0.5, 1]),
    # It never forgets, and its own defections do not count.
    ("grim", "CCDDD", ["CDCCC"], [1, 1, 0, 0, 0, 0]),
    ("grim", "CDC", ["CCC"], [1, 1, 1, 1]),
    # After CC, CD, DC, DD.
    ("win_stay_lose_shift", "CCDD", ["CDCD"], [1, 1, 0, 0, 1]),
    ("extortion", "CCDD", ["CDCD"], [1, 0.8571, 0.5, 0.3571, 0]),
    # Among more than two, all others must have cooperated.
    ("all_c", "CCC", ["CDD", "CCD"], [1, 1, 1, 1]),
    ("all_d", "DDD", ["CDD", "CCD"], [0, 0, 0, 0]),
    ("random", "DCD", ["CDD", "CCD"], [0.5, 0.5, 0.5, 0.5]),
    ("tit_for_tat", "DCCC", ["CCDD", "CDCD"], [1, 1, 0, 0, 0]),
    ("suspicious_tit_for_tat", "DCCC", ["CCDD", "CDCD"], [0, 1, 0, 0, 0]),
    ("grim", "CCCC", ["CCDC", "CCCC"], [1, 1, 1, 0, 0]),
    ("grim", "CCCC", ["CCCC", "CDCC"], [1, 1, 0, 0, 0]),
    # All or none.
    ("win_stay_lose_shift", "CCCDDD", ["CCDCDD", "CDDCCD"], [1, 1, 0, 0, 0, 0, 1]),
]


@pytest.mark.parametrize(("name", "own", "others", "expected"), HISTORIES)
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("cooperative_action", [0, 1])
def test_answers_to_a_history(
    name: str, own: str, others: list[str], expected: list[float], observation: str, cooperative_action: int
) -> None:
    options = {"observation": observation, "cooperative_action": cooperative_action}
    assert answers(PLAYERS[name], own, *others, **options) == expected


def test_every_player_has_a_history() -> None:
    assert {name for name, *_ in HISTORIES} == set(PLAYERS) - {"random_memory_one"}


@pytest.mark.parametrize("n_agents", [2, 3])
def test_a_random_memory_one_player_draws_its_probabilities_in_every_episode(n_agents: int) -> None:
    payoffs = symmetric_table(VARIANTS["lola"]) if n_agents == 2 else public_goods(n_agents)
    env = MatrixGameEnv(payoffs, num_envs=4000, max_steps=100, seed=0)
    player = PLAYERS["random_memory_one"](MatrixGame(payoffs))
    torch.manual_seed(0)
    everywhere = torch.ones(4000, dtype=torch.bool)
    episodes = []
    memory = torch.zeros(4000, player.memory_size)
    for _ in range(2):
        env.start(everywhere)
        chances = []
        # Twice in the same situation: after all cooperated, and after none did.
        for actions in (0, 0, 1, 1, 0):
            probabilities, memory = player(env.observations()[:, 0], memory)
            chances.append(probabilities[:, 0])
            env.transition(torch.full((4000, n_agents), actions))
        episodes.append(torch.stack(chances))
    first, after_all, again_after_all, after_none, again_after_none = episodes[0]
    assert torch.equal(after_all, again_after_all) and torch.equal(after_none, again_after_none)
    assert not torch.isclose(episodes[0], episodes[1]).all(0).any()
    for one, other in combinations((first, after_all, after_none), 2):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.06
    for chances in (first, after_all, after_none):
        # Uniform: a twentieth of the draws in each twentieth, by Kolmogorov and Smirnov's distance.
        ranks = (torch.arange(4000) + 0.5) / 4000
        assert (chances.sort().values - ranks).abs().max() < 0.03


def test_options_of_players() -> None:
    assert answers(random, "CD", "DC", p=0.2) == [0.2, 0.2, 0.2]
    # Rewards R, S, T, P of -1, -3, 0, -2: a scale of half of 1 / 5, times chi - 1.
    assert answers(extortion, "C", "C", chi=2.0) == [1, 0.9]
    with pytest.raises(ValueError, match=r"^p must be a probability from 0 to 1, but is 1\.5$"):
        random(MatrixGame(symmetric_table(CONVENTIONAL)), p=1.5)
    with pytest.raises(ValueError, match=r"^chi must be a number > 1, but is 1\.0$"):
        extortion(MatrixGame(symmetric_table(CONVENTIONAL)), chi=1.0)


@pytest.mark.parametrize(
    ("payoffs", "forgives"),
    # min(1 - (T - R) / (R - S), (R - P) / (T - P)): by Nowak and Sigmund 1 / 3 in the conventional game.
    [(CONVENTIONAL, 1 / 3), (VARIANTS["lola"], 1 / 2), (VARIANTS["leibo"], 2 / 3), (VARIANTS["contribution"], 0.4962)],
)
def test_generosity_by_payoffs(payoffs: tuple[float, ...], forgives: float) -> None:
    player = PLAYERS["generous_tit_for_tat"](MatrixGame(symmetric_table(payoffs)))
    torch.testing.assert_close(player.after, torch.tensor([[forgives, 1.0], [forgives, 1.0]]), atol=1e-4, rtol=0)


def test_extortion_of_press_and_dyson() -> None:
    player = extortion(MatrixGame(symmetric_table(CONVENTIONAL)), chi=3.0)
    # After DD, DC; CD, CC.
    torch.testing.assert_close(player.after, torch.tensor([[0, 7 / 26], [1 / 2, 11 / 13]]))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("all_c", "Cooperator"),
        ("all_d", "Defector"),
        ("tit_for_tat", "TitForTat"),
        ("suspicious_tit_for_tat", "SuspiciousTitForTat"),
        ("grim", "Grudger"),
        ("win_stay_lose_shift", "WinStayLoseShift"),
    ],
)
def test_answers_are_those_of_the_axelrod_library(name: str, theirs: str) -> None:
    axelrod = pytest.importorskip("axelrod")
    for moves in product("CD", repeat=5):
        opponent = axelrod.MockPlayer([axelrod.Action.from_char(move) for move in moves])
        match = axelrod.Match((getattr(axelrod, theirs)(), opponent), turns=5)
        own = "".join(str(pair[0]) for pair in match.play())
        expected = [float(move == "C") for move in own]
        assert answers(PLAYERS[name], own, "".join(moves))[:-1] == expected


@pytest.mark.parametrize(("name", "theirs"), [("generous_tit_for_tat", "GTFT"), ("extortion", "ZDExtort3")])
def test_chances_are_those_of_the_axelrod_library(name: str, theirs: str) -> None:
    axelrod = pytest.importorskip("axelrod")
    player = PLAYERS[name](MatrixGame(symmetric_table(CONVENTIONAL)))
    chances = {f"{own}{other}": float(p) for (own, other), p in getattr(axelrod, theirs)()._four_vector.items()}
    expected = torch.tensor([[chances["DD"], chances["DC"]], [chances["CD"], chances["CC"]]])
    torch.testing.assert_close(player.after, expected)


def long_run_rewards(player: MemoryOne, other: Tensor, row: Tensor) -> tuple[float, float]:
    """Mean rewards of a memory-one player and of another with chances ``[4]`` after CC, CD, DC, DD (its own move
    first), by the stationary distribution of their game.
    """
    after = player.after.double()
    ours = torch.stack([after[1, 1], after[1, 0], after[0, 1], after[0, 0]])
    theirs = other[[0, 2, 1, 3]]
    steps = torch.stack([ours * theirs, ours * (1 - theirs), (1 - ours) * theirs, (1 - ours) * (1 - theirs)], -1)
    # The distribution p with p M = p and sum 1.
    equations = torch.cat([steps.T - torch.eye(4, dtype=torch.double), torch.ones(1, 4, dtype=torch.double)])
    right = torch.tensor([0, 0, 0, 0, 1], dtype=torch.double)
    share = torch.linalg.lstsq(equations, right.unsqueeze(-1)).solution.squeeze(-1)
    row = row.double()
    return (share @ row).item(), (share @ row[[0, 2, 1, 3]]).item()


@PROPERTY
@given(
    payoffs=st.sampled_from([CONVENTIONAL, *VARIANTS.values()]),
    chi=st.sampled_from([1.5, 3.0, 10.0]),
    other=st.lists(st.floats(0.02, 0.98), min_size=4, max_size=4),
)
def test_extortion_enforces_its_relation(payoffs: tuple[float, ...], chi: float, other: list[float]) -> None:
    player = extortion(MatrixGame(symmetric_table(payoffs)), chi=chi)
    row = torch.tensor(payoffs)
    own, theirs = long_run_rewards(player, torch.tensor(other, dtype=torch.double), row)
    punishment = payoffs[3]
    assert own - punishment == pytest.approx(chi * (theirs - punishment), abs=1e-4)


@PROPERTY
@given(payoffs=st.lists(st.integers(-5, 5).map(float), min_size=4, max_size=4), chi=st.sampled_from([1.5, 3.0]))
def test_extortion_in_other_games_enforces_it_or_refuses(payoffs: list[float], chi: float) -> None:
    assume(len(set(payoffs)) == 4)
    try:
        player = extortion(MatrixGame(symmetric_table(tuple(payoffs))), chi=chi)
    except ValueError as error:
        assert str(error).startswith("the game of extortion must be one with R >= P, ")
        return
    assert ((player.after >= 0) & (player.after <= 1)).all()
    own, theirs = long_run_rewards(player, torch.tensor([0.7, 0.2, 0.4, 0.1]).double(), torch.tensor(payoffs))
    assert own - payoffs[3] == pytest.approx(chi * (theirs - payoffs[3]), abs=1e-3)


@pytest.mark.parametrize(
    ("payoffs", "name", "message"),
    [
        (public_goods(3), "extortion", "a symmetric game of 2 players"),
        (public_goods(3), "generous_tit_for_tat", "a symmetric game of 2 players"),
        (torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 1.0]]]), "extortion", "a symmetric game"),
        # The stag hunt has no temptation to defect; here all are better off by defecting.
        (symmetric_table((4.0, 0.0, 3.0, 1.0)), "generous_tit_for_tat", r"one with T > R > max\(P, S\)"),
        (symmetric_table((1.0, 0.0, 4.0, 3.0)), "extortion", "one with R >= P"),
    ],
)
def test_players_that_do_not_fit_the_game_are_refused(payoffs: Tensor, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^the game of {name} must be {message}.*, but is "):
        PLAYERS[name](MatrixGame(payoffs))


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("name", PLAYERS)
def test_any_number_of_leading_dimensions(name: str, leading: tuple[int, ...]) -> None:
    player = PLAYERS[name](MatrixGame(symmetric_table(CONVENTIONAL)))
    observation = torch.zeros(*leading, 5)
    observation[..., 1] = 1
    memory = torch.zeros(*leading, player.memory_size)
    probabilities, after = player(observation, memory)
    assert probabilities.shape == (*leading, 2)
    assert after.shape == memory.shape


# Mean rewards per step over 100 steps of the prisoner's dilemma of LOLA, by hand.
@pytest.mark.parametrize(
    ("pair", "rewards"),
    [
        (("all_c", "all_d"), (-3.0, 0.0)),
        (("tit_for_tat", "all_d"), (-2.01, -1.98)),
        (("tit_for_tat", "suspicious_tit_for_tat"), (-1.5, -1.5)),
        (("win_stay_lose_shift", "all_d"), (-2.5, -1.0)),
        (("grim", "suspicious_tit_for_tat"), (-1.99, -1.99)),
    ],
)
def test_episodes_of_two_players(pair: tuple[str, str], rewards: tuple[float, float]) -> None:
    payoffs = symmetric_table(VARIANTS["lola"])
    env = MatrixGameEnv(payoffs, num_envs=3, max_steps=100, seed=0)
    played = play(env, [PLAYERS[name](MatrixGame(payoffs)) for name in pair])
    assert played["reward"].shape == (3, 100, 2)
    assert played["cooperate"].shape == (3, 100, 2, 1)
    assert played["reward"].mean((0, 1)).tolist() == pytest.approx(rewards)


def test_tasks_name_their_players() -> None:
    for name in ("prisoners_dilemma", "stag_hunt", "chicken", "public_goods"):
        assert list(SocialDilemmaTask[name.upper()].get_from_yaml().players()) == list(PLAYERS)
    assert SocialDilemmaTask.MATCHING_PENNIES.get_from_yaml().players() == {}


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_players_of_a_task_read_its_observations(observation: str) -> None:
    task = SocialDilemmaTask.PUBLIC_GOODS.get_from_yaml()
    task.config.update(n_agents=4, observation=observation)
    env = task.options.make_env(num_envs=2, device="cpu", seed=0)
    players: list[Player] = [make() for name, make in task.players().items() if name in ("all_d", "grim", "all_c")]
    cooperated = play(env, [*players, players[0]])["cooperate"].squeeze(-1)
    assert cooperated[:, 0].tolist() == [[1, 0, 1, 1]] * 2
    assert cooperated[:, 1].tolist() == [[1, 0, 0, 1]] * 2
