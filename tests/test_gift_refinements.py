"""Gift refinements: cases worked out by hand, scripts, variants and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.gifts.gift_refinements import GiftRefinementsEnv
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.players import Player, play

EAST, WEST = 1, 3


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.GIFT_REFINEMENTS.get_from_yaml()
    task.config.update(n_agents=2)
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, **changes: Any) -> GiftRefinementsEnv:
    options = make_task(**{"token_probability": 0.0, **changes}).options
    env = options.make_env(num_envs=num_envs, device="cpu", seed=0)
    env.reset()
    return env


def put(env: GiftRefinementsEnv, bags: list[tuple[int, int, int]], *poses: tuple[int, int, int]) -> GiftRefinementsEnv:
    """What agents carry, and their rows, columns and orientations."""
    cells = torch.tensor([[env.grid.layout[row, column].item() for row, column, _ in poses]])
    env.place(cells, torch.tensor([[pose[2] for pose in poses]]))
    env.bags = torch.tensor([bags], dtype=torch.float)
    return env


def act(env: GiftRefinementsEnv, *names: str) -> tuple[list[float], list[list[float]]]:
    """Rewards and bags after one step."""
    rewards = env.transition(torch.tensor([[env.actions[name] for name in names]]))[0]
    return rewards[0].tolist(), env.bags[0].tolist()


@pytest.mark.parametrize("multiplier", [3, 5])
def test_a_gift_becomes_several_of_the_next_type(multiplier: int) -> None:
    env = put(make_env(multiplier=multiplier), [(1, 0, 0), (0, 0, 0)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "give", "stay") == ([0, 0], [[0, 0, 0], [0, multiplier, 0]])


@pytest.mark.parametrize(
    ("gift", "bags"),
    [("most_refined", [[2, 0, 0], [0, 0, 3]]), ("least_refined", [[1, 1, 0], [0, 3, 0]])],
)
def test_which_token_is_given(gift: str, bags: list[list[float]]) -> None:
    env = put(make_env(gift=gift), [(2, 1, 0), (0, 0, 0)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "give", "stay") == ([0, 0], bags)


def test_a_gift_to_who_eats_stays_in_its_bag() -> None:
    env = put(make_env(), [(0, 0, 2), (3, 2, 1)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "give", "eat") == ([0, 6], [[0, 0, 1], [0, 0, 1]])


def test_what_does_not_fit_is_lost() -> None:
    env = put(make_env(), [(0, 0, 2), (0, 0, 15)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "give", "stay") == ([0, 0], [[0, 0, 1], [0, 0, 15]])
    env = put(make_env(), [(1, 0, 0), (0, 14, 0)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "give", "stay")[1] == [[0, 0, 0], [0, 15, 0]]


def test_nobody_gives_to_nobody_nor_out_of_reach_nor_what_it_lacks() -> None:
    for bag, column in (((1, 0, 0), 9), ((0, 0, 0), 6)):
        env = put(make_env(), [bag, (0, 0, 0)], (1, 3, EAST), (1, column, EAST))
        assert act(env, "give", "stay")[1] == [list(bag), [0, 0, 0]]
    env = put(make_env(), [(1, 0, 0), (0, 0, 0)], (1, 3, WEST), (1, 6, EAST))
    assert act(env, "give", "stay")[1] == [[1, 0, 0], [0, 0, 0]]
    # Nor without the action, close behind another that looks the same way.
    env = put(make_env(variant="socialjax", map="small", view=3), [(1, 0, 0), (0, 0, 0)], (1, 3, EAST), (1, 4, EAST))
    assert act(env, "stay", "stay")[1] == [[1, 0, 0], [0, 0, 0]]


def test_gifts_cool_down_and_cross_and_add_up() -> None:
    env = put(make_env(), [(3, 0, 0), (0, 1, 0)], (1, 3, EAST), (1, 6, WEST))
    assert act(env, "give", "give")[1] == [[2, 0, 3], [0, 3, 0]]
    # A gift in every third step.
    assert act(env, "give", "stay")[1] == act(env, "give", "stay")[1] == [[2, 0, 3], [0, 3, 0]]
    assert act(env, "give", "stay")[1] == [[2, 0, 2], [0, 3, 1]]
    env = put(make_env(n_agents=3), [(1, 0, 0), (0, 0, 0), (1, 0, 0)], (1, 3, EAST), (1, 5, EAST), (1, 8, WEST))
    assert act(env, "give", "stay", "give")[1] == [[0, 0, 0], [0, 6, 0], [0, 0, 0]]


def test_a_beam_ends_at_the_first_agent() -> None:
    env = put(make_env(n_agents=3), [(1, 0, 0), (0, 0, 0), (0, 0, 0)], (1, 3, EAST), (1, 4, EAST), (1, 6, EAST))
    assert act(env, "give", "stay", "stay")[1] == [[0, 0, 0], [0, 3, 0], [0, 0, 0]]


def test_collecting_fills_the_bag_and_a_full_one_loses_the_token() -> None:
    env = make_env()
    things = env.things.clone()
    for column in (4, 7):
        things[:, env.grid.layout[1, column]] = env.things_named["token"]
    env.place(things=things)
    put(env, [(0, 0, 0), (15, 0, 0)], (1, 3, EAST), (1, 6, EAST))
    assert act(env, "east", "east") == ([0, 0], [[1, 0, 0], [15, 0, 0]])
    assert (env.things[:, : env.grid.wall] == 0).all()


def test_each_knows_what_it_carries() -> None:
    env = put(make_env(observation="flat"), [(3, 0, 15), (0, 6, 0)], (1, 3, EAST), (1, 6, EAST))
    assert torch.allclose(env.observations()[0, :, -3:], torch.tensor([[0.2, 0, 1], [0, 0.4, 0]]))
    env.reset()
    assert not env.bags.any()


def test_a_picture() -> None:
    assert make_env().render().shape == (9 * 24, 11 * 24, 3)


def players(task: SocialDilemmaClass, *names: str) -> list[Player]:
    return [task.players()[name]() for name in names]


def test_scripts_give_and_eat_what_they_are_for() -> None:
    task = make_task(max_steps=60)
    env = task.options.make_env(num_envs=8, device="cpu", seed=0)
    found = {}
    for pair in (("cooperate", "cooperate"), ("defect", "defect"), ("defect", "tit_for_tat"), ("tit_for_tat",) * 2):
        played = play(env, players(task, *pair))
        found[pair] = {name: played[name].sum((0, 1)).flatten() for name in ("gifts", "collected", "eaten")}
    together, apart = found["cooperate", "cooperate"], found["defect", "defect"]
    assert (together["gifts"] > 0).all() and together["eaten"].sum() > 2 * together["collected"].sum()
    # All but what they have taken in the last step.
    assert not apart["gifts"].any() and 0 <= (apart["collected"] - apart["eaten"]).sum() <= 2 * 8
    # It gives twice, and then waits to get something.
    assert 0 < found["defect", "tit_for_tat"]["gifts"][1] <= 2 * 8
    assert found["tit_for_tat", "tit_for_tat"]["gifts"].sum() > 2 * 2 * 8


def test_tit_for_tat_counts_gifts_by_its_bag() -> None:
    task = make_task(token_probability=0.0)
    (player,) = players(task, "tit_for_tat")
    env = put(make_env(), [(2, 0, 0), (1, 0, 0)], (1, 3, EAST), (1, 6, WEST))
    memory = torch.zeros(1, player.memory_size)
    given = []
    for other in ("stay", "give", "stay", "stay", "stay"):
        chances, memory = player(env.observations()[:, 0], memory)
        given.append(memory[0, -1].item())
        act(env, list(env.actions)[chances[0].argmax()], other)
    # It gives one, and gets one of those back, which is refined further: it is even, and eats.
    assert given == [0, 1, 0, 0, 0] and memory[0, -2] == 0 and not env.bags[0, 0].any()


def test_measures() -> None:
    task = make_task(max_steps=20)
    env = task.options.make_env(num_envs=4, device="cpu", seed=0)
    played = env.rollout(20)
    metrics = task.options.metrics(played, torch.ones(4, 20, dtype=torch.bool))
    eaten, gifts, early = (
        joint_entry(played, "next", "info", name).sum((1, 2)) for name in ("eaten", "gifts", "eaten_early")
    )
    assert torch.equal(joint_entry(played, "next", "reward").sum((1, 2)), eaten)
    assert torch.allclose(metrics["gift_share"], gifts / (gifts + early), equal_nan=True)
    assert torch.allclose(metrics["eaten_per_token"], eaten / metrics["collected"], equal_nan=True)


@pytest.mark.parametrize("variant", ["melting_pot", "socialjax"])
def test_published_variants(variant: str) -> None:
    task = make_task(variant=variant, n_agents=5)
    env = task.options.make_env(num_envs=2, device="cpu", seed=0)
    seen: Tensor = env.rollout(5)["agent_0", "observation"]
    assert seen.shape == (2, 5, 1, 11, 11, 1 + 1 + 1 + 5 + 4 + 4)
    assert (env.field.stop, env.n_actions[0], env.max_steps) == (
        538,
        9,
        {"melting_pot": 5000, "socialjax": 999}[variant],
    )
    assert (env.rules.multiplier, env.rules.capacity) == ({"melting_pot": 5, "socialjax": 3}[variant], 15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gift": "best"}, r"task.gift must be most_refined or least_refined, but is 'best'"),
        ({"capacity": 0}, r"task.capacity must be an integer >= 1, but is 0"),
        ({"multiplier": 2.5}, r"task.multiplier must be an integer >= 1, but is 2.5"),
        ({"token_probability": -0.1}, r"task.token_probability must be a probability from 0 to 1, but is -0.1"),
        ({"map": ["PPP"], "view": 3}, r"the number of token cells 'T' in task.map must be at least 1, but is 0"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
