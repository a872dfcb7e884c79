"""Scripted players of Cleanup and Harvest, what they show about the games, and the example's game on the same core."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import GridPlayers, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.players import FAR, next_poses, pose_distances
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # The example's dataclass looks its module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def make_env(task: str, **options: Any) -> GridWorldEnv:
    chosen = SocialDilemmaTask[task.upper()].get_from_yaml()
    chosen.config.update(**{"n_agents": 2, **options})
    env = chosen.options.make_env(num_envs=1, device="cpu", seed=0)
    env.reset()
    return env


def put(env: GridWorldEnv, *places: tuple[int, int], facing: int = 0, things: dict[tuple[int, int], str]) -> None:
    """Agents and things on rows and columns; nothing lies elsewhere."""
    lying = env.first_things.clone()
    lying[: env.grid.wall] = 0
    for place, thing in things.items():
        lying[env.grid.layout[place]] = env.things_named[thing]
    cells = torch.tensor([[env.grid.layout[place].item() for place in places]])
    env.place(cells, torch.full_like(cells, facing), lying.unsqueeze(0))


def play(env: GridWorldEnv, players: GridPlayers, steps: int) -> tuple[list[str], Tensor]:
    """Names of the first agent's actions and all agents' returns."""
    names, returns = [], 0
    for _ in range(steps):
        actions = players.choose()
        names.append(list(env.actions)[actions[0, 0]])
        returns = returns + env.transition(actions)[0][0]
    return names, returns


@pytest.mark.parametrize(("actions", "steps"), [("compass", 2), ("turn", 2)])
def test_distances_count_actions(actions: str, steps: int) -> None:
    env = make_env("harvest", map=["AAP", "@@P", "AAA"], view=3, actions=actions)
    distances = pose_distances(next_poses(env))
    cell = env.grid.layout
    # Two cells to the east, and there it looks north or east.
    assert distances[cell[0, 0] * 4, cell[0, 2] * 4 + (1 if actions == "compass" else 0)] == steps
    assert distances[cell[0, 0] * 4, cell[2, 0] * 4 + (3 if actions == "compass" else 0)] == 6
    # To look about takes turns; without turns, a step aside and one back at most.
    assert distances[cell[0, 0] * 4, cell[0, 0] * 4 + 2] == (1 if actions == "compass" else 2)
    island = make_env("harvest", map=["PP@A"], view=3)
    assert pose_distances(next_poses(island))[0, -1] == FAR


def test_a_defector_takes_the_nearest_apple_by_the_shortest_way() -> None:
    env = make_env("harvest", map=["AAAAA", "@@@@P", "AAAAP"], view=3, regrowth=[0.0])
    put(env, (2, 0), (0, 4), things={(0, 0): "apple", (2, 2): "apple"})
    names, returns = play(env, GridPlayers(env, ["defect", "cooperate"]), 2)
    assert names == ["east", "east"]
    assert returns.tolist() == [1, 0]


def test_a_cooperator_in_harvest_spares_the_last_of_a_patch() -> None:
    env = make_env("harvest", map=["AAAAAAP", "      P"], view=3, regrowth=[0.0])
    put(env, (0, 3), (1, 6), things={(0, 0): "apple", (0, 1): "apple", (0, 2): "apple", (0, 5): "apple"})
    _, returns = play(env, GridPlayers(env, ["cooperate", "cooperate"]), 12)
    # Of three it takes one, then two are left with one neighbour each.
    assert returns.sum() == 1
    _, returns = play(env, GridPlayers(env, ["defect", "cooperate"]), 12)
    assert returns[0] == 3


@pytest.mark.parametrize("actions", ["compass", "turn"])
def test_a_cooperator_in_cleanup_cleans_then_eats(actions: str) -> None:
    env = make_env(
        "cleanup", map=["RRRRP  B", "RRRRP  B"], view=3, actions=actions, waste_probability=0.0, apple_probability=0.0
    )
    waste = {(0, 0): "waste", (0, 1): "waste", (1, 3): "waste"}
    put(env, (0, 5), (1, 6), facing=1, things={**waste, (0, 7): "apple", (1, 7): "apple"})
    players = GridPlayers(env, ["cooperate", "defect"], tolerance=0.0)
    names, returns = play(env, players, 30)
    assert names.count("clean") == 3
    assert not (env.things == env.things_named["waste"]).any()
    # The other took both apples meanwhile.
    assert returns.tolist() == [0, 2]


def test_players_fill_a_rollout_in_either_grouping() -> None:
    for grouping in ("per_agent", "one_group"):
        env = make_env("cleanup", grouping=grouping)
        played = env.rollout(5, GridPlayers(env, ["cooperate", "defect"]))
        assert played.shape == (1, 5)


def test_unknown_strategies_and_games_are_refused() -> None:
    with pytest.raises(ValueError, match=r"strategy must be cooperate or defect, but is 'nice'"):
        GridPlayers(make_env("harvest"), ["nice", "defect"])
    with pytest.raises(ValueError, match=r"env must be a CleanupEnv or a HarvestEnv, but is 'MiningEnv'"):
        GridPlayers(mining(1), ["defect", "defect"])


@pytest.mark.parametrize("task", ["cleanup", "harvest"])
def test_the_presets_are_social_dilemmas(task: str) -> None:
    schelling = example("schelling")
    table = schelling.payoffs(task, n_agents=3, episodes=40, seed=1, overrides={})
    assert schelling.verdict(table).startswith("a social dilemma")
    # The intervals of cooperating and defecting beside two cooperators are apart.
    beside_two = table[table["others"] == 2].set_index("choice")
    gap = beside_two.loc["defect", "mean"] - beside_two.loc["cooperate", "mean"]
    assert gap > beside_two["half_width"].max()


def test_verdict() -> None:
    rows = [("cooperate", 0, 0.0), ("cooperate", 1, 3.0), ("defect", 0, 1.0), ("defect", 1, 2.0)]
    table = pd.DataFrame(rows, columns=["choice", "others", "mean"])
    assert example("schelling").verdict(table).endswith("defecting pays more with [0] others who cooperate")
    harmony = table.assign(mean=[2.0, 3.0, 1.0, 2.0])
    assert example("schelling").verdict(harmony).startswith("NO social dilemma")


# The example's own game


def mining(num_envs: int, **options: Any) -> GridWorldEnv:
    module = example("custom_grid_world")
    options = {"n_agents": 2, "iron": 0.0, "gold": 0.0, "grouping": "per_agent", **options}
    env = module.TaskConfig(**options).make_env(num_envs, "cpu", 0)
    env.reset()
    return env


def test_gold_takes_two_within_three_steps() -> None:
    for wait, gold in ((0, 8), (1, 8), (2, 8), (3, 0)):
        env = mining(1)
        put(env, (1, 2), (2, 1), things={(1, 1): "gold"})
        env.place(facing=torch.tensor([[3, 0]]))
        mine, stay = env.actions["mine"], env.actions["stay"]
        returns = torch.zeros(2)
        plan = [[mine, mine]] if wait == 0 else [[mine, stay], *[[stay, stay]] * (wait - 1), [stay, mine]]
        for actions in plan:
            returns += env.transition(torch.tensor([actions]))[0][0]
        assert returns.tolist() == [gold, gold], wait


def test_iron_takes_one() -> None:
    env = mining(1)
    put(env, (1, 2), (4, 4), things={(1, 1): "iron"})
    env.place(facing=torch.tensor([[3, 0]]))
    rewards, info = env.transition(torch.tensor([[env.actions["mine"], 0]]))
    assert rewards.tolist() == [[1, 0]] == info["iron"].squeeze(-1).tolist()
    assert env.things[0, env.grid.layout[1, 1]] == 0


def test_the_examples_game_conforms() -> None:
    check_env_specs(mining(3, n_agents=3, iron=0.1, gold=0.1))
