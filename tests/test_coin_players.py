"""Scripted players of Coins: what they do on boards set by hand, and the bounds that their play comes to."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarl_reciprocator.tasks.coins.game import COINS, OBSERVATIONS, VARIANTS, CoinRules, CoinsEnv, coin_metrics
from benchmarl_reciprocator.tasks.coins.players import PLAYERS, TitForTat, scripted_bounds
from benchmarl_reciprocator.tasks.players import Player, play

PROPERTY = settings(deadline=None, derandomize=True, max_examples=20)
EPISODES = 4000
RIGHT, LEFT, DOWN, UP, STAY = range(5)


def rules_of(variant: str = "reciprocator", **changes: Any) -> CoinRules:
    return replace(VARIANTS[variant], **changes)


def make_env(n_agents: int, rules: CoinRules, num_envs: int = 1, seed: int = 0, **options: Any) -> CoinsEnv:
    return CoinsEnv(n_agents, rules, num_envs=num_envs, seed=seed, **options)


def place(env: CoinsEnv, agents: list[int], coins: list[int]) -> CoinsEnv:
    """The same board in every environment."""
    env.place(torch.tensor(agents).expand(*env.batch_size, -1), torch.tensor(coins).expand(*env.batch_size, -1))
    return env


def scatter(env: CoinsEnv) -> CoinsEnv:
    """A random start in every environment."""
    env.start(torch.ones(env.batch_size, dtype=torch.bool))
    return env


def player_of(env: CoinsEnv, strategy: str) -> Player:
    return PLAYERS[strategy](env.n_agents, env.rules, env.view, env.observation)


def players_of(env: CoinsEnv, *strategies: str) -> list[Player]:
    return [player_of(env, strategy) for strategy in strategies]


def first_step(env: CoinsEnv, strategy: str, seat: int = 0) -> Tensor:
    """Probabilities of a player's first actions."""
    player = player_of(env, strategy)
    return player(env.observations()[:, seat], torch.zeros(*env.batch_size, player.memory_size))[0]


def chosen(strategy: str, agents: list[int], coins: list[int], seat: int = 0, **changes: Any) -> set[int]:
    """Actions that a player takes on a board, all of them with equal probability."""
    options = {key: changes.pop(key) for key in ("view", "observation") if key in changes}
    env = place(make_env(len(agents), rules_of(**changes), **options), agents, coins)
    probabilities = first_step(env, strategy, seat)[0]
    actions = probabilities.nonzero().flatten().tolist()
    assert probabilities[actions].tolist() == pytest.approx([1 / len(actions)] * len(actions))
    return set(actions)


def steps_between(first: int, second: int, size: int) -> int:
    """Steps between two cells of a torus."""
    total = 0
    for one, other in zip(divmod(first, size), divmod(second, size)):
        total += min((one - other) % size, (other - one) % size)
    return total


def reached(cell: int, action: int, size: int) -> int:
    row, column = divmod(cell, size)
    rows, columns = {RIGHT: (0, 1), LEFT: (0, -1), DOWN: (1, 0), UP: (-1, 0), STAY: (0, 0)}[action]
    return (row + rows) % size * size + (column + columns) % size


# Tolerances cover the rounding of the bounds, and reference play that may break ties another way. The standard errors
# are far below: 0.06 of a return, 0.003 of a reward per step, 0.001 of a share.
@pytest.mark.parametrize(
    ("n_agents", "grid_size", "n_actions", "cooperative_return", "cooperative_share", "greedy_share", "mixed"),
    [
        (2, 3, 5, 19.4, 0.90, 0.50, (0.716, -0.155)),
        (2, 3, 4, 17.9, 0.90, 0.50, (0.676, -0.147)),
        (3, 3, 5, 19.0, 0.82, 0.33, (0.797, 0.163)),
        (3, 4, 5, 14.1, 0.89, 0.33, (0.643, 0.08)),
    ],
)
def test_bounds_with_a_coin_for_everyone(
    n_agents: int,
    grid_size: int,
    n_actions: int,
    cooperative_return: float,
    cooperative_share: float,
    greedy_share: float,
    mixed: tuple[float, float],
) -> None:
    rules = rules_of(grid_size=grid_size, n_actions=n_actions)
    assert rules.max_steps == 32
    bounds = scripted_bounds(n_agents, rules, episodes=EPISODES)
    assert bounds == {
        "all_cooperate_return": pytest.approx(cooperative_return, abs=0.25),
        "all_cooperate_own_coin_share": pytest.approx(cooperative_share, abs=0.012),
        "all_greedy_return": pytest.approx(0, abs=0.25),
        "all_greedy_own_coin_share": pytest.approx(greedy_share, abs=0.006),
    }
    env = make_env(n_agents, rules, EPISODES)
    played = play(env, players_of(env, "greedy", *["cooperate"] * (n_agents - 1)))
    greedy, *cooperators = played["reward"].mean((0, 1)).tolist()
    assert greedy == pytest.approx(mixed[0], abs=0.02)
    assert cooperators == pytest.approx([mixed[1]] * (n_agents - 1), abs=0.02)


# Reward per step of always cooperating, always defecting and random play, in the single-coin league.
@pytest.mark.parametrize("variant", ["pola", "loqa"])
@pytest.mark.parametrize(
    ("strategies", "rewards"),
    [
        (("cooperate", "cooperate"), (0.347, 0.347)),
        (("greedy", "cooperate"), (0.631, -0.269)),
        (("greedy", "greedy"), (0, 0)),
        (("greedy", "random"), (0.526, -0.534)),
    ],
)
def test_bounds_with_a_single_coin(variant: str, strategies: tuple[str, str], rewards: tuple[float, float]) -> None:
    rules = rules_of(variant)
    assert rules.max_steps == 50
    env = make_env(2, rules, EPISODES)
    rewards_per_step = play(env, players_of(env, *strategies))["reward"].mean((0, 1))
    assert rewards_per_step.tolist() == pytest.approx(rewards, abs=0.02)


def test_shares_with_a_single_coin() -> None:
    bounds = scripted_bounds(2, rules_of("pola"), episodes=200)
    assert bounds["all_cooperate_own_coin_share"] == 1
    assert bounds["all_greedy_own_coin_share"] == pytest.approx(0.5, abs=0.05)


def test_penalty_reaches_the_bounds() -> None:
    # Without a penalty greedy play earns what it takes.
    free = scripted_bounds(2, rules_of(), penalty=0.0, episodes=300)
    costly = scripted_bounds(2, rules_of(), penalty=-2.0, episodes=300)
    default = scripted_bounds(2, rules_of(), episodes=300)
    assert default == costly
    assert free["all_greedy_return"] > 20
    assert free["all_greedy_own_coin_share"] == costly["all_greedy_own_coin_share"]


def test_bounds_repeat_by_seed() -> None:
    first, again, other = (scripted_bounds(2, rules_of(), episodes=50, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_seats_make_choices_of_their_own() -> None:
    ways = []
    for move in (scatter, lambda env: play(env, players_of(env, "random", "random"))):
        env = make_env(2, rules_of(max_steps=5), 100)
        move(env)
        ways.append((env.agent_cells[:, 0] - env.agent_cells[:, 1]).tolist())
    # The agents start alike, but do not stay as far from one another as players would that always move together.
    assert sum(start == end for start, end in zip(*ways)) < 50


def test_play_reports_every_step() -> None:
    rules = rules_of(max_steps=6)
    env = make_env(3, rules, 5)
    played = play(env, players_of(env, "cooperate", "greedy", "random"))
    assert played["reward"].shape == (5, 6, 3)
    assert played["coins_taken"].shape == (5, 6, 3, 3)
    # A coin is worth 1 to the taker, and -3 / 2 to an owner who is not the taker.
    taken = played["coins_taken"]
    own = taken.diagonal(dim1=-2, dim2=-1)
    expected = taken.sum(-1) - 1.5 * (taken.sum(-2) - own)
    torch.testing.assert_close(played["reward"], expected)
    share = coin_metrics(taken, torch.ones(5, 6, dtype=torch.bool))["own_coin_share"]
    assert torch.equal(share.isnan(), taken.sum((1, 2, 3)) == 0)


# Cells of 3 by 3 are numbered 0 to 8, 9 is none. The player is agent 0 with the first coin.
@pytest.mark.parametrize(
    ("strategy", "agents", "coins", "actions", "changes"),
    [
        # Next to both coins: its own, or either.
        ("cooperate", [4, 0], [5, 3], {RIGHT}, {}),
        ("greedy", [4, 0], [5, 3], {RIGHT, LEFT}, {}),
        # The other's is nearer.
        ("cooperate", [4, 0], [8, 3], {RIGHT, DOWN}, {}),
        ("greedy", [4, 0], [8, 3], {LEFT}, {}),
        # Two shortest ways, one of them over the other's coin; and over the edge of the board.
        ("cooperate", [0, 0], [4, 1], {DOWN}, {}),
        ("cooperate", [0, 0], [8, 2], {UP}, {}),
        ("cooperate", [0, 0], [8, 6], {LEFT}, {}),
        # Over the other's coin if there is no other way as short.
        ("cooperate", [0, 0], [2, 1], {RIGHT}, {"grid_size": 5}),
        ("cooperate", [10, 0], [12, 11], {RIGHT}, {"grid_size": 5}),
        # Below its feet: it stays to take it; with four actions it steps off, and not onto the other's.
        ("cooperate", [4, 0], [4, 5], {STAY}, {}),
        ("greedy", [4, 0], [4, 5], {STAY, RIGHT}, {}),
        ("cooperate", [4, 0], [4, 5], {LEFT, DOWN, UP}, {"n_actions": 4}),
        ("greedy", [4, 0], [4, 8], {RIGHT, LEFT, DOWN, UP}, {"n_actions": 4}),
        # Both coins on one cell.
        ("cooperate", [4, 0], [5, 5], {RIGHT}, {}),
        ("greedy", [4, 0], [5, 5], {RIGHT}, {}),
        # A single coin: its own, or another's, from which a cooperator keeps away.
        ("cooperate", [4, 0], [5, 9], {RIGHT}, {"variant": "pola"}),
        ("cooperate", [4, 0], [9, 5], {LEFT, DOWN, UP}, {"variant": "pola"}),
        ("cooperate", [4, 0], [9, 5], {LEFT, DOWN, UP, STAY}, {"variant": "pola", "n_actions": 5}),
        ("cooperate", [4, 0], [9, 8], {RIGHT, LEFT, DOWN, UP}, {"variant": "pola"}),
        ("greedy", [4, 0], [9, 5], {RIGHT}, {"variant": "pola"}),
        # A window of 3 by 3 around cell 12 of 5 by 5: what is two steps away in a row or column is not in it.
        ("greedy", [12, 0], [10, 6], {LEFT, UP}, {"grid_size": 5, "view": 3}),
        ("cooperate", [12, 0], [10, 11], {RIGHT, DOWN, UP, STAY}, {"grid_size": 5, "view": 3}),
        ("greedy", [12, 0], [10, 22], set(range(5)), {"grid_size": 5, "view": 3}),
        ("random", [4, 0], [5, 3], set(range(5)), {}),
        ("random", [4, 0], [5, 3], set(range(4)), {"n_actions": 4}),
    ],
)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_choices_by_hand(
    strategy: str, agents: list[int], coins: list[int], actions: set[int], changes: dict[str, Any], observation: str
) -> None:
    assert chosen(strategy, agents, coins, observation=observation, **changes) == actions


def test_every_seat_knows_its_own_coin() -> None:
    # Three agents in the middle, coins right, left and below of it.
    for seat, action in enumerate([RIGHT, LEFT, DOWN]):
        assert chosen("cooperate", [4, 4, 4], [5, 3, 7], seat) == {action}
        assert chosen("greedy", [4, 4, 4], [5, 3, 7], seat) == {RIGHT, LEFT, DOWN}


@pytest.mark.parametrize("n_actions", [4, 5])
@pytest.mark.parametrize("view", [None, 1, 3])
def test_random_play_is_uniform(n_actions: int, view: int | None) -> None:
    env = scatter(make_env(2, rules_of(n_actions=n_actions), 4, view=view))
    assert torch.equal(first_step(env, "random"), torch.full((4, n_actions), 1 / n_actions))


@st.composite
def games(draw: st.DrawFn) -> tuple[int, CoinRules, int]:
    """Number of agents, rules, and a seed."""
    n_agents = draw(st.integers(2, 6))
    coins = draw(st.sampled_from(COINS))
    smallest = math.isqrt(n_agents) + 1 if coins == "single" else 2
    rules = rules_of(
        draw(st.sampled_from(sorted(VARIANTS))),
        coins=coins,
        grid_size=draw(st.integers(smallest, 6)),
        n_actions=draw(st.sampled_from([4, 5])),
    )
    return n_agents, rules, draw(st.integers(0, 1000))


@PROPERTY
@given(game=games())
def test_players_take_a_shortest_way(game: tuple[int, CoinRules, int]) -> None:
    n_agents, rules, seed = game
    env, size = scatter(make_env(n_agents, rules, 20, seed)), rules.grid_size
    for strategy in ("cooperate", "greedy"):
        for seat in range(n_agents):
            for agents, coins, chances in zip(
                env.agent_cells.tolist(), env.coin_cells.tolist(), first_step(env, strategy, seat).tolist()
            ):
                targets = coins if strategy == "greedy" else [coins[seat]]
                targets = [coin for coin in targets if coin < size**2]
                if not targets:
                    continue
                ways = {
                    move: min(steps_between(reached(agents[seat], move, size), coin, size) for coin in targets)
                    for move in range(rules.n_actions)
                }
                best = [move for move, steps in ways.items() if steps == min(ways.values())]
                if strategy == "cooperate":
                    others = [coin for owner, coin in enumerate(coins) if owner != seat]
                    best = [move for move in best if reached(agents[seat], move, size) not in others] or best
                assert [move for move, chance in enumerate(chances) if chance > 0] == best


@PROPERTY
@given(game=games(), strategy=st.sampled_from(sorted(PLAYERS)))
def test_players_act_alike_on_all_views_of_the_whole_board(game: tuple[int, CoinRules, int], strategy: str) -> None:
    n_agents, rules, seed = game
    size = rules.grid_size
    views = [(None, "flat"), (None, "image"), (size, "flat"), (size, "image")]
    envs = [make_env(n_agents, rules, 30, seed, view=view, observation=observation) for view, observation in views]
    first, *others = (play(env, players_of(env, *[strategy] * n_agents), seed)["coins_taken"] for env in envs)
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("view", [None, 3])
@pytest.mark.parametrize(("n_agents", "grid_size", "n_actions"), [(2, 3, 4), (3, 3, 5), (2, 5, 4), (4, 4, 4)])
def test_cooperators_never_take_the_single_coin_of_another(
    n_agents: int, grid_size: int, n_actions: int, view: int | None
) -> None:
    rules = rules_of("pola", grid_size=grid_size, n_actions=n_actions)
    env = make_env(n_agents, rules, 200, view=view)
    taken = play(env, players_of(env, *["cooperate"] * n_agents))["coins_taken"].sum((0, 1))
    assert (taken.diagonal() > 0).all()
    assert taken.sum() == taken.diagonal().sum()


def test_cooperators_leave_the_single_coin_on_the_smallest_board() -> None:
    # Right and left lead to the same cell, as do up and down.
    assert chosen("cooperate", [0, 3], [4, 1], variant="pola", grid_size=2) == {DOWN, UP}
    assert chosen("cooperate", [0, 3], [1, 4], variant="pola", grid_size=2) == {RIGHT, LEFT}


def test_play_repeats_by_seed() -> None:
    rewards = []
    for seed in (1, 1, 2):
        env = make_env(2, rules_of(), 200)
        rewards.append(play(env, players_of(env, "greedy", "random"), seed)["reward"])
    assert torch.equal(rewards[0], rewards[1])
    assert not torch.equal(rewards[0], rewards[2])


def test_players_leave_the_global_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    env = make_env(2, rules_of(), 4)
    play(env, players_of(env, "greedy", "random"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("leading", [(), (7,), (2, 3)])
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("strategy", PLAYERS)
def test_any_number_of_leading_dimensions(strategy: str, leading: tuple[int, ...], observation: str) -> None:
    env = scatter(make_env(2, rules_of(), 7, observation=observation))
    seen = env.observations()[:, 0]
    seen = seen[0].expand(*leading, *seen.shape[1:])
    player = player_of(env, strategy)
    memory = torch.zeros(*leading, player.memory_size)
    probabilities, after = player(seen, memory)
    assert probabilities.shape == (*leading, 5)
    assert after.shape == memory.shape


# Boards in a row, agents and coins by seat, and what the player in seat 0 does on each.
@pytest.mark.parametrize(
    ("boards", "actions"),
    [
        # Its coin is taken: the other's, which is nearer, is fair game until it has it, and is then kept off.
        ([([4, 5], [8, 1]), ([7, 8], [3, 1]), ([1, 8], [3, 0])], [DOWN, DOWN, DOWN]),
        # The same start, but nobody takes its coin.
        ([([4, 5], [8, 1]), ([7, 2], [8, 1])], [DOWN, RIGHT]),
        # The other takes its own coin, and so it goes for its own, not for the nearer one.
        ([([4, 0], [8, 1]), ([7, 1], [8, 4])], [DOWN, RIGHT]),
        # Both take its coin: the other owes for it.
        ([([4, 8], [7, 1]), ([7, 7], [3, 1])], [DOWN, DOWN]),
    ],
)
@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("view", [None, 3])
def test_tit_for_tat_by_hand(boards: list, actions: list[int], view: int | None, observation: str) -> None:
    env = make_env(2, rules_of(), view=view, observation=observation)
    player = player_of(env, "tit_for_tat")
    memory, taken = torch.zeros(1, player.memory_size), []
    for agents, coins in boards:
        probabilities, memory = player(place(env, agents, coins).observations()[:, 0], memory)
        taken.append(probabilities.argmax().item())
    assert taken == actions


@PROPERTY
@given(game=games(), fixed=st.booleans())
def test_tit_for_tat_knows_who_owes_it(game: tuple[int, CoinRules, int], fixed: bool) -> None:
    n_agents, rules, seed = game
    env = scatter(make_env(n_agents, rules, 30, seed, view=None if fixed else rules.grid_size))
    player, (cooperate, greedy) = player_of(env, "tit_for_tat"), players_of(env, "cooperate", "greedy")
    memory, owed = torch.zeros(30, player.memory_size), torch.zeros(30, n_agents - 1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        seen = env.observations()[:, 0]
        probabilities, memory = player(seen, memory)
        assert torch.equal(memory[:, -(n_agents - 1) :], owed)
        # With nobody in debt a cooperator, with everybody greedy.
        as_cooperator = ((probabilities > 0) <= (cooperate(seen, memory)[0] > 0)).all(-1)
        as_greedy = ((probabilities > 0) <= (greedy(seen, memory)[0] > 0)).all(-1)
        assert as_cooperator[(owed <= 0).all(-1)].all()
        assert as_greedy[(owed > 0).all(-1)].all()
        actions = torch.randint(rules.n_actions, (30, n_agents), generator=generator)
        actions[:, 0] = probabilities.argmax(-1)
        taken = env.transition(actions)[1]["coins_taken"]
        owed = owed + taken[:, 1:, 0] - taken[:, 0, 1:]


def test_tit_for_tat_cooperates_with_cooperators_and_is_not_exploited() -> None:
    env = make_env(2, rules_of(), 500)
    returns = {
        other: play(env, players_of(env, "tit_for_tat", other))["reward"].sum(1).mean(0).tolist()
        for other in ("tit_for_tat", "cooperate", "greedy")
    }
    # Two cooperators come to 19.4, a cooperator among greedy play to -5 and 23.
    assert min(returns["tit_for_tat"]) > 17
    assert min(returns["cooperate"]) > 17
    assert returns["greedy"][0] > -3
    assert returns["greedy"][1] < 10


def test_tit_for_tat_needs_the_whole_board() -> None:
    with pytest.raises(ValueError, match=r"^task\.view must be null, centred or 5 with a player .*, but is 3$"):
        TitForTat(2, rules_of(grid_size=5), view=3)
