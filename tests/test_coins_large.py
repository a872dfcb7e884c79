"""Coins on large boards: cases worked out by hand, what agents see, scripts, variants and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.coin_boards.coins_large import CoinBoardEnv
from benchmarl_reciprocator.tasks.players import Player, play

NORTH, EAST, SOUTH, WEST = range(4)


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.COINS_LARGE.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, **changes: Any) -> CoinBoardEnv:
    env = make_task(**{"coin_probability": 0.0, **changes}).options.make_env(num_envs=num_envs, device="cpu", seed=0)
    env.reset()
    return env


def put(env: CoinBoardEnv, coins: dict[tuple[int, int], int], *poses: tuple[int, int, int]) -> CoinBoardEnv:
    """Coins of seats by row and column, and agents by row, column and orientation."""
    things = env.first_things.expand_as(env.things).clone()
    for place, owner in coins.items():
        things[:, env.grid.layout[place]] = env.things_named[f"coin_{owner}"]
    cells = torch.tensor([env.grid.layout[row, column].item() for row, column, _ in poses])
    facing = torch.tensor([pose[2] for pose in poses])
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1), things)
    return env


def act(env: CoinBoardEnv, *names: str) -> list[float]:
    """Rewards of the first environment for one step."""
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    return env.transition(actions)[0][0].tolist()


@pytest.mark.parametrize(
    ("coins", "actions", "rewards"),
    [
        ({(3, 3): 0}, ("east", "stay"), [1, 0]),
        ({(3, 3): 1}, ("east", "stay"), [1, -2]),
        ({(3, 3): 1, (5, 3): 0}, ("east", "west"), [-1, -1]),
        ({(3, 3): 0, (5, 3): 1}, ("east", "west"), [1, 1]),
        ({(3, 3): 1, (5, 3): 1}, ("east", "west"), [1, -1]),
        ({(3, 3): 0, (5, 3): 1}, ("stay", "north"), [0, 0]),
    ],
)
def test_rewards_by_hand(coins: dict, actions: tuple[str, str], rewards: list[float]) -> None:
    env = put(make_env(), coins, (3, 2, EAST), (5, 4, WEST))
    assert act(env, *actions) == rewards
    left = sum(env.things[0, env.grid.layout[place]].item() > 1 for place in coins)
    assert left == len(coins) - sum(name in ("east", "west") for name in actions)
    # A coin pays once.
    assert act(env, "stay", "stay") == [0, 0]


def test_among_three_the_owner_alone_pays_for_every_coin_that_is_taken() -> None:
    env = put(make_env(n_agents=3), {(3, 3): 2, (5, 3): 2}, (3, 2, EAST), (5, 4, WEST), (7, 7, NORTH))
    assert act(env, "east", "west", "stay") == [1, 1, -4]


def test_of_two_who_go_for_one_coin_one_gets_it() -> None:
    env = put(make_env(400), {(3, 3): 0}, (3, 2, EAST), (3, 4, WEST))
    rewards = env.transition(torch.tensor([[env.actions["east"], env.actions["west"]]]).expand(400, -1))[0]
    own = rewards[:, 0] == 1
    assert (rewards[own] == torch.tensor([1.0, 0.0])).all() and (rewards[~own] == torch.tensor([-2.0, 1.0])).all()
    assert 0.4 < own.float().mean() < 0.6


def test_coins_of_all_appear_alike_on_free_cells() -> None:
    env = make_env(2000, coin_probability=0.04)
    env.transition(torch.zeros(2000, 2, dtype=torch.long))
    ground = env.things[:, env.ground]
    for owner in range(2):
        found = (ground == env.things_named[f"coin_{owner}"]).float().mean().item()
        assert found == pytest.approx(0.02, abs=5 * (0.02 / ground.numel()) ** 0.5)
    starts = env.things[:, env.ground.stop : env.grid.wall]
    assert starts.shape[1] == 4 and (starts == 0).all()
    # Nothing grows under an agent, nor over another coin.
    env = put(make_env(1, coin_probability=1.0), {(3, 4): 1}, (3, 3, EAST), (5, 5, EAST))
    act(env, "stay", "stay")
    lies = env.things[0, env.grid.layout]
    assert lies[3, 3] == lies[5, 5] == 0 and lies[3, 4] == env.things_named["coin_1"]
    assert (env.things[0, env.ground] > 1).sum() == env.ground.stop - 2


@pytest.mark.parametrize("observation", ["image", "rgb", "flat"])
def test_everybody_sees_its_own_coins_first(observation: str) -> None:
    """All seats moved on by one, agents and coins alike: each agent sees what the one before it saw."""
    where = ((2, 2, NORTH), (3, 4, EAST), (5, 6, WEST))
    coins = {(3, 3): 0, (4, 4): 1, (6, 6): 2, (2, 5): 0}
    env = make_env(n_agents=3, observation=observation)
    before, state = put(env, coins, *where).observations(), env.state()
    moved = put(env, {place: (seat + 1) % 3 for place, seat in coins.items()}, *(where[seat - 1] for seat in range(3)))
    assert torch.equal(moved.observations(), before.roll(1, 1))
    assert torch.equal(env.state(first_seat=1), state) and not torch.equal(env.state(), state)
    assert env.interchangeable_seats


def test_channels_by_hand() -> None:
    seen = put(make_env(n_agents=3), {(3, 3): 1}, (3, 2, EAST), (3, 4, EAST), (7, 7, EAST)).observations()[0]
    # Channels: wall, and coins of the agent itself, of the seat after it and of the one after that.
    assert seen[0, 3, 4, :4].tolist() == [0, 0, 1, 0]
    assert seen[1, 3, 2, :4].tolist() == [0, 1, 0, 0]


def players(task: SocialDilemmaClass, *names: str) -> list[Player]:
    return [task.players()[name]() for name in names]


@pytest.mark.parametrize(("name", "best"), [("cooperate", {"north", "south"}), ("greedy", {"east"})])
def test_scripts_go_for_the_coins_that_they_are_for(name: str, best: set[str]) -> None:
    env = put(make_env(), {(4, 5): 1, (4, 6): 0}, (4, 4, EAST), (7, 1, EAST))
    chances, _ = players(make_task(), name)[0](env.observations()[:, 0], torch.zeros(1, 0))
    assert {action for action, number in env.actions.items() if chances[0, number] > 0} == best


def test_greed_pays_and_far_less_against_who_answers_it() -> None:
    task = make_task(max_steps=60)
    env = task.options.make_env(num_envs=40, device="cpu", seed=0)
    returns = {}
    for pair in (("cooperate", "cooperate"), ("greedy", "cooperate"), ("greedy", "greedy"), ("greedy", "tit_for_tat")):
        played = play(env, players(task, *pair))
        returns[pair] = played["reward"].sum(1).mean(0)
        if pair[0] == "cooperate":
            assert played["others_coins"].sum() == 0
    both, exploits = returns["cooperate", "cooperate"], returns["greedy", "cooperate"]
    assert exploits[0] > both[0] > returns["greedy", "greedy"].mean() and exploits[1] < 0
    answered = returns["greedy", "tit_for_tat"]
    assert answered[0] < exploits[0] - 1 and answered[1] > exploits[1]


def test_tit_for_tat_takes_one_coin_back() -> None:
    (player,) = players(make_task(), "tit_for_tat")
    env = put(make_env(), {(3, 5): 0, (4, 3): 1}, (4, 2, EAST), (3, 6, WEST))
    _, memory = player(env.observations()[:, 0], torch.zeros(1, player.memory_size))
    assert memory[0, 2] == 0
    # It stays, while the other takes its coin.
    memory[0, 1] = 0
    assert act(env, "stay", "west") == [-2, 1]
    chances, memory = player(env.observations()[:, 0], memory)
    assert chances[0, env.actions["east"]] == 1 and memory[0, 1:3].tolist() == [env.actions["east"], 0]
    assert act(env, "east", "stay") == [1, -2]


@pytest.mark.parametrize(("actions", "view", "behind"), [("compass", 17, None), ("turn", 17, None), ("turn", 9, 1)])
def test_tit_for_tat_knows_where_its_coins_were(actions: str, view: int, behind: int | None) -> None:
    """Wherever it goes and turns, it sees its coins taken; only where both go for one cell it may be mistaken."""
    task = make_task(actions=actions, view=view, view_behind=behind, coin_probability=0.1)
    env = task.options.make_env(num_envs=64, device="cpu", seed=0)
    env.reset()
    (player,) = players(task, "tit_for_tat")
    generator = torch.Generator().manual_seed(0)
    memory, lost = torch.zeros(64, player.memory_size), torch.zeros(64)
    # So far in debt that it takes no other's coin, which would be counted, too.
    memory[:, 2] = -100
    for _ in range(20):
        chances, memory = player(env.observations()[:, 0], memory)
        moves = torch.randint(len(env.actions), (64,), generator=generator)
        seen_before, lost_before = memory[:, 2] + 100, lost
        lost = lost + env.transition(torch.stack([chances.argmax(-1), moves], -1))[1]["lost_coins"][:, 0, 0]
    assert lost_before.sum() > 50
    if behind is None:
        assert (seen_before == lost_before).float().mean() > 0.9
    else:
        # What is behind it, it does not see.
        assert 0.3 * lost_before.sum() < seen_before.sum() and (seen_before <= lost_before).float().mean() > 0.9


def test_measures() -> None:
    coins = {"own_coins": [3.0, 1.0], "others_coins": [0.0, 3.0], "lost_coins": [3.0, 0.0]}
    info = {**coins, "zaps": [0.0, 0.0], "out": [0.0, 0.0]}
    agents = {name: torch.tensor(values, dtype=torch.float).view(1, 1, 2, 1) for name, values in info.items()}
    after = TensorDict({"agents": TensorDict({"info": TensorDict(agents, [1, 1, 2])}, [1, 1])}, [1, 1])
    episode = TensorDict({"agents": TensorDict({}, [1, 1]), "next": after}, [1, 1])
    metrics = make_task().options.metrics(episode, torch.ones(1, 1, dtype=torch.bool))
    assert metrics["own_coin_share"].item() == pytest.approx(4 / 7)
    assert [metrics[f"agent_{seat}_own_coin_share"].item() for seat in range(2)] == [1, 0.25]
    assert metrics["lost_coins"].item() == 3


@pytest.mark.parametrize(
    ("variant", "cells", "steps"), [("small", 45, 100), ("melting_pot", 154, 5000), ("socialjax", 174, 999)]
)
def test_variants(variant: str, cells: int, steps: int) -> None:
    env = make_task(variant=variant).options.make_env(num_envs=2, device="cpu", seed=0)
    view = 7 if variant == "small" else 11
    assert env.rollout(3)["agent_0", "observation"].shape == (2, 3, 1, view, view, 1 + 2 + 2 + 4)
    assert (env.ground.stop, env.max_steps) == (cells, steps)
    assert (env.rules.coin_reward, env.rules.penalty) == (1, -2)


@pytest.mark.parametrize("size", [10, 15])
def test_the_smallest_and_the_largest_board_of_melting_pot(size: int) -> None:
    env = make_env(variant="melting_pot", map=f"melting_pot_{size}")
    assert env.grid.shape == (size + 2, size + 2) and env.ground.stop == size**2 - 2


def test_a_picture_has_the_colours_of_owners() -> None:
    picture = put(make_env(), {(1, 5): 0, (1, 6): 1}, (1, 2, EAST), (1, 7, WEST)).render()
    assert picture.shape == (9 * 24, 9 * 24, 3)
    first, second = (picture[24 + 12, column * 24 + 12] for column in (5, 6))
    assert first[2] > first[0] and second[0] > second[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coin_probability": 2.0}, r"task.coin_probability must be a probability from 0 to 1, but is 2.0"),
        ({"coin_reward": -1.0}, r"task.coin_reward must be a finite number >= 0, but is -1.0"),
        ({"penalty": 1.0}, r"task.penalty must be a finite number <= 0, but is 1.0"),
        ({"map": ["PPP"], "view": 3}, r"the number of coin cells 'C' in task.map must be at least 1, but is 0"),
        ({"n_agents": 11}, r"task.n_agents must be an integer from 2 to 10, but is 11"),
        ({"variant": "melting_pot", "n_agents": 3}, r"the number of start cells 'P' in task.map must be at least 3"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
