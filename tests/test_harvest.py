"""Harvest against patches and counts worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.harvest import MAPS, VARIANTS, HarvestEnv
from benchmarl_reciprocator.tasks.groups import joint_entry

PROPERTY = settings(deadline=None, derandomize=True, max_examples=10)
# Far from the agents, a row of six cells where apples grow.
ROW = ["AAAAAA", "      ", "PP    "]


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.HARVEST.get_from_yaml()
    task.config.update(n_agents=2)
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, seed: int = 0, **changes: Any) -> HarvestEnv:
    env = make_task(**{"map": ROW, **changes}).options.make_env(num_envs=num_envs, device="cpu", seed=seed)
    env.reset()
    return env


def with_apples(env: HarvestEnv, row: str) -> HarvestEnv:
    """Apples where the text has an A, in the order of cells."""
    things = env.things.clone()
    things[:, env.orchard] = torch.tensor([2 if symbol == "A" else 0 for symbol in row], dtype=things.dtype)
    env.place(things=things)
    return env


def act(env: HarvestEnv, *names: str) -> tuple[Tensor, dict[str, Tensor]]:
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    return env.transition(actions)


def put(env: HarvestEnv, *places: tuple[int, int]) -> HarvestEnv:
    env.place(torch.tensor([env.grid.layout[place].item() for place in places]).expand(*env.batch_size, -1))
    return env


@pytest.mark.parametrize(
    ("row", "cell", "neighbours"),
    [("......", 0, 0), (".A....", 0, 1), (".AA...", 0, 2), ("...AAA", 0, 0), ("AA.AA.", 2, 4), ("..A.A.", 3, 2)],
)
def test_apples_grow_back_by_how_many_are_near(row: str, cell: int, neighbours: int) -> None:
    regrowth = [0.0, 0.1, 0.3, 0.6]
    env = with_apples(make_env(4000, regrowth=regrowth), row)
    act(env, "stay", "stay")
    grown = (env.things[:, env.orchard][:, cell] == env.things_named["apple"]).float().mean().item()
    chance = regrowth[min(neighbours, 3)]
    assert abs(grown - chance) <= 4 * math.sqrt(chance * (1 - chance) / 4000)


def test_near_is_what_lies_within_the_radius() -> None:
    block = ["AAAAA", "AAAAA", "AAAAA", "AAAAA", "AAAAA", "PP   "]
    for radius, count in ((1.0, 4), (math.sqrt(2), 8), (2.0, 12), (math.sqrt(5), 20)):
        near = make_env(map=block, radius=radius, view=3).near
        assert near[12].sum() == count
        assert torch.equal(near, near.T) and near.diagonal().sum() == 0


def test_a_patch_that_is_eaten_up_is_lost() -> None:
    env = with_apples(make_env(50, regrowth=[0.0, 1.0, 1.0, 1.0]), "......")
    for _ in range(20):
        act(env, "stay", "stay")
    assert not (env.things[:, env.orchard] == env.things_named["apple"]).any()


def test_no_apple_grows_where_somebody_stands() -> None:
    env = put(with_apples(make_env(regrowth=[1.0]), "......"), (0, 0), (2, 1))
    act(env, "stay", "stay")
    assert (env.things[0, env.orchard] == env.things_named["apple"]).tolist() == [False] + [True] * 5


def test_an_apple_is_worth_one_and_the_last_of_a_patch_is_told() -> None:
    env = put(with_apples(make_env(regrowth=[0.0]), "AA...A"), (1, 0), (1, 5))
    rewards, info = act(env, "north", "north")
    assert rewards.tolist() == [[1, 1]] == info["apples"].squeeze(-1).tolist()
    assert info["last_apples"].squeeze(-1).tolist() == [[0, 1]]
    rewards, info = act(env, "east", "stay")
    assert rewards.tolist() == [[1, 0]] == info["last_apples"].squeeze(-1).tolist()
    assert info["apples_left"].sum() == 0


def test_measures_of_a_played_out_episode() -> None:
    task = make_task(map=["AA P", "   P", "  PA"], regrowth=[0.0], max_steps=2, variant="melting_pot", view=3)
    env = task.options.make_env(num_envs=1, device="cpu", seed=0)
    now = env.reset()
    env.place(torch.tensor([[env.grid.layout[0, 2], env.grid.layout[1, 3]]]), torch.tensor([[3, 2]]))
    plan = iter([("forward", "forward"), ("forward", "zap")])

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for seat, name in enumerate(next(plan)):
            tensordict[f"agent_{seat}", "action"] = torch.tensor([[env.actions[name]]])
        return tensordict

    played = env.rollout(2, policy, auto_reset=False, tensordict=now)
    metrics = task.evaluation_metrics([played[0]])
    assert [metrics[f"agent_{seat}_apples"].item() for seat in range(2)] == [2, 1]
    assert metrics["restraint"].item() == pytest.approx(1 / 3)
    assert metrics["agent_0_restraint"].item() == 0.5 and metrics["agent_1_restraint"].item() == 0
    assert metrics["apples_left"].item() == pytest.approx((1 / 3 + 0) / 2)
    assert metrics["zaps"].item() == 1 == metrics["agent_1_zaps"].item()
    assert metrics["peace"].item() == 1


def test_peace_counts_agent_steps_out() -> None:
    task = make_task(map=["P P", "AAA"], max_steps=4, variant="melting_pot", zap_timeout=2, view=3)
    env = task.options.make_env(num_envs=1, device="cpu", seed=0)
    now = env.reset()
    env.place(torch.tensor([[env.grid.layout[0, 0], env.grid.layout[0, 2]]]), torch.tensor([[1, 0]]))
    plan = iter([("zap", "stay"), *[("stay", "stay")] * 3])

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for seat, name in enumerate(next(plan)):
            tensordict[f"agent_{seat}", "action"] = torch.tensor([[env.actions[name]]])
        return tensordict

    played = env.rollout(4, policy, auto_reset=False, tensordict=now)
    assert joint_entry(played, "next", "info", "out")[0].tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]
    assert task.evaluation_metrics([played[0]])["peace"].item() == pytest.approx(1 - 2 / 8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str) -> None:
    n_agents = 3 if variant == "small" else 7
    env = make_task(variant=variant, n_agents=n_agents).options.make_env(num_envs=2, device="cpu", seed=0)
    check_env_specs(env)
    assert env.max_steps == VARIANTS[variant].max_steps


@pytest.mark.parametrize("name", MAPS)
def test_maps(name: str) -> None:
    # As many agents as there can be.
    env = make_task(map=name, n_agents=10).options.make_env(num_envs=2, device="cpu", seed=0)
    env.reset()
    assert (env.things[:, env.orchard] == env.things_named["apple"]).all()


@pytest.mark.parametrize(("variant", "lost"), [("ssdg", 0), ("melting_pot", 5), ("socialjax", 0)])
def test_actions_that_who_is_zapped_loses(variant: str, lost: int) -> None:
    env = put(make_env(variant=variant, view=3), (2, 0), (1, 0))
    env.place(facing=torch.zeros(1, 2))
    assert act(env, "zap", "stay")[1]["zapped"].flatten().tolist() == [0, 1]
    assert sum(act(env, "stay", "stay")[1]["out"][0, 1].item() for _ in range(10)) == lost
    # In SocialJax it starts again elsewhere, in Sequential Social Dilemma Games it stays.
    starts = {"ssdg": {(1, 0)}, "melting_pot": {(2, 0), (2, 1)}, "socialjax": {(2, 1)}}[variant]
    assert tuple(env.grid.places[env.cells[0, 1]].tolist()) in starts


@pytest.mark.parametrize(("place", "hit"), [((5, 5), 1), ((3, 5), 1), ((6, 5), 1), ((4, 4), 1), ((5, 3), 0)])
def test_who_guards_the_door_of_a_closed_room(place: tuple[int, int], hit: int) -> None:
    env = make_env(map="small_closed", variant="melting_pot_closed", n_agents=3, view=7)
    env = put(env, (3, 4), (1, 11), place if env.grid.layout[place] < env.grid.wall else (6, 3))
    env.place(facing=torch.tensor([[2, 0, 0]]))
    assert act(env, "zap", "stay", "stay")[1]["zapped"][0, 2].item() == hit


@pytest.mark.parametrize("name", ["closed", "partnership"])
def test_insiders_start_and_come_back_inside_and_the_others_outside(name: str) -> None:
    variant = f"melting_pot_{name}"
    env = make_env(40, map=f"small_{name}", variant=variant, n_agents=4, view=7, zap_timeout=1)
    inside, outside = env.grid.cells("Q"), env.grid.cells("P")
    assert not env.interchangeable_seats

    def all_in_place() -> bool:
        own, others = env.cells[:, :2], env.cells[:, 2:]
        return bool(((own >= inside.start) & (own < inside.stop) & (others >= outside.start)).all())

    assert all_in_place() and len(env.cells[:, 0].unique()) == 2
    # Each hits the one in front of it.
    put(env, (6, 2), (6, 3), (9, 4), (9, 6))
    env.place(facing=torch.tensor([[1, 3, 1, 3]]).expand(40, -1))
    act(env, "zap", "zap", "zap", "zap")
    assert (env.out == 1).all()
    act(env, *["stay"] * 4)
    assert all_in_place()


@pytest.mark.parametrize(("name", "steps"), [("closed", 30), ("partnership", 6)])
def test_the_way_between_the_insiders(name: str, steps: int) -> None:
    # Around the outside, or across the one room with two doors
    env = make_env(map=f"small_{name}", view=7)
    beside = env.move_tables()[0][1:5, 0]
    found, goal, count = {env.grid.layout[3, 4].item()}, env.grid.layout[3, 8].item(), 0
    while goal not in found:
        found |= set(beside[:, list(found)].flatten().tolist())
        count += 1
    assert count == steps


def zapped(variant: str, place: tuple[int, int]) -> int:
    """Whether one that looks north from row 6, column 3, zaps one at this place."""
    env = make_env(map=["PPPPPPP"] * 7 + ["A      "], variant=variant, view=3)
    put(env, (6, 3), place)
    env.place(facing=torch.zeros(1, 2))
    return int(act(env, "zap", "stay")[1]["zapped"][0, 1].item())


@pytest.mark.parametrize(
    ("variant", "picture"),
    [
        # The agent that zaps is the A.
        ("ssdg", ["...x...", "..xxx..", "..xxx..", "..xxx..", "..xxx..", "..xAx.."]),
        ("melting_pot", [".......", ".......", "...x...", "..xxx..", "..xxx..", "..xAx.."]),
        ("socialjax", [".......", ".......", ".......", "...x...", "..xxx..", "...A..."]),
    ],
)
def test_cells_that_a_zapping_beam_reaches(variant: str, picture: list[str]) -> None:
    for row, line in enumerate(picture, 1):
        for column, symbol in enumerate(line):
            if symbol != "A":
                assert zapped(variant, (row, column)) == (symbol == "x"), (row, column)


@pytest.mark.parametrize(("variant", "price"), [("ssdg", 100), ("melting_pot", 0), ("socialjax", 0)])
def test_what_it_costs_to_be_hit_by_two(variant: str, price: int) -> None:
    env = make_env(n_agents=3, map=["PPP", "PPP", "PPP", "A  "], variant=variant, view=3, zap_width=1)
    put(env, (1, 1), (1, 0), (2, 1))
    env.place(facing=torch.tensor([[0, 1, 0]]))
    rewards, info = act(env, "stay", "zap", "zap")
    assert rewards[0, 0] == -price and info["zapped"].flatten().tolist() == [1, 0, 0]


def test_published_numbers() -> None:
    assert [VARIANTS[name].max_steps for name in ("ssdg", "melting_pot", "socialjax")] == [1000, 1000, 999]
    regrowth = {
        "ssdg": (0, 0.005, 0.02, 0.05),
        "melting_pot": (0, 0.0025, 0.005, 0.025),
        "socialjax": (0, 0.001, 0.005, 0.025),
    }
    assert {name: VARIANTS[name].regrowth for name in regrowth} == regrowth


@PROPERTY
@given(n_agents=st.integers(2, 10), seed=st.integers(0, 100), variant=st.sampled_from(["small", "melting_pot"]))
def test_what_always_holds(n_agents: int, seed: int, variant: str) -> None:
    task = make_task(n_agents=n_agents, variant=variant, map=["AAPPPPAA", "AAPPPPAA", "@ PP  A@"], view=5)
    env = task.options.make_env(num_envs=3, device="cpu", seed=seed)
    torch.manual_seed(seed)
    played = env.rollout(20)
    apples, last = (joint_entry(played, "next", "info", name) for name in ("apples", "last_apples"))
    assert torch.equal(joint_entry(played, "next", "reward"), apples)
    assert (last <= apples).all()
    assert set(env.things[:, env.orchard].unique().tolist()) <= {0, env.things_named["apple"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"map": "moon"}, r"task.map must be closed, .* ssdg or a list of rows, but is 'moon'"),
        ({"map": ["PP  "]}, r"the number of apple cells 'A' in task.map must be at least 1, but is 0"),
        ({"map": ["APP", "BPP"]}, r"row 2, column 1 of task.map must be '@', 'A', 'Q', 'P' or ' ', but is 'B'"),
        ({"regrowth": [0.0, 1.2]}, r"task.regrowth for 1 apples near must be a probability from 0 to 1, but is 1.2"),
        ({"regrowth": []}, r"task.regrowth must be a list of one probability or more, but is \[\]"),
        ({"regrowth": 0.1}, r"task.regrowth must be a list of one probability or more, but is 0.1"),
        ({"radius": 0.0}, r"task.radius must be a finite number > 0, but is 0.0"),
        (
            {"n_agents": 9, "map": ["APPPPPP"]},
            r"the number of start cells 'P' in task.map must be at least 9 \(task.n_agents\), but is 6",
        ),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
