"""Coins against boards, rewards and counts worked out by hand."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs, step_mdp

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.coins.board import draw_board
from benchmarl_reciprocator.tasks.coins.game import (
    COINS,
    OBSERVATIONS,
    OWNERS,
    VARIANTS,
    CoinsEnv,
    coin_metrics,
    displacement,
    payoff_table,
)
from benchmarl_reciprocator.tasks.environment import GROUPINGS
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.palette import COLOURS

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
RIGHT, LEFT, DOWN, UP, STAY = range(5)


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.COINS.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, seed: int = 0, **changes: Any) -> CoinsEnv:
    return make_task(**changes).options.make_env(num_envs=num_envs, device="cpu", seed=seed)


def place(env: CoinsEnv, agents: list[list[int]], coins: list[list[int]]) -> CoinsEnv:
    """Agents and coins of every environment on given cells."""
    env.place(torch.tensor(agents), torch.tensor(coins))
    return env


def choose(env: CoinsEnv, now: TensorDictBase, actions: Tensor) -> TensorDictBase:
    """Write joint actions ``[B, N]`` where the groups' actions belong."""
    first = 0
    for group, agents in env.group_map.items():
        now[group, "action"] = actions[:, first : first + len(agents)]
        first += len(agents)
    return now


def play(env: CoinsEnv, actions: Tensor) -> TensorDictBase:
    """A rollout ``[B, T]`` of joint actions ``[T, B, N]``; what ends starts again."""
    now, steps = env.reset(), []
    for joint in actions:
        step, now = env.step_and_maybe_reset(choose(env, now, joint))
        steps.append(step)
    return torch.stack(steps, dim=1)


def random_actions(env: CoinsEnv, seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(env.rules.n_actions, (*shape, env.n_agents), generator=generator)


def joint_observation(now: TensorDictBase, env: CoinsEnv) -> Tensor:
    """Observations of all agents, ``[B, N, *O]``."""
    return torch.cat([now[group, "observation"] for group in env.group_map], 1)


def owner_of(coins: list[int], size: int) -> int:
    """Owner of the one coin on the board."""
    (owner,) = [agent for agent, cell in enumerate(coins) if cell < size**2]
    return owner


def moved(cell: int, action: int, size: int) -> int:
    row, column = divmod(cell, size)
    if action == RIGHT:
        column = column + 1 if column < size - 1 else 0
    elif action == LEFT:
        column = column - 1 if column > 0 else size - 1
    elif action == DOWN:
        row = row + 1 if row < size - 1 else 0
    elif action == UP:
        row = row - 1 if row > 0 else size - 1
    return row * size + column


def seen(agents: list[int], coins: list[int], seat: int, size: int, view: int | None) -> np.ndarray:
    """What a seat sees, ``[2 N, k, k]``, cell by cell: what lies on the cell of the board at which a pixel looks."""
    n_agents, side = len(agents), view or size
    seats = [(seat + turn) % n_agents for turn in range(n_agents)]
    things = [agents[i] for i in seats] + [coins[i] for i in seats]
    row, column = divmod(agents[seat], size) if view else (0, 0)
    corner = (row - side // 2, column - side // 2) if view else (0, 0)
    picture = np.zeros((2 * n_agents, side, side), dtype=np.float32)
    for r in range(side):
        for c in range(side):
            cell = (corner[0] + r) % size * size + (corner[1] + c) % size
            for channel, thing in enumerate(things):
                picture[channel, r, c] = thing == cell
    return picture


def shaped(picture: np.ndarray, observation: str) -> list:
    """Channels first ``[C, k, k]`` as the option ``observation`` wants it."""
    return (picture.transpose(1, 2, 0) if observation == "image" else picture.reshape(-1)).tolist()


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Any valid configuration."""
    n_agents = draw(st.integers(2, 10))
    coins = draw(st.sampled_from(COINS))
    smallest = math.isqrt(n_agents) + 1 if coins == "single" else 2
    size = draw(st.integers(smallest, max(smallest, 5)))
    return {
        "n_agents": n_agents,
        "variant": draw(st.sampled_from(sorted(VARIANTS))),
        "coins": coins,
        "owner": draw(st.sampled_from(OWNERS)),
        "grid_size": size,
        "n_actions": draw(st.sampled_from([4, 5])),
        "max_steps": draw(st.integers(1, 7)),
        "penalty": draw(st.none() | st.floats(-5, 0)),
        "penalty_once": draw(st.sampled_from([None, True])),
        "view": draw(st.none() | st.integers(1, size)),
        "observation": draw(st.sampled_from(OBSERVATIONS)),
        "grouping": draw(st.sampled_from(GROUPINGS)),
    }


@PROPERTY
@given(configuration=configurations(), seed=st.integers(0, 1000))
def test_every_step_follows_the_rules(configuration: dict[str, Any], seed: int) -> None:
    num_envs = 3
    env = make_env(num_envs=num_envs, seed=seed, **configuration)
    n_agents, size, single = env.n_agents, configuration["grid_size"], configuration["coins"] == "single"
    penalty = configuration["penalty"]
    penalty = -n_agents / (n_agents - 1) if penalty is None else penalty
    now, steps = env.reset(), 0
    for joint in random_actions(env, seed, 9, num_envs):
        agents, coins = env.agent_cells.tolist(), env.coin_cells.tolist()
        for cells, own in zip(agents, coins):
            assert all(0 <= cell < size**2 for cell in cells)
            on_board = [cell for cell in own if 0 <= cell < size**2]
            assert len(on_board) == (1 if single else n_agents)
            if single:
                assert on_board[0] not in cells
        now = env.step(choose(env, now, joint))
        steps += 1
        rewards = joint_entry(now, "next", "reward").tolist()
        taken = joint_entry(now, "next", "info", "coins_taken").unflatten(-1, (n_agents, n_agents)).tolist()
        for b in range(num_envs):
            arrived = [moved(cell, action, size) for cell, action in zip(agents[b], joint[b].tolist())]
            assert env.agent_cells[b].tolist() == arrived
            expected = [0.0] * n_agents
            lost = [0] * n_agents
            for taker in range(n_agents):
                for owner in range(n_agents):
                    takes = arrived[taker] == coins[b][owner]
                    assert taken[b][taker][owner] == takes
                    if takes:
                        expected[taker] += 1
                        lost[owner] += taker != owner
            if configuration["penalty_once"]:
                lost = [min(number, 1) for number in lost]
            expected = [reward + penalty * number for reward, number in zip(expected, lost)]
            assert rewards[b] == pytest.approx(expected, abs=1e-4)
            after = env.coin_cells[b].tolist()
            untouched = [owner for owner in range(n_agents) if coins[b][owner] not in arrived]
            if single and len(untouched) < n_agents:
                assert after[owner_of(after, size)] not in arrived
            else:
                assert [after[owner] for owner in untouched] == [coins[b][owner] for owner in untouched]
        assert now["next", "truncated"].flatten().tolist() == [steps == configuration["max_steps"]] * num_envs
        assert now["next", "done"].tolist() == now["next", "truncated"].tolist()
        assert not now["next", "terminated"].any()
        steps = 0 if steps == configuration["max_steps"] else steps
        now = env.maybe_reset(step_mdp(now))


@PROPERTY
@given(configuration=configurations(), data=st.data())
def test_only_environments_in_the_mask_are_reset(configuration: dict[str, Any], data: st.DataObject) -> None:
    num_envs = 4
    env = make_env(num_envs=num_envs, **{**configuration, "max_steps": 4})
    mask = data.draw(st.lists(st.booleans(), min_size=num_envs, max_size=num_envs))
    now = env.reset()
    for joint in random_actions(env, 0, 2, num_envs):
        now = step_mdp(env.step(choose(env, now, joint)))
    seen_before = joint_observation(now, env).clone()
    agents, coins = env.agent_cells.clone(), env.coin_cells.clone()
    now["_reset"] = torch.tensor(mask).unsqueeze(-1)
    # A mask of nothing is no reset.
    now = env.reset(now) if any(mask) else now
    for b in range(num_envs):
        if not mask[b]:
            assert env.agent_cells[b].tolist() == agents[b].tolist()
            assert env.coin_cells[b].tolist() == coins[b].tolist()
            assert torch.equal(joint_observation(now, env)[b], seen_before[b])
        elif configuration["coins"] == "single":
            cells = env.coin_cells[b].tolist()
            assert cells[owner_of(cells, configuration["grid_size"])] not in env.agent_cells[b].tolist()
    # Two steps were played of four; those that were reset play two more.
    ends = []
    for joint in random_actions(env, 1, 4, num_envs):
        step = env.step(choose(env, now, joint))
        ends.append(step["next", "truncated"].flatten().tolist())
        now = env.maybe_reset(step_mdp(step))
    assert [list(flags).index(True) for flags in zip(*ends)] == [3 if masked else 1 for masked in mask]


def test_a_reset_places_anew() -> None:
    env = make_env(num_envs=200)
    env.reset()
    agents, coins = env.agent_cells.clone(), env.coin_cells.clone()
    env.reset()
    # By chance a thing lands on its old cell in one of nine environments.
    assert (env.agent_cells == agents).float().mean() < 0.25
    assert (env.coin_cells == coins).float().mean() < 0.25


def some_steps(configuration: dict[str, Any], seed: int) -> tuple[CoinsEnv, TensorDictBase]:
    """Two environments and what they last gave, at the start of an episode or after one or two steps."""
    env = make_env(num_envs=2, seed=seed, **configuration)
    now = env.reset()
    for joint in random_actions(env, seed, seed % 3, 2):
        now = env.step(choose(env, now, joint))["next"]
    return env, now


@PROPERTY
@given(configuration=configurations(), seed=st.integers(0, 1000))
def test_observations_against_boards_by_hand(configuration: dict[str, Any], seed: int) -> None:
    env, now = some_steps(configuration, seed)
    size, view, observation = (configuration[key] for key in ("grid_size", "view", "observation"))
    for agents, coins, observed in zip(env.agent_cells.tolist(), env.coin_cells.tolist(), joint_observation(now, env)):
        for seat in range(env.n_agents):
            assert observed[seat].tolist() == shaped(seen(agents, coins, seat, size, view), observation)


@pytest.mark.parametrize("observation", OBSERVATIONS)
@PROPERTY
@given(configuration=configurations(), seed=st.integers(0, 1000))
def test_state_against_boards_by_hand(observation: str, configuration: dict[str, Any], seed: int) -> None:
    env, now = some_steps({**configuration, "observation": observation}, seed)
    size = configuration["grid_size"]
    for agents, coins, state in zip(env.agent_cells.tolist(), env.coin_cells.tolist(), now["state"]):
        if configuration["view"] is None:
            whole = seen(agents, coins, 0, size, None)
        else:
            # The whole board around every agent, whatever the window.
            whole = np.concatenate([seen(agents, coins, seat, size, size) for seat in range(env.n_agents)])
        assert state.tolist() == shaped(whole, observation)


@PROPERTY
@given(configuration=configurations(), data=st.data())
def test_observations_follow_the_agents_when_seats_are_swapped(
    configuration: dict[str, Any], data: st.DataObject
) -> None:
    n_agents = configuration["n_agents"]
    env = make_env(**{**configuration, "observation": "image"})
    env.reset()
    before = env.observations()[0]
    who = data.draw(st.permutations(range(n_agents)))
    place(env, env.agent_cells[:, who].tolist(), env.coin_cells[:, who].tolist())
    after = env.observations()[0]
    for seat in range(n_agents):
        for turn in range(n_agents):
            # Seat ``who[seat]`` moved to ``seat``; what it now sees at a turn of the seats it saw at another before.
            turn_before = (who[(seat + turn) % n_agents] - who[seat]) % n_agents
            for kind in (0, n_agents):
                assert torch.equal(after[seat, ..., kind + turn], before[who[seat], ..., kind + turn_before])


@PROPERTY
@given(configuration=configurations(), seed=st.integers(0, 1000))
def test_an_image_is_the_flat_view_with_channels_last(configuration: dict[str, Any], seed: int) -> None:
    flat, image = (make_env(2, seed, **{**configuration, "observation": kind}) for kind in ("flat", "image"))
    for env in (flat, image):
        env.reset()
    side = configuration["view"] or configuration["grid_size"]
    unfolded = flat.observations().unflatten(-1, (2 * flat.n_agents, side, side))
    assert torch.equal(image.observations(), unfolded.permute(0, 1, 3, 4, 2))


def board(*rows: str) -> list[float]:
    return [float(cell == "x") for row in rows for cell in row]


def test_whole_board_of_three_agents() -> None:
    env = place(make_env(n_agents=3), [[0, 4, 5]], [[8, 4, 6]])
    places = [board("x..", "...", "..."), board("...", ".x.", "..."), board("...", "..x", "...")]
    coins = [board("...", "...", "..x"), board("...", ".x.", "..."), board("...", "...", "x..")]
    # Oneself first, then the seats after one's own; coins in the same order.
    for seat, order in enumerate([(0, 1, 2), (1, 2, 0), (2, 0, 1)]):
        expected = [value for things in (places, coins) for other in order for value in things[other]]
        assert env.observations()[0, seat].tolist() == expected
    assert torch.equal(env.state(), env.observations()[:, 0])


def test_window_goes_over_the_edge() -> None:
    env = place(make_env(grid_size=4, view=3), [[0, 15]], [[3, 10]])
    # Around the corner (row 0, column 0): rows 3, 0, 1 and columns 3, 0, 1.
    first = [board("...", ".x.", "..."), board("x..", "...", "..."), board("...", "x..", "..."), board("...") * 3]
    # Around (3, 3): rows 2, 3, 0 and columns 2, 3, 0. The coin of the other lies at (0, 3), its own at (2, 2).
    second = [
        board("...", ".x.", "..."),
        board("...", "...", "..x"),
        board("x..", "...", "..."),
        board("...", "...", ".x."),
    ]
    assert env.observations()[0, 0].tolist() == [value for channel in first for value in channel]
    assert env.observations()[0, 1].tolist() == [value for channel in second for value in channel]


def test_what_is_outside_of_the_window_is_hidden() -> None:
    env = place(make_env(grid_size=5, view=3), [[12, 4]], [[10, 22]])
    # Cell 12 is the middle (2, 2): the other agent at (0, 4) and the coins at (2, 0) and (4, 2) are two steps away.
    assert env.observations()[0, 0].tolist() == board("...", ".x.", "...") + [0.0] * 27
    # The state hides nothing: both agents, each with four things.
    assert env.state().sum() == 8


def test_the_smallest_window_shows_the_own_cell() -> None:
    env = place(make_env(view=1), [[4, 4]], [[4, 0]])
    assert env.observations()[0].tolist() == [[1, 1, 1, 0], [1, 1, 0, 1]]


def test_a_coin_that_is_not_on_the_board_is_not_seen() -> None:
    for view in (None, 3):
        env = place(make_env(variant="pola", view=view, observation="image"), [[0, 4]], [[9, 8]])
        assert env.observations()[0, :, :, :, 2:].sum((1, 2)).tolist() == [[0, 1], [1, 0]]


def test_shape_of_the_state() -> None:
    # 2 agents on 4 by 4 cells: 2 * 2 channels, once or, with windows, around each of the agents.
    shapes = {(None, "flat"): [64], (None, "image"): [4, 4, 4], (3, "flat"): [128], (3, "image"): [4, 4, 8]}
    for (view, observation), shape in shapes.items():
        env = make_env(grid_size=4, view=view, observation=observation)
        assert list(env.state().shape[1:]) == list(env.reset()["state"].shape[1:]) == shape


def test_centred_view_is_the_window_of_the_whole_board() -> None:
    views = [place(make_env(grid_size=4, view=view), [[0, 15]], [[3, 10]]) for view in ("centred", 4)]
    assert torch.equal(*(env.observations() for env in views))


def test_state_with_windows_is_what_agents_would_see_of_the_whole_board() -> None:
    for observation in OBSERVATIONS:
        views = {"grid_size": 4, "observation": observation}
        env, whole = (place(make_env(view=view, **views), [[0, 15]], [[3, 10]]) for view in (3, 4))
        first, second = whole.observations()[0]
        # Of images, channels lie side by side: rows stay rows.
        assert torch.equal(env.state()[0], torch.cat([first, second], -1))


@pytest.mark.parametrize("n_actions", [4, 5])
def test_moves_go_around_the_torus(n_actions: int) -> None:
    # Right, left, down, up, stay from the corners of 3 by 3 cells.
    expected = {0: [1, 2, 3, 6, 0], 8: [6, 7, 2, 5, 8]}
    for cell, cells in expected.items():
        env = make_env(num_envs=n_actions, n_actions=n_actions)
        now = env.reset()
        place(env, [[cell, cell]] * n_actions, [[4, 4]] * n_actions)
        env.step(choose(env, now, torch.arange(n_actions).unsqueeze(-1).expand(-1, 2)))
        assert env.agent_cells.tolist() == [[to, to] for to in cells[:n_actions]]


def test_displacement_is_the_shortest_way() -> None:
    # From (0, 0) of 4 by 4 cells: two steps are as far one way as the other.
    ways = displacement(4)
    assert ways[0, 1].tolist() == [0, 1]
    assert ways[0, 3].tolist() == [0, -1]
    assert ways[0, 12].tolist() == [-1, 0]
    assert ways[0, 10].abs().tolist() == [2, 2]
    assert ways[5, 0].tolist() == [-1, -1]


# Cells of 3 by 3 are numbered 0 to 8, 9 is none; agents arrive where they stay.
@pytest.mark.parametrize(
    ("changes", "agents", "coins", "rewards"),
    [
        # Each its own; nobody any.
        ({}, [0, 8], [0, 8], [1, 1]),
        ({}, [0, 8], [1, 7], [0, 0]),
        # Both together take the coin of agent 0: 1 - 2 and 1.
        ({}, [4, 4], [4, 0], [-1, 1]),
        # Each takes the other's: 1 - 2.
        ({}, [0, 8], [8, 0], [-1, -1]),
        # Agent 0 takes both, which lie on one cell; both agents take both: 2 - 2.
        ({}, [4, 0], [4, 4], [2, -2]),
        ({}, [4, 4], [4, 4], [0, 0]),
        # Three agents, -3 / 2 for the owner: of a coin that one other takes, that both others take, that all take.
        ({"n_agents": 3}, [1, 0, 8], [5, 1, 5], [1, -1.5, 0]),
        ({"n_agents": 3}, [1, 1, 8], [5, 6, 1], [1, 1, -3]),
        ({"n_agents": 3}, [1, 1, 1], [1, 6, 7], [-2, 1, 1]),
        # In a circle: everyone takes the next one's.
        ({"n_agents": 3}, [1, 2, 0], [0, 1, 2], [-0.5, -0.5, -0.5]),
        # Four agents, -4 / 3.
        ({"n_agents": 4}, [5, 0, 0, 0], [1, 2, 3, 5], [1, 0, 0, -4 / 3]),
        # One coin: own, another's, together.
        ({"variant": "pola", "n_actions": 5}, [0, 8], [0, 9], [1, 0]),
        ({"variant": "pola", "n_actions": 5}, [0, 8], [9, 0], [1, -2]),
        ({"variant": "pola", "n_actions": 5}, [0, 0], [9, 0], [1, -1]),
        ({"variant": "pola", "n_actions": 5, "n_agents": 3}, [0, 8, 7], [9, 0, 9], [1, -1.5, 0]),
        # Penalties of one's own choice, for 2 and 3 agents.
        ({"penalty": -0.5}, [0, 8], [8, 0], [0.5, 0.5]),
        ({"penalty": -4.0}, [4, 4], [4, 0], [-3, 1]),
        ({"penalty": 0.0}, [4, 0], [4, 4], [2, 0]),
        ({"penalty": -1.0, "n_agents": 3}, [1, 1, 8], [5, 6, 1], [1, 1, -2]),
        ({"penalty": -1.0, "penalty_once": True, "n_agents": 3}, [1, 1, 8], [5, 6, 1], [1, 1, -1]),
    ],
)
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_rewards_by_hand(
    changes: dict[str, Any], agents: list[int], coins: list[int], rewards: list[float], grouping: str
) -> None:
    env = make_env(grouping=grouping, **changes)
    now = env.reset()
    place(env, [agents], [coins])
    step = env.step(choose(env, now, torch.full((1, len(agents)), STAY)))
    assert joint_entry(step, "next", "reward")[0].tolist() == pytest.approx(rewards, abs=1e-6)
    taken = joint_entry(step, "next", "info", "coins_taken").unflatten(-1, (len(agents), -1))[0]
    assert taken.tolist() == [[float(agent == coin) for coin in coins] for agent in agents]


@pytest.mark.parametrize(
    ("cells", "coin", "owner", "actions", "rewards", "arrived"),
    [
        # Right, left, up: two arrive at the coin, one of them its owner.
        ([0, 2, 7], 1, 0, [0, 1, 3], [-1, 1, 0], [1, 1, 4]),
        # Two take the coin of the third, which is penalised once.
        ([0, 2, 7], 1, 2, [0, 1, 1], [1, 1, -2], [1, 1, 6]),
        ([0, 5, 7], 1, 0, [0, 2, 1], [1, 0, 0], [1, 8, 6]),
    ],
)
def test_three_player_coin_game_of_loqa(
    cells: list[int], coin: int, owner: int, actions: list[int], rewards: list[int], arrived: list[int]
) -> None:
    # Worked out by the rules of three_player_coin_game.py, github.com/MiladInk/loqa at 32f50c9
    env = make_env(variant="loqa", n_agents=3, penalty=-2.0, penalty_once=True)
    now = env.reset()
    place(env, [cells], [[coin if seat == owner else 9 for seat in range(3)]])
    step = env.step(choose(env, now, torch.tensor([actions])))
    assert joint_entry(step, "next", "reward")[0].tolist() == rewards
    assert env.agent_cells[0].tolist() == arrived
    after = env.coin_cells[0].tolist()
    assert owner_of(after, 3) == (owner + 1) % 3 and after[owner_of(after, 3)] not in arrived


def test_table_of_payoffs() -> None:
    # By taker, owner, and whose reward.
    assert payoff_table(2, -2.0).tolist() == [[[1, 0], [1, -2]], [[-2, 1], [0, 1]]]
    for n_agents in range(2, 11):
        # With the default penalty a coin that anyone may take is worth nothing to all together.
        table = payoff_table(n_agents, make_env(n_agents=n_agents).penalty)
        assert table.sum().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("variant", ["pola", "loqa"])
@pytest.mark.parametrize("n_agents", [2, 3])
def test_owners_of_the_single_coin_alternate(n_agents: int, variant: str) -> None:
    env = make_env(num_envs=20, variant=variant, n_agents=n_agents)
    now, coins = env.reset(), env.coin_cells.tolist()
    passed_on = Counter()
    for joint in random_actions(env, 0, 40, 20):
        now = step_mdp(env.step(choose(env, now, joint)))
        for before, after in zip(coins, env.coin_cells.tolist()):
            owner, next_owner = owner_of(before, 3), owner_of(after, 3)
            # A coin that was taken does not come back where it was: someone stands there.
            if before[owner] != after[next_owner]:
                assert next_owner == (owner + 1) % n_agents
                passed_on[owner] += 1
            else:
                assert next_owner == owner
        coins = env.coin_cells.tolist()
    assert min(passed_on[owner] for owner in range(n_agents)) > 20


@pytest.mark.parametrize("variant", ["pola", "loqa"])
def test_first_owner_is_random(variant: str) -> None:
    env = make_env(num_envs=4000, variant=variant, n_agents=3)
    env.reset()
    shares = (env.coin_cells < 9).float().mean(0)
    # Four standard errors of 0.0075.
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_random_owners_of_the_single_coin() -> None:
    env = make_env(num_envs=4000, variant="loqa", owner="random", n_agents=3)
    now = env.reset()
    place(env, [[0, 5, 8]] * 4000, [[9, 1, 9]] * 4000)
    env.step(choose(env, now, torch.tensor([[RIGHT, UP, UP]]).expand(4000, 3)))
    # Whoever owned the last one; four standard errors of 0.0075.
    assert (env.coin_cells < 9).float().mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    # Agents stand on cells 1, 2 and 5: the other six are equally likely, within four standard errors of 0.0059.
    cells = env.coin_cells.amin(-1)
    shares = [(cells == cell).float().mean().item() for cell in range(9)]
    assert shares == pytest.approx([1 / 6, 0, 0, 1 / 6, 1 / 6, 0, 1 / 6, 1 / 6, 1 / 6], abs=0.024)


def test_collected_coins_reappear_anywhere() -> None:
    env = make_env(num_envs=4000)
    now = env.reset()
    place(env, [[0, 5]] * 4000, [[1, 8]] * 4000)
    env.step(choose(env, now, torch.tensor([[RIGHT, STAY]]).expand(4000, 2)))
    shares = [(env.coin_cells[:, 0] == cell).float().mean().item() for cell in range(9)]
    # On agents too. Four standard errors of 0.005.
    assert shares == pytest.approx([1 / 9] * 9, abs=0.02)
    assert (env.coin_cells[:, 1] == 8).all()


@pytest.mark.parametrize("coins", COINS)
def test_episodes_start_anywhere(coins: str) -> None:
    env = make_env(num_envs=4000, coins=coins)
    env.reset()
    for cells in (*env.agent_cells.T, *(env.coin_cells.T if coins == "per_agent" else [env.coin_cells.amin(-1)])):
        shares = [(cells == cell).float().mean().item() for cell in range(9)]
        assert shares == pytest.approx([1 / 9] * 9, abs=0.02)
    # Independent of one another: 81 pairs of cells, and the agents share one in a ninth of them.
    assert (env.agent_cells[:, 0] == env.agent_cells[:, 1]).float().mean().item() == pytest.approx(1 / 9, abs=0.02)


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_agents": 3, "view": 3, "observation": "image"},
        {"n_agents": 4, "variant": "pola", "grid_size": 5, "view": 3, "continuation_probability": 0.8},
        {"variant": "loqa", "observation": "image"},
        {"n_agents": 10, "variant": "mfos", "grid_size": 2, "view": 1},
    ],
)
def test_specs(changes: dict[str, Any], grouping: str) -> None:
    env = make_env(num_envs=3, grouping=grouping, **changes)
    check_env_specs(env)
    agents = [f"agent_{i}" for i in range(env.n_agents)]
    assert env.group_map == ({"agents": agents} if grouping == "one_group" else {name: [name] for name in agents})
    for group in env.group_map:
        assert env.action_spec[group, "action"].space.n == env.rules.n_actions
    start = env.reset()
    assert not joint_entry(start, "info", "coins_taken").any()
    assert joint_observation(start, env).dtype == start["state"].dtype == torch.float32


def test_groups_hold_the_same_game() -> None:
    actions = random_actions(make_env(n_agents=3), 0, 40, 4)
    by_agent, by_group = (play(make_env(4, n_agents=3, grouping=grouping), actions) for grouping in GROUPINGS)
    for path in (("next", "reward"), ("next", "info", "coins_taken"), ("next", "observation"), ("observation",)):
        assert torch.equal(joint_entry(by_agent, *path), joint_entry(by_group, *path))
    assert joint_entry(by_agent, "next", "reward").abs().sum() > 0


@pytest.mark.parametrize("changes", [{}, {"variant": "pola"}, {"variant": "loqa", "continuation_probability": 0.8}])
def test_seeds_repeat(changes: dict[str, Any]) -> None:
    actions = random_actions(make_env(**changes), 0, 20, 8) % 4
    same = [play(make_env(8, seed=3, **changes), actions) for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert not (same[0] == play(make_env(8, seed=4, **changes), actions)).all()
    reseeded = make_env(8, seed=4, **changes)
    reseeded.set_seed(3)
    assert (play(reseeded, actions) == same[0]).all()


def test_environment_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    for variant in ("reciprocator", "pola", "loqa"):
        torch.manual_seed(0)
        env = make_env(variant=variant, continuation_probability=0.5)
        play(env, torch.zeros(9, 1, 2, dtype=torch.long))
        assert torch.equal(torch.rand(3), expected)


def test_stochastic_episode_length() -> None:
    env = make_env(num_envs=1000, continuation_probability=0.8, max_steps=20)
    trajectory = play(env, torch.zeros(20, 1000, 2, dtype=torch.long))
    done, terminated, truncated = (trajectory["next", flag].squeeze(-1) for flag in ("done", "terminated", "truncated"))
    length = 1 + done.float().argmax(-1)
    # Mean of a geometric number of steps cut at 20: (1 - 0.8^20) / 0.2 = 4.94. Four standard errors of 0.14.
    assert length.float().mean().item() == pytest.approx(4.942, abs=0.56)
    assert torch.equal(done, terminated | truncated)
    assert not truncated[:, :19].any()


@pytest.mark.parametrize(("variant", "paid"), [("reciprocator", 32), ("mfos", 15), ("jaxmarl", 9), ("loqa", 50)])
def test_an_episode_has_as_many_paid_steps_as_the_source(variant: str, paid: int) -> None:
    env = make_env(variant=variant)
    now = env.reset()
    returned, done, steps = 0.0, False, 0
    while not done:
        # Each takes its own coin in every step: red on the left of its coin, blue on the left of its own.
        if env.rules.coins == "per_agent":
            place(env, [[0, 3]], [[1, 4]])
        else:
            place(env, [[0, 3]], [[1, 9]])
        now = env.step(choose(env, now, torch.tensor([[RIGHT, RIGHT]])))
        returned += joint_entry(now, "next", "reward")[0, 0].item()
        done, steps = now["next", "done"].item(), steps + 1
        now = step_mdp(now)
    assert steps == returned == paid


def test_variants() -> None:
    assert {name: asdict(rules) for name, rules in VARIANTS.items()} == {
        name: {
            "coins": coins,
            "owner": owner,
            "grid_size": 3,
            "n_actions": n_actions,
            "max_steps": max_steps,
            "penalty_once": False,
        }
        for name, coins, owner, n_actions, max_steps in [
            ("reciprocator", "per_agent", "alternating", 5, 32),
            ("mfos", "per_agent", "alternating", 4, 15),
            ("pola", "single", "alternating", 4, 50),
            ("loqa", "single", "alternating", 4, 50),
            ("jaxmarl", "per_agent", "alternating", 5, 9),
        ]
    }
    assert make_env().rules == VARIANTS["reciprocator"]
    assert make_env().penalty == make_env(variant="pola").penalty == make_env(variant="loqa").penalty == -2
    assert make_env(n_agents=3).penalty == -1.5


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_rule_replaces_that_of_the_variant(variant: str) -> None:
    rules = asdict(VARIANTS[variant])
    assert asdict(make_env(variant=variant).rules) == rules
    other = {
        "coins": {"per_agent": "single", "single": "per_agent"}[rules["coins"]],
        "owner": {"alternating": "random", "random": "alternating"}[rules["owner"]],
        "grid_size": 6,
        "n_actions": 9 - rules["n_actions"],
        "max_steps": 7,
        "penalty_once": not rules["penalty_once"],
    }
    assert other.keys() == rules.keys()
    for key, value in other.items():
        env = make_env(variant=variant, **{key: value})
        assert asdict(env.rules) == {**rules, key: value}
        assert env.max_steps == env.rules.max_steps
    # What is set beside the variant is not kept for the next one.
    assert asdict(VARIANTS[variant]) == rules


@pytest.mark.parametrize(
    ("key", "value", "others"),
    [
        ("variant", "lola", {}),
        ("variant", None, {}),
        ("coins", "two", {}),
        ("owner", "fair", {"variant": "pola"}),
        ("n_agents", 1, {}),
        ("n_agents", 0, {}),
        ("n_agents", 11, {}),
        ("grid_size", 1, {}),
        ("grid_size", 0, {}),
        ("grid_size", 2, {"variant": "pola", "n_agents": 4}),
        ("grid_size", 3, {"variant": "loqa", "n_agents": 9}),
        ("grid_size", 3, {"coins": "single", "n_agents": 10}),
        ("n_actions", 3, {}),
        ("n_actions", 6, {}),
        ("max_steps", 0, {}),
        ("view", "middle", {}),
        ("view", True, {}),
        ("view", 0, {}),
        ("view", -1, {}),
        ("view", 4, {}),
        ("view", 6, {"grid_size": 5}),
        ("observation", "pixels", {}),
        ("penalty", 0.1, {}),
        ("penalty", math.nan, {}),
        ("penalty", -math.inf, {}),
        ("continuation_probability", 0.0, {}),
        ("continuation_probability", 1.1, {}),
        ("grouping", "per_team", {}),
    ],
)
def test_bad_input_is_refused(key: str, value: Any, others: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^task\.{key} must be [^|]+, but is {value!r}$"):
        make_env(**{key: value, **others})


def test_largest_and_smallest_that_fit() -> None:
    for changes in (
        {"variant": "pola", "n_agents": 8},
        {"variant": "pola", "n_agents": 3, "grid_size": 2},
        {"n_agents": 10, "grid_size": 2, "view": 2},
        {"variant": "loqa", "n_agents": 10, "grid_size": 4, "view": 4},
        {"max_steps": 1},
    ):
        env = make_env(num_envs=2, **changes)
        assert play(env, random_actions(env, 0, 3, 2))["next", "state"].isfinite().all()


def test_metrics_counted_by_hand() -> None:
    # Agent 0 takes its own coin twice and one of agent 1; agent 1 takes its own and two of agent 0. In the second
    # trajectory nobody but agent 1 takes any, its own, and the padding is full of coins.
    taken = torch.zeros(2, 3, 2, 2)
    taken[0, 0] = torch.tensor([[1.0, 0], [0, 1]])
    taken[0, 1] = torch.tensor([[1.0, 1], [1, 0]])
    taken[0, 2] = torch.tensor([[0.0, 0], [1, 0]])
    taken[1, 1] = torch.tensor([[0.0, 0], [0, 1]])
    taken[1, 2] = 1
    valid = torch.tensor([[True, True, True], [True, True, False]])
    metrics = coin_metrics(taken, valid)
    expected = {
        "own_coin_share": [3 / 6, 1],
        "agent_0_own_coin_share": [2 / 3, math.nan],
        "agent_1_own_coin_share": [1 / 3, 1],
        "agent_0_took_from_0": [2, 0],
        "agent_0_took_from_1": [1, 0],
        "agent_1_took_from_0": [2, 0],
        "agent_1_took_from_1": [1, 1],
    }
    assert metrics.keys() == expected.keys()
    for key, values in expected.items():
        assert metrics[key].tolist() == pytest.approx(values, nan_ok=True), key


def test_metrics_without_coins() -> None:
    metrics = coin_metrics(torch.zeros(1, 4, 3, 3), torch.ones(1, 4, dtype=torch.bool))
    for key, value in metrics.items():
        assert math.isnan(value) if key.endswith("share") else value == 0
    assert len(metrics) == 1 + 3 + 9


def scripted(env: CoinsEnv, boards: list[tuple[list[int], list[int]]]) -> TensorDictBase:
    """An episode ``[T]`` on given boards, agents and coins, on which everyone stays."""
    now, steps = env.reset(), []
    for agents, coins in boards:
        place(env, [agents], [coins])
        step, now = env.step_and_maybe_reset(choose(env, now, torch.full((1, len(agents)), STAY)))
        steps.append(step[0])
    return torch.stack(steps)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_metrics_of_episodes_of_different_lengths(grouping: str) -> None:
    task = make_task(grouping=grouping, n_agents=3)
    env = task.get_env_fun(1, False, 0, "cpu")()
    # Agent 0 takes its own, then that of agent 2; and in the other episode agent 1 takes that of agent 0.
    episodes = [
        scripted(env, [([0, 4, 5], [0, 1, 2]), ([0, 4, 5], [8, 8, 0]), ([0, 4, 5], [8, 8, 8])]),
        scripted(env, [([0, 4, 5], [4, 8, 8])]),
    ]
    metrics = task.evaluation_metrics(episodes)
    assert metrics["own_coin_share"].tolist() == [1 / 2, 0]
    assert metrics["agent_0_own_coin_share"].tolist() == pytest.approx([1 / 2, math.nan], nan_ok=True)
    assert metrics["agent_1_own_coin_share"].tolist() == pytest.approx([math.nan, 0], nan_ok=True)
    assert metrics["agent_0_took_from_2"].tolist() == [1, 0]
    assert metrics["agent_1_took_from_0"].tolist() == [0, 1]
    assert metrics["agent_2_took_from_0"].tolist() == [0, 0]
    assert metrics["agent_0_return"].tolist() == [2, -1.5]
    assert metrics["agent_1_return"].tolist() == [0, 1]
    assert metrics["agent_2_return"].tolist() == [-1.5, 0]


def test_metrics_of_a_collected_batch() -> None:
    task = make_task()
    env = task.get_env_fun(1, False, 0, "cpu")()
    taking = scripted(env, [([0, 4], [0, 0]), ([0, 4], [0, 8])])
    nothing = scripted(env, [([0, 4], [8, 8]), ([0, 4], [8, 8])])
    logged = task.log_info(torch.stack([taking, nothing]))
    # Trajectories without coins have no share; counts are means of both.
    assert logged["collection/own_coin_share"] == pytest.approx(2 / 3)
    assert logged["collection/agent_0_took_from_0"] == 1
    assert logged["collection/agent_0_took_from_1"] == 0.5


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])


def area(picture: np.ndarray, colour: str) -> int:
    """Number of pixels of a colour."""
    return int((np.abs(picture.astype(int) - rgb(colour)).max(-1) <= 8).sum())


def cell_of(picture: np.ndarray, cell: int, size: int) -> np.ndarray:
    side = picture.shape[0] // size
    row, column = divmod(cell, size)
    return picture[row * side : (row + 1) * side, column * side : (column + 1) * side]


def test_picture_of_a_board() -> None:
    env = place(make_env(num_envs=2, n_agents=3), [[0, 4, 5], [1, 1, 1]], [[8, 7, 6], [1, 1, 1]])
    picture = env.render()
    assert picture.shape == (3 * 64, 3 * 64, 3)
    assert picture.dtype == np.uint8
    # The first environment: every thing on its cell in its owner's colour, and in no other.
    for seat, (agent, coin) in enumerate([(0, 8), (4, 7), (5, 6)]):
        inside = [cell for cell in range(9) if area(cell_of(picture, cell, 3), COLOURS[seat])]
        assert inside == [agent, coin]
        # A disc and a ring.
        assert (cell_of(picture, agent, 3)[32, 32] == rgb(COLOURS[seat])).all()
        assert (cell_of(picture, coin, 3)[32, 32] == 255).all()
        assert area(cell_of(picture, agent, 3), COLOURS[seat]) > area(cell_of(picture, coin, 3), COLOURS[seat])
    assert np.array_equal(picture, draw_board([0, 4, 5], [8, 7, 6], 3))


def test_what_shares_a_cell_is_drawn_side_by_side() -> None:
    cell = cell_of(draw_board([4, 4], [4, 4], 3), 4, 3)
    # Two rows of two: the agents, below them their coins.
    for seat, (agent, coin) in enumerate([(cell[:32, :32], cell[32:, :32]), (cell[:32, 32:], cell[32:, 32:])]):
        assert (agent[16, 16] == rgb(COLOURS[seat])).all()
        assert (coin[16, 16] == 255).all()
        assert area(coin, COLOURS[seat]) > 20
        assert area(cell, COLOURS[seat]) == area(agent, COLOURS[seat]) + area(coin, COLOURS[seat])


def patches(picture: np.ndarray, colour: str) -> int:
    """Number of connected regions of a colour; a few pixels at the edge of another colour are none."""
    left = set(zip(*np.nonzero(np.abs(picture.astype(int) - rgb(colour)).max(-1) <= 8)))
    count = 0
    while left:
        todo, size = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            size += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            todo += near
        count += size > 30
    return count


@pytest.mark.parametrize("n_agents", [2, 10])
def test_everything_on_one_cell_is_drawn(n_agents: int) -> None:
    both, agents = (draw_board([3] * n_agents, [coin] * n_agents, 2, cell=256) for coin in (3, 4))
    assert both.shape == agents.shape == (512, 512, 3)
    for colour in COLOURS[:n_agents]:
        # A disc and a ring, none over another, and all on that cell.
        assert patches(cell_of(both, 3, 2), colour) == patches(both, colour) == 2
        assert patches(agents, colour) == 1


def test_a_coin_that_is_not_on_the_board_is_not_drawn() -> None:
    with_coin, without = draw_board([0, 4], [9, 8], 3), draw_board([0, 4], [9, 9], 3)
    assert area(cell_of(with_coin, 8, 3), COLOURS[1]) > 0
    assert area(cell_of(without, 8, 3), COLOURS[1]) == 0
    for picture in (with_coin, without):
        assert [cell for cell in range(9) if area(cell_of(picture, cell, 3), COLOURS[0])] == [0]


def test_colours_can_be_told_apart() -> None:
    assert len(COLOURS) == 10
    for first in range(10):
        for second in range(first):
            assert np.abs(rgb(COLOURS[first]) - rgb(COLOURS[second])).max() > 40


def test_coins_can_be_rendered_and_matrix_games_cannot() -> None:
    for task, renders in ((make_task(), True), (SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml(), False)):
        assert task.has_render(task.get_env_fun(1, False, 0, "cpu")()) == renders
    with pytest.raises(ValueError, match=r"^mode must be rgb_array, but is 'human'$"):
        make_env().render(mode="human")
