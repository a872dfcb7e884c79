"""Cleanup against rivers, orchards and counts worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.cleanup import MAPS, VARIANTS, CleanupEnv, apple_chance
from benchmarl_reciprocator.tasks.groups import joint_entry

PROPERTY = settings(deadline=None, derandomize=True, max_examples=10)
NORTH, EAST, SOUTH, WEST = range(4)
# A river of ten cells on the left, an orchard of five on the right.
VALLEY = ["RR PB", "RR PB", "RR PB", "RR  B", "RR  B"]
# What was worked out by hand is for these.
RULES = {"apple_probability": 0.05, "depletion": 0.4, "clean_width": 1}


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.CLEANUP.get_from_yaml()
    task.config.update(n_agents=2, **({} if "variant" in changes else RULES))
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, seed: int = 0, **changes: Any) -> CleanupEnv:
    changes = {"map": VALLEY, **changes}
    env = make_task(**changes).options.make_env(num_envs=num_envs, device="cpu", seed=seed)
    env.reset()
    return env


def put(env: CleanupEnv, places: list[tuple[int, int]], facing: int = WEST, waste: int = 0) -> CleanupEnv:
    """Agents on rows and columns, and waste on so many river cells, in every environment."""
    things = env.things.clone()
    things[:, env.river] = env.things_named["water"]
    things[:, env.river.start : env.river.start + waste] = env.things_named["waste"]
    cells = torch.tensor([env.grid.layout[place].item() for place in places]).expand(*env.batch_size, -1)
    env.place(cells, torch.full_like(cells, facing), things)
    return env


def act(env: CleanupEnv, *names: str) -> tuple[Tensor, dict[str, Tensor]]:
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    return env.transition(actions)


def count(env: CleanupEnv, thing: str) -> Tensor:
    return (env.things == env.things_named[thing]).sum(-1)


def test_an_apple_is_worth_one_to_who_steps_on_it() -> None:
    env = put(make_env(apple_probability=0.0), [(0, 3), (2, 3)])
    env.things[:, env.orchard] = env.things_named["apple"]
    rewards, info = act(env, "east", "stay")
    assert rewards.tolist() == [[1, 0]] == info["apples"].squeeze(-1).tolist()
    assert count(env, "apple").item() == 4
    assert info["apples_left"].flatten().tolist() == pytest.approx([0.8, 0.8])


@pytest.mark.parametrize(
    ("waste", "chance"), [(0, 0.05), (1, 0.0375), (2, 0.025), (3, 0.0125), (4, 0.0), (5, 0.0), (10, 0.0)]
)
def test_apples_grow_the_less_the_more_waste_there_is(waste: int, chance: float) -> None:
    rules = VARIANTS["melting_pot"]
    assert apple_chance(torch.tensor(waste / 10), rules).item() == pytest.approx(chance)
    env = put(make_env(4000, waste_probability=0.0), [(0, 3), (2, 3)], waste=waste)
    act(env, "stay", "stay")
    grown = count(env, "apple").float().mean().item() / 5
    assert abs(grown - chance) <= 4 * (chance * (1 - chance) / 20000) ** 0.5


def test_up_to_the_restoration_threshold_apples_grow_at_the_full_rate() -> None:
    rules = make_task(restoration=0.2).options.rules_among(VARIANTS, MAPS)[0]
    chances = apple_chance(torch.tensor([0.0, 0.2, 0.3, 0.4, 1.0]), rules)
    assert chances.tolist() == pytest.approx([0.05, 0.05, 0.025, 0, 0])


def test_waste_appears_on_one_clean_river_cell_at_a_time() -> None:
    env = put(make_env(4000, waste_probability=0.3), [(0, 3), (2, 3)])
    act(env, "stay", "stay")
    wasted = count(env, "waste")
    assert set(wasted.tolist()) == {0, 1}
    assert abs(wasted.float().mean() - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    by_cell = (env.things[:, env.river] == env.things_named["waste"]).float().mean(0)
    assert (by_cell - 0.03).abs().max() < 4 * (0.03 * 0.97 / 4000) ** 0.5


def test_waste_ends_at_its_limit() -> None:
    for limit, expected in ((0.4, 4), (1.0, 10)):
        env = put(make_env(waste_probability=1.0, waste_limit=limit), [(0, 3), (2, 3)])
        for _ in range(15):
            act(env, "stay", "stay")
        assert count(env, "waste").item() == expected


def test_waste_waits_for_its_delay_in_every_episode() -> None:
    env = put(make_env(2, waste_probability=1.0, waste_delay=3), [(0, 3), (2, 3)])
    counts = []
    for step in range(6):
        if step == 2:
            env.start(torch.tensor([True, False]))
        act(env, "stay", "stay")
        counts.append(count(env, "waste").tolist())
    assert counts == [[0, 0], [0, 0], [0, 0], [0, 1], [0, 2], [1, 3]]


def test_the_start_has_the_maps_waste() -> None:
    env = make_env(map=["HRSPB", "HRSPB"])
    assert count(env, "waste").item() == 2 and count(env, "water").item() == 4
    assert env.river.stop - env.river.start == 4


def test_a_cleaning_ray_cleans_the_first_waste_it_meets() -> None:
    env = put(make_env(waste_probability=0.0, clean_length=3, actions="turn"), [(2, 2), (0, 3)], waste=10)
    _, info = act(env, "clean", "stay")
    assert info["cleaned"].flatten().tolist() == [1, 0]
    assert env.things[0, env.grid.layout[2, 1]] == env.things_named["water"]
    assert act(env, "clean", "stay")[1]["cleaned"].flatten().tolist() == [1, 0]
    assert env.things[0, env.grid.layout[2, 0]] == env.things_named["water"]
    assert act(env, "clean", "stay")[1]["cleaned"].flatten().tolist() == [0, 0]
    wide = put(make_env(waste_probability=0.0, clean_width=3), [(2, 2), (0, 3)], waste=10)
    assert act(wide, "clean", "stay")[1]["cleaned"].flatten().tolist() == [3, 0]


def test_cleaning_does_not_reach_past_agents() -> None:
    env = put(make_env(waste_probability=0.0, clean_length=4), [(2, 3), (2, 2)], waste=10)
    assert act(env, "clean", "stay")[1]["cleaned"].flatten().tolist() == [0, 0]


def test_agents_walk_in_the_river_and_the_orchard() -> None:
    env = put(make_env(), [(0, 2), (2, 3)], waste=10)
    act(env, "west", "east")
    assert env.cells[0].tolist() == [env.grid.layout[0, 1], env.grid.layout[2, 4]]


def test_the_waste_that_counts_is_that_after_cleaning() -> None:
    env = put(make_env(500, apple_probability=1.0, waste_probability=0.0), [(2, 2), (0, 3)], waste=0)
    env.things[:, env.grid.layout[2, 1]] = env.things_named["waste"]
    _, info = act(env, "clean", "stay")
    assert info["waste"].sum() == 0 and (count(env, "apple") == 5).all()


# The task


def test_measures_of_a_played_out_episode() -> None:
    task = make_task(map=["HR PPB", "HR PPB"], waste_probability=0.0, apple_probability=1.0, max_steps=3)
    env = task.options.make_env(num_envs=1, device="cpu", seed=0)
    plan = iter([("clean", "east"), ("west", "west"), ("stay", "stay")])

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for seat, name in enumerate(next(plan)):
            tensordict[f"agent_{seat}", "action"] = torch.tensor([[env.actions[name]]])
        return tensordict

    now = env.reset()
    put(env, [(0, 2), (1, 4)], WEST, waste=2)
    played = env.rollout(3, policy, auto_reset=False, tensordict=now)
    metrics = task.evaluation_metrics([played[0]])
    # Of four river cells two have waste. The ray cleans that in row 0, the other is left: a quarter, so apples grow.
    assert metrics["cleaned"].item() == 1 == metrics["agent_0_cleaned"].item()
    assert metrics["cleaning_rate"].item() == pytest.approx(1 / 6)
    assert metrics["agent_1_cleaning_rate"].item() == 0
    assert metrics["waste"].item() == pytest.approx(1 / 4)
    assert metrics["peace"].item() == 1 and metrics["zaps"].item() == 0
    assert metrics["apples"].item() == metrics["agent_0_return"].item() + metrics["agent_1_return"].item()


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant: str) -> None:
    n_agents = 3 if variant == "small" else 7
    env = make_task(variant=variant, n_agents=n_agents).options.make_env(num_envs=2, device="cpu", seed=0)
    check_env_specs(env)
    assert env.max_steps == VARIANTS[variant].max_steps
    assert [*env.actions][-1] == "clean"


@pytest.mark.parametrize("name", MAPS)
def test_maps(name: str) -> None:
    # As many agents as there can be.
    env = make_task(map=name, n_agents=10).options.make_env(num_envs=2, device="cpu", seed=0)
    env.reset()
    assert count(env, "waste").tolist() == ["".join(MAPS[name]).count("H")] * 2


def test_published_numbers() -> None:
    for variant in ("ssdg", "melting_pot", "socialjax"):
        rules = VARIANTS[variant]
        assert (rules.depletion, rules.restoration) == (0.4, 0.0)
        assert (rules.waste_probability, rules.apple_probability) == (0.5, 0.05)
        assert rules.max_steps == 1000 and rules.actions == "turn"
    assert [VARIANTS[variant].view for variant in ("ssdg", "melting_pot", "socialjax")] == [15, 11, 11]
    assert VARIANTS["melting_pot"].waste_delay == 50 and VARIANTS["melting_pot"].zap_timeout == 50


@PROPERTY
@given(n_agents=st.integers(2, 10), seed=st.integers(0, 100), variant=st.sampled_from(["small", "melting_pot"]))
def test_what_always_holds(n_agents: int, seed: int, variant: str) -> None:
    task = make_task(n_agents=n_agents, variant=variant, map=["HRPPPPBB", "RHPPPPBB", "HRPP  BB"], view=5)
    env = task.options.make_env(num_envs=3, device="cpu", seed=seed)
    torch.manual_seed(seed)
    played = env.rollout(20)
    assert torch.equal(joint_entry(played, "next", "reward"), joint_entry(played, "next", "info", "apples"))
    river, orchard = env.things[:, env.river], env.things[:, env.orchard]
    assert set(river.unique().tolist()) <= {env.things_named["waste"], env.things_named["water"]}
    assert set(orchard.unique().tolist()) <= {0, env.things_named["apple"]}
    left = joint_entry(played, "next", "info", "apples_left")
    assert (left >= 0).all() and (left <= 1).all()
    peace = task.evaluation_metrics(list(played))["peace"]
    assert (peace >= 0).all() and (peace <= 1).all()


def test_pictures_are_for_models_that_take_them(small_experiment) -> None:
    small_experiment("algorithm=ippo", "task.observation=rgb", preset="cleanup")
    with pytest.raises(ValueError, match=r"task.observation must be flat where model is mlp, but is 'rgb'"):
        small_experiment("algorithm=ippo", "task.observation=rgb", "model=layers/mlp", preset="cleanup")


def test_a_map_needs_no_python(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=ippo", "task.map=['HRPPB','RHPPB','HR PB']", "task.n_agents=2", "task.view=5", preset="cleanup"
    )
    assert experiment.test_env.grid.shape == (3, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "new"}, r"task.variant must be small, ssdg, melting_pot or socialjax, but is 'new'"),
        ({"map": "moon"}, r"task.map must be melting_pot, small, ssdg or a list of rows, but is 'moon'"),
        (
            {"map": ["HRPPB", "HAPPB"]},
            r"row 2, column 2 of task.map must be '@', 'B', 'H', 'R', 'S', 'P' or ' ', but is 'A'",
        ),
        ({"map": ["HRPPB", "HPPB"]}, r"row 2 of task.map must be 5 cells long, as row 1 is, but is 4 cells long"),
        (
            {"map": ["HRP B"]},
            r"the number of start cells 'P' in task.map must be at least 2 \(task.n_agents\), but is 1",
        ),
        ({"map": ["SPPB"]}, r"the number of river cells 'H' or 'R' in task.map must be at least 1, but is 0"),
        (
            {"map": ["HPP", "HPP", "HPP", "HPP"]},
            r"the number of orchard cells 'B' in task.map must be at least 1, but is 0",
        ),
        ({"apple_probability": 1.5}, r"task.apple_probability must be a probability from 0 to 1, but is 1.5"),
        ({"waste_probability": -0.1}, r"task.waste_probability must be a probability from 0 to 1, but is -0.1"),
        ({"depletion": 2.0}, r"task.depletion must be a probability from 0 to 1, but is 2.0"),
        ({"restoration": 0.5}, r"task.restoration must be below 0.4 \(task.depletion\), but is 0.5"),
        ({"clean_length": 0}, r"task.clean_length must be an integer >= 1, but is 0"),
        ({"clean_width": 4}, r"task.clean_width must be an odd integer >= 1, but is 4"),
        ({"waste_delay": -1}, r"task.waste_delay must be an integer >= 0, but is -1"),
        ({"view": 1000}, r"task.view must be at most 21, which shows the whole map, but is 1000"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
