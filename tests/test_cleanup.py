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


# A river of three columns, wide enough for two who clean side by side, and the orchard on the right.
BANK = ["RRR  PB", "RRR PPB", "RRR PPB", "RRR  PB"]


def with_waste(env: CleanupEnv, rows: list[str]) -> CleanupEnv:
    """Waste on the river where the rows have an x."""
    things = env.things.clone()
    for row, line in enumerate(rows):
        for column, symbol in enumerate(line):
            cell = env.grid.layout[row, column]
            things[:, cell] = env.things_named["waste" if symbol == "x" else "water"]
    env.place(things=things)
    return env


def waste_left(env: CleanupEnv, b: int = 0) -> list[str]:
    numbers = env.things[b][env.grid.layout[:, :3]]
    return ["".join("x" if number == env.things_named["waste"] else "." for number in row) for row in numbers.tolist()]


def on_the_bank(waste: list[str], places: list[tuple[int, int]], facing: int = WEST, **changes: Any) -> CleanupEnv:
    changes = {"apple_probability": 0.0, "waste_probability": 0.0, "view": 3, "n_agents": len(places), **changes}
    return with_waste(put(make_env(**{"map": BANK, "variant": "small", **changes}), places, facing), waste)


def test_waste_that_two_clean_at_once_is_counted_once() -> None:
    # Beams of three rays, that of the first over rows 0 to 2, that of the second over rows 1 to 3.
    env = on_the_bank(["...", "..x", "..x", "..."], [(1, 4), (2, 4)])
    _, info = act(env, "clean", "clean")
    assert waste_left(env) == ["..."] * 4
    assert info["cleaned"].flatten().tolist() == [2, 0]
    # Whoever is first in the circle of seats in this step has changed it.
    env = on_the_bank(["...", "..x", "..x", "..."], [(1, 4), (2, 4)])
    env._steps += 1
    assert act(env, "clean", "clean")[1]["cleaned"].flatten().tolist() == [0, 2]
    # What only one reaches is its own: the fourth row is the second's.
    env = on_the_bank(["...", "..x", "..x", "..x"], [(1, 4), (2, 4)])
    assert act(env, "clean", "clean")[1]["cleaned"].flatten().tolist() == [2, 1]


def test_in_small_and_melting_pot_rays_that_meet_the_same_waste_end_there() -> None:
    waste = ["...", ".xx", ".xx", "..."]
    for variant in ("small", "melting_pot"):
        env = on_the_bank(waste, [(1, 3), (2, 3)], variant=variant)
        _, info = act(env, "clean", "clean")
        assert waste_left(env) == ["...", ".x.", ".x.", "..."], variant
        assert info["cleaned"].sum() == 2


def test_in_ssdg_a_ray_passes_where_an_earlier_one_has_cleaned() -> None:
    # One behind the other: the side rays of both go along rows 0 and 2.
    env = on_the_bank([".xx", "...", ".xx", "..."], [(1, 3), (1, 4)], variant="ssdg")
    _, info = act(env, "clean", "clean")
    assert waste_left(env) == ["..."] * 4
    assert info["cleaned"].flatten().tolist() == [2, 2]
    # Together they clean the same two cells.
    env = on_the_bank([".xx", "...", ".xx", "..."], [(1, 3), (1, 4)], variant="ssdg", clean_in_turn=False)
    _, info = act(env, "clean", "clean")
    assert waste_left(env) == [".x.", "...", ".x.", "..."]
    assert info["cleaned"].flatten().tolist() == [2, 0]


def test_in_ssdg_who_stands_side_by_side_stops_the_others_ray() -> None:
    # Side rays begin beside the agent, where the other stands.
    env = on_the_bank(["...", ".xx", ".xx", "..."], [(1, 3), (2, 3)], variant="ssdg")
    _, info = act(env, "clean", "clean")
    assert waste_left(env) == ["...", ".x.", ".x.", "..."]
    assert info["cleaned"].flatten().tolist() == [1, 1]


def test_in_ssdg_who_is_earlier_decides_what_a_crossing_ray_meets() -> None:
    # The first looks west along row 1, the second south along column 1; waste where they cross, and behind it on both.
    waste = ["...", "xx.", ".x.", "..."]
    left = {0: ["...", "x..", "...", "..."], 1: ["...", "...", ".x.", "..."]}
    for step, expected in left.items():
        env = on_the_bank(waste, [(1, 3), (0, 1)], variant="ssdg", clean_width=1)
        env.place(facing=torch.tensor([[WEST, SOUTH]]))
        env._steps += step
        _, info = act(env, "clean", "clean")
        assert waste_left(env) == expected
        assert info["cleaned"].flatten().tolist() == [1, 1]


def one_after_another(env: CleanupEnv, actions: Tensor, b: int) -> tuple[list[int], list[int]]:
    """What the beams of an environment leave and clean, agent by agent and ray by ray."""
    waste, cleaned = env.things[b].clone(), [0] * env.n_agents
    cells, facing = env.cells[b].tolist(), env.facing[b].tolist()
    for seat in env.order()[b].argsort().tolist():
        if actions[b, seat] != env.actions["clean"]:
            continue
        for ray in env.rays("clean")[cells[seat], facing[seat]].tolist():
            for cell in ray:
                if waste[cell] == env.things_named["waste"]:
                    waste[cell] = env.things_named["water"]
                    cleaned[seat] += 1
                    break
                if cell in cells:
                    break
    return waste.tolist(), cleaned


@PROPERTY
@given(n_agents=st.integers(2, 8), width=st.sampled_from([1, 3, 5]), seed=st.integers(0, 1000))
def test_beams_in_turn_are_those_of_the_slow_reference(n_agents: int, width: int, seed: int) -> None:
    rows = ["RRRRPB", "RRRRPB", "RR@RPB", "RRRRPB", "RRRR  ", "PPPPPP"]
    changes = {"n_agents": n_agents, "clean_width": width, "waste_probability": 0.0, "view": 3}
    env = make_env(8, seed, variant="ssdg", map=rows, **changes)
    generator = torch.Generator().manual_seed(seed)
    for step in range(3):
        walkable = torch.rand(8, env.grid.wall, generator=generator).topk(n_agents).indices
        things = env.things.clone()
        wasted = torch.rand(things[:, env.river].shape, generator=generator) < 0.7
        things[:, env.river] = torch.where(wasted, env.things_named["waste"], env.things_named["water"]).int()
        env.place(walkable, torch.randint(4, walkable.shape, generator=generator), things)
        env._steps += step
        cleans = torch.rand(walkable.shape, generator=generator) < 0.7
        actions = torch.where(cleans, env.actions["clean"], env.actions["stay"])
        expected = [one_after_another(env, actions, b) for b in range(8)]
        _, info = env.transition(actions)
        for b, (left, cleaned) in enumerate(expected):
            assert env.things[b, env.river].tolist() == left[env.river]
            assert info["cleaned"][b].flatten().tolist() == cleaned


@PROPERTY
@given(n_agents=st.integers(2, 8), variant=st.sampled_from(sorted(VARIANTS)), seed=st.integers(0, 1000))
def test_what_is_cleaned_is_what_changed(n_agents: int, variant: str, seed: int) -> None:
    env = make_env(8, seed, variant=variant, map=["HRHHPP", "HRHHPB", "HHHHPB", "PPPPPB"], n_agents=n_agents, view=3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(5):
        before = count(env, "waste")
        actions = torch.randint(env.n_actions[0] - 3, env.n_actions[0], (8, n_agents), generator=generator)
        appeared = env._waste_chances[0] > 0
        _, info = env.transition(actions)
        gone = before - count(env, "waste")
        cleaned = info["cleaned"].sum((1, 2))
        assert ((cleaned - gone >= 0) & (cleaned - gone <= appeared.long())).all()


def test_in_melting_pot_a_cleaning_beam_passes_agents_and_begins_beside() -> None:
    # Waste behind an agent is cleaned; so is that beside the agent that cleans.
    env = on_the_bank(["..x", "..x", "..x", "..."], [(1, 2), (0, 1)], variant="melting_pot")
    env.place(cells=torch.stack([env.grid.layout[1, 2], env.grid.layout[1, 1]]).unsqueeze(0))
    with_waste(env, ["..x", "x..", "..x", "..."])
    _, info = act(env, "clean", "stay")
    assert waste_left(env) == ["..."] * 4
    assert info["cleaned"].flatten().tolist() == [3, 0]


def test_in_socialjax_a_beam_cleans_its_four_cells_through_waste_and_agents() -> None:
    env = on_the_bank(["..x", ".xx", ".xx", "x.x"], [(1, 3), (1, 2)], variant="socialjax")
    _, info = act(env, "clean", "stay")
    # Two cells ahead, one on either side of the first.
    assert waste_left(env) == ["...", "...", ".x.", "x.x"]
    assert info["cleaned"].flatten().tolist() == [4, 0]
    assert make_task(variant="socialjax").cooperation.high == 4


def test_in_ssdg_each_clean_cell_may_get_waste_until_one_does() -> None:
    env = put(make_env(4000, waste_probability=0.3, waste_each_cell=True), [(0, 3), (2, 3)], waste=8)
    act(env, "stay", "stay")
    # Of two clean cells: 1 - 0.7^2.
    added = count(env, "waste") - 8
    assert set(added.tolist()) == {0, 1}
    assert abs(added.float().mean() - 0.51) < 4 * (0.51 * 0.49 / 4000) ** 0.5
    assert VARIANTS["ssdg"].waste_each_cell and VARIANTS["ssdg"].waste_probability == 0.5


def test_in_socialjax_water_that_never_gets_waste_is_clean_river() -> None:
    # Of four cells of water two can have waste. One that has is a half of the river, and a quarter of the water.
    for variant, chance in (("melting_pot", 0.0), ("socialjax", 0.05 * (0.4 - 0.25) / 0.4)):
        env = make_env(variant=variant, map=["RSPB", "RSPB"], n_agents=2, view=3)
        assert env._apple_chances[1].item() == pytest.approx(chance)


@pytest.mark.parametrize(("variant", "quiet"), [("ssdg", 0), ("melting_pot", 49), ("socialjax", 51)])
def test_steps_before_waste_appears(variant: str, quiet: int) -> None:
    env = put(make_env(variant=variant, n_agents=2, waste_probability=1.0, view=3), [(0, 3), (2, 3)])
    steps = 0
    while count(env, "waste").item() == 0:
        act(env, "stay", "stay")
        steps += 1
    assert steps == quiet + 1


@pytest.mark.parametrize(("variant", "lost"), [("ssdg", 0), ("melting_pot", 51), ("socialjax", 0)])
def test_actions_that_who_is_zapped_loses(variant: str, lost: int) -> None:
    env = put(make_env(variant=variant, n_agents=2, view=3, waste_probability=0.0), [(1, 3), (0, 3)], NORTH)
    assert act(env, "zap", "stay")[1]["zapped"].flatten().tolist() == [0, 1]
    assert sum(act(env, "stay", "stay")[1]["out"][0, 1].item() for _ in range(60)) == lost


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
    assert [VARIANTS[variant].max_steps for variant in ("ssdg", "melting_pot", "socialjax")] == [1000, 1000, 999]
    assert [VARIANTS[variant].actions for variant in ("ssdg", "melting_pot", "socialjax")] == ["turn", "turn", "fixed"]
    assert [VARIANTS[variant].view for variant in ("ssdg", "melting_pot", "socialjax")] == [15, 11, 11]


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


@pytest.mark.parametrize("name", ["CLEANUP", "HARVEST"])
def test_options_of_experiments_from_before_there_were_shapes_of_beams_can_be_read(name: str) -> None:
    task = SocialDilemmaTask[name].get_from_yaml()
    new = {"beam_shape", "zap_restart", "zap_through_agents"}
    new |= {"clean_through", "clean_in_turn", "stream_counts", "waste_each_cell"}
    task.config = {key: value for key, value in task.config.items() if key not in new}
    rules = task.options.make_env(num_envs=1, device="cpu", seed=0).rules
    assert rules == SocialDilemmaTask[name].get_from_yaml().options.make_env(num_envs=1, device="cpu", seed=0).rules


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
        ({"clean_through": "walls"}, r"task.clean_through must be nothing, agents or all, but is 'walls'"),
        ({"waste_delay": -1}, r"task.waste_delay must be an integer >= 0, but is -1"),
        ({"view": 1000}, r"task.view must be at most 21, which shows the whole map, but is 1000"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
