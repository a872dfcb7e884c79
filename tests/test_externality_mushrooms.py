"""Externality mushrooms: cases worked out by hand, scripts, variants and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.mushrooms.externality_mushrooms import ExternalityMushroomsEnv
from benchmarl_reciprocator.tasks.players import Player, play

NORTH, EAST, WEST = 0, 1, 3
# Melting Pot's digestion.
DIGESTION = [0, 9, 14, 14]


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.EXTERNALITY_MUSHROOMS.get_from_yaml()
    task.config.update(n_agents=2)
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, **changes: Any) -> ExternalityMushroomsEnv:
    env = make_task(**{"digestion": DIGESTION, **changes}).options.make_env(num_envs=num_envs, device="cpu", seed=0)
    env.reset()
    return env


def put(
    env: ExternalityMushroomsEnv, mushrooms: dict[tuple[int, int], str], *poses: tuple[int, int, int]
) -> ExternalityMushroomsEnv:
    """Mushrooms by row and column, none elsewhere, and agents by row, column and orientation."""
    things = env.things.clone()
    things[:, : env.grid.wall] = 0
    for place, colour in mushrooms.items():
        things[:, env.grid.layout[place]] = env.things_named[colour]
    cells = torch.tensor([env.grid.layout[row, column].item() for row, column, _ in poses])
    facing = torch.tensor([pose[2] for pose in poses])
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1), things)
    return env


def act(env: ExternalityMushroomsEnv, *names: str) -> Tensor:
    """Rewards ``[B, N]`` of one step."""
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    return env.advance(actions)[0]


def count(env: ExternalityMushroomsEnv, colour: str) -> Tensor:
    """Mushrooms on the map, ``[B]``."""
    return (env.things == env.things_named[colour]).sum(-1)


def lost_actions(env: ExternalityMushroomsEnv) -> int:
    """How many of the next actions of agent 0 do nothing."""
    lost, stays = 0, ["stay"] * (env.n_agents - 1)
    while True:
        before = env.cells[0, 0].item()
        act(env, "west", *stays)
        if env.cells[0, 0].item() != before:
            return lost
        lost += 1


FOUR = ((1, 2, EAST), (5, 1, EAST), (5, 5, EAST), (7, 9, EAST))


@pytest.mark.parametrize(
    ("colour", "n_agents", "rewards", "lost"),
    [
        ("red", 4, [1, 0, 0, 0], 0),
        ("green", 4, [0.5, 0.5, 0.5, 0.5], 9),
        ("blue", 3, [0, 1.5, 1.5], 14),
        ("orange", 4, [-0.25, -0.25, -0.25, -0.25], 14),
    ],
)
def test_what_a_mushroom_pays_and_costs(colour: str, n_agents: int, rewards: list[float], lost: int) -> None:
    env = put(make_env(n_agents=n_agents), {(1, 3): colour}, *FOUR[:n_agents])
    stays = ["stay"] * (n_agents - 1)
    assert act(env, "east", *stays)[0].tolist() == rewards
    assert env.marks["frozen"].tolist() == [[lost > 0] + [False] * (n_agents - 1)]
    env.things[:, : env.grid.wall] = 0
    assert lost_actions(env) == lost


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ("red", {"red": 0.75}),
        ("green", {"red": 0.75, "green": 1.2}),
        ("blue", {"red": 0.75, "green": 1.2, "blue": 1.8}),
        ("orange", {"orange": 1.0}),
    ],
)
def test_what_grows_from_spores(colour: str, expected: dict[str, float]) -> None:
    n_envs, n_agents = 1500, 4
    env = put(make_env(n_envs, n_agents=n_agents), {(1, 3): colour}, *FOUR)
    act(env, "east", "stay", "stay", "stay")
    # Of 76 free cells but for the eaten one's, 75 with the eater's old cell, three have an agent on them.
    falls = 1 - (n_agents - 1) / 75
    for kind in ("red", "green", "blue", "orange"):
        mean = count(env, kind).float().mean().item()
        # A few fall on one cell.
        assert mean == pytest.approx(expected.get(kind, 0) * falls, abs=0.02 + 5 / n_envs**0.5 * (mean > 0))
    # Nothing grows under agents, nor on the cell of what was eaten.
    assert not (env.things.gather(1, env.cells) > 0).any()
    if colour == "orange":
        assert count(env, colour).max() == 1


def test_an_orange_one_kills_a_quarter_of_the_reds() -> None:
    reds = {(3, column): "red" for column in (1, 2, 3)} | {(6, column): "red" for column in range(1, 6)}
    env = put(make_env(1500, n_agents=4), {(1, 3): "orange", **reds}, *FOUR)
    assert (count(env, "red") == 8).all()
    act(env, "east", "stay", "stay", "stay")
    left = count(env, "red").float()
    assert left.mean().item() == pytest.approx(6, abs=5 * (1.5 / 1500) ** 0.5)
    assert left.var().item() == pytest.approx(8 * 0.75 * 0.25, rel=0.2)
    env = put(make_env(20, n_agents=4, orange_kills=0.0), {(1, 3): "orange", **reds}, *FOUR)
    act(env, "east", "stay", "stay", "stay")
    assert (count(env, "red") == 8).all()


def test_mushrooms_spoil() -> None:
    where = {(1, 8): "red", (2, 8): "green", (3, 7): "blue", (4, 8): "orange"}
    env = put(make_env(lifetime=[4, 3, 2, 0]), where, (1, 2, EAST), (7, 1, EAST))
    seen = []
    for _ in range(5):
        act(env, "stay", "stay")
        seen.append([count(env, colour).item() for colour in ("red", "green", "blue", "orange")])
    assert seen == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    env.reset()
    assert count(env, "red").item() == 3


def test_what_grows_spoils_in_its_turn() -> None:
    env = put(make_env(50, lifetime=[2, 2, 2, 0]), {(1, 3): "green"}, (1, 2, EAST), (7, 1, EAST))
    act(env, "east", "stay")
    grown = count(env, "red") + count(env, "green")
    assert grown.sum() > 0
    act(env, "stay", "stay")
    assert torch.equal(count(env, "red") + count(env, "green"), grown)
    act(env, "stay", "stay")
    assert not (count(env, "red") + count(env, "green")).any()


def test_zapping_freezes_then_removes_and_destroys_mushrooms() -> None:
    env = make_env(variant="melting_pot", map="small", view=3)
    put(env, {(4, 6): "blue"}, (4, 4, EAST), (4, 7, EAST))
    assert not act(env, "zap", "stay").any()
    assert count(env, "blue") == 0 and env.frozen.tolist() == [[0, 24]]
    assert env.marks["cooling"].tolist() == [[True, False]]
    for _ in range(3):
        act(env, "zap", "forward")
    assert env.frozen.tolist() == [[0, 21]] and env.out.tolist() == [[0, 0]]
    act(env, "zap", "forward")
    assert env.out.tolist() == [[0, 51]]
    gone = sum(bool(act(env, "stay", "stay").isfinite().all() and env.out[0, 1] > 0) for _ in range(60))
    assert gone == 50 and env.frozen.tolist() == [[0, 0]]


def test_a_second_hit_counts_for_so_long() -> None:
    env = make_env(variant="melting_pot", map="small", view=3)
    put(env, {}, (4, 4, EAST), (4, 7, EAST))
    act(env, "zap", "stay")
    for _ in range(50):
        act(env, "stay", "stay")
    act(env, "zap", "stay")
    assert env.frozen.tolist() == [[0, 24]] and env.out.tolist() == [[0, 0]]


def test_limits_of_socialjax() -> None:
    where = {(1, 3): "green", (7, 4): "green", (4, 9): "green"}
    env = make_env(400, n_agents=3, digestion=[0, 0, 0, 0], spores=[2, 2, 2, 2], spore_limit=5)
    put(env, where, (1, 2, EAST), (7, 3, EAST), (4, 8, EAST))
    act(env, "east", "east", "east")
    # Five of six spores count, for each colour.
    assert count(env, "red").float().mean().item() == pytest.approx(5 * 0.25 * (1 - 1 / 73), abs=0.2)
    assert count(env, "green").float().mean().item() == pytest.approx(5 * 0.4 * (1 - 1 / 73), abs=0.25)
    reds = {(5, column): "red" for column in range(1, 7)}
    env = make_env(100, crowd_limit=5)
    put(env, {(1, 3): "green", **reds}, (1, 2, EAST), (7, 3, EAST))
    act(env, "east", "stay")
    assert (count(env, "red") == 6).all() and count(env, "green").sum() > 0


def test_a_full_map_has_no_room_for_spores() -> None:
    env = make_env(10, map=["GGG", "PP@"], view=3)
    act(env, "north", "north")
    assert (env.things[:, : env.grid.wall] >= 0).all()


def test_a_picture() -> None:
    assert make_env().render().shape == (9 * 24, 13 * 24, 3)


def players(task: SocialDilemmaClass, *names: str) -> list[Player]:
    return [task.players()[name]() for name in names]


def test_scripts_eat_what_they_are_for() -> None:
    task = make_task(max_steps=60)
    env = task.options.make_env(num_envs=6, device="cpu", seed=0)
    eaten = {}
    for pair in (("cooperate", "cooperate"), ("defect", "tit_for_tat")):
        played = play(env, players(task, *pair))
        eaten[pair] = {name: played[name].sum((0, 1)).flatten().tolist() for name in ("red", "green", "blue", "orange")}
    together, mixed = eaten["cooperate", "cooperate"], eaten["defect", "tit_for_tat"]
    assert together["red"] == together["orange"] == [0, 0] and min(together["green"]) > 0 and max(together["blue"]) > 0
    assert mixed["green"][0] == mixed["blue"][0] == 0 < mixed["red"][0]
    # It begins with green ones, and turns to red ones beside one that never digests.
    assert mixed["green"][1] > 0 and mixed["red"][1] > 0


def test_tit_for_tat_answers_to_who_digests() -> None:
    env = put(make_env(), {(1, 2): "green", (3, 1): "red"}, (1, 1, EAST), (1, 4, EAST))
    (player,) = players(make_task(), "tit_for_tat")
    east, south = env.actions["east"], env.actions["south"]
    seen = env.observations()[:, 0]
    for waited, action in ((0.0, east), (18.0, east), (19.0, south)):
        chances, memory = player(seen, torch.tensor([[waited]]))
        assert chances[0].argmax() == action and memory.item() == waited + 1
    env.frozen[0, 1] = 3
    env.place()
    chances, memory = player(env.observations()[:, 0], torch.tensor([[40.0]]))
    assert chances[0].argmax() == east and memory.item() == 0


@pytest.mark.parametrize("variant", ["melting_pot", "socialjax"])
def test_published_variants(variant: str) -> None:
    task = make_task(variant=variant, n_agents=5)
    env = task.options.make_env(num_envs=2, device="cpu", seed=0)
    seen: Tensor = env.rollout(5)["agent_0", "observation"]
    assert seen.shape == (2, 5, 1, 11, 11, 1 + 4 + 1 + 5 + 4 + 1 + 1)
    assert env.grid.wall == 12 * 21 and env.max_steps == {"melting_pot": 5000, "socialjax": 999}[variant]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"digestion": [0, 1]},
            r"task.digestion must be a list of 4 integers >= 0 \(red, green, blue, orange\), but is",
        ),
        ({"spores": 3}, r"task.spores must be a list of 4 integers >= 0 \(red, green, blue, orange\), but is 3"),
        ({"orange_kills": 1.5}, r"task.orange_kills must be a probability from 0 to 1, but is 1.5"),
        ({"map": ["PPMM"], "view": 3}, r"the number of mushrooms 'R', .* in task.map must be at least 1, but is 0"),
        ({"zap_freeze": 3, "zap_timeout": 5}, r"task.zap_freeze must be 0 where zapping takes agents away at once .*5"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)
