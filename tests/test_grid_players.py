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

from benchmarl_reciprocator import GridWorldEnv, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.known_map import FAR, distances
from benchmarl_reciprocator.testing import check_player

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
    env.makers = chosen.players()
    return env


def put(env: GridWorldEnv, *places: tuple[int, int], facing: int = 0, things: dict[tuple[int, int], str]) -> None:
    """Agents and things on rows and columns; nothing lies elsewhere."""
    lying = env.first_things.clone()
    lying[: env.grid.wall] = 0
    for place, thing in things.items():
        lying[env.grid.layout[place]] = env.things_named[thing]
    cells = torch.tensor([[env.grid.layout[place].item() for place in places]])
    env.place(cells, torch.full_like(cells, facing), lying.unsqueeze(0))


class Seated:
    """Scripted players in the seats of an environment, with what they remember."""

    def __init__(self, env: GridWorldEnv, names: list[str]) -> None:
        self.env = env
        self.players = [env.makers[name]() for name in names]
        self.memories = [torch.zeros(*env.batch_size, player.memory_size) for player in self.players]
        self.generator = torch.Generator().manual_seed(0)

    def choose(self) -> Tensor:
        seen, actions = self.env.observations(), []
        for seat, player in enumerate(self.players):
            chances, self.memories[seat] = player(seen[:, seat], self.memories[seat])
            actions.append(torch.multinomial(chances, 1, generator=self.generator))
        return torch.cat(actions, -1)

    def step(self) -> tuple[str, Tensor]:
        """The name of the first one's action, and everybody's reward."""
        actions = self.choose()
        return list(self.env.actions)[actions[0, 0]], self.env.transition(actions)[0][0]


def play(players: Seated, steps: int) -> tuple[list[str], Tensor]:
    """Names of the first agent's actions and all agents' returns."""
    names, rewards = zip(*(players.step() for _ in range(steps)))
    return list(names), torch.stack(rewards).sum(0)


def test_distances_count_steps_around_walls() -> None:
    # A ring of four cells in one direction, and a cell for itself.
    assert distances(torch.tensor([[1, 2, 3, 0, 4]]))[0].tolist() == [0, 1, 2, 3, FAR]


@pytest.mark.parametrize("observation", ["image", "flat", "rgb"])
@pytest.mark.parametrize("actions", ["compass", "turn", "fixed"])
def test_players_find_out_where_they_are(actions: str, observation: str) -> None:
    rows = ["@@@@@@@", "@HR PB@", "@R  PB@", "@HR  P@", "@@@@@@@"]
    env = make_env("cleanup", map=rows, view=5, actions=actions, observation=observation)
    players = Seated(env, ["cooperate", "defect"])
    for _ in range(12):
        cells, facing = env.cells[0].clone(), env.facing[0].clone()
        players.step()
        found = torch.stack([memory[0, 0] for memory in players.memories]).long() - 1
        assert (found // 4).tolist() == cells.tolist()
        # In colours it does not show where an agent looks that does not turn its view.
        if actions != "compass" or observation != "rgb":
            assert (found % 4).tolist() == facing.tolist()


def test_a_defector_takes_the_nearest_apple_by_the_shortest_way() -> None:
    env = make_env("harvest", map=["AAAAA", "@@@@P", "AAAAP"], view=7, regrowth=[0.0])
    put(env, (2, 0), (0, 4), things={(0, 0): "apple", (2, 2): "apple"})
    names, returns = play(Seated(env, ["defect", "cooperate"]), 2)
    assert names == ["east", "east"]
    assert returns.tolist() == [1, 0]


def test_a_cooperator_in_harvest_spares_the_last_of_a_patch() -> None:
    env = make_env("harvest", map=["AAAAAAP", "      P"], view=9, regrowth=[0.0])
    put(env, (0, 3), (1, 6), things={(0, 0): "apple", (0, 1): "apple", (0, 2): "apple", (0, 5): "apple"})
    _, returns = play(Seated(env, ["cooperate", "cooperate"]), 12)
    # Of three it takes one, then two are left with one neighbour each.
    assert returns.sum() == 1
    _, returns = play(Seated(env, ["defect", "cooperate"]), 12)
    assert returns[0] == 3


@pytest.mark.parametrize("actions", ["compass", "turn"])
def test_a_cooperator_in_cleanup_cleans_then_eats(actions: str) -> None:
    env = make_env(
        "cleanup", map=["RRRRP  B", "RRRRP  B"], view=9, actions=actions, waste_probability=0.0, apple_probability=0.0
    )
    waste = {(0, 0): "waste", (0, 1): "waste", (1, 3): "waste"}
    put(env, (0, 5), (1, 6), facing=1, things={**waste, (0, 7): "apple", (1, 7): "apple"})
    names, returns = play(Seated(env, ["cooperate", "defect"]), 30)
    assert names.count("clean") == 3
    assert not (env.things == env.things_named["waste"]).any()
    # The other took both apples meanwhile.
    assert returns.tolist() == [0, 2]


def test_who_sees_nothing_to_eat_goes_and_looks() -> None:
    env = make_env("harvest", map=["P" + " " * 10 + "AAA", "P" + " " * 10 + "AAA"], view=3, regrowth=[0.0])
    put(env, (0, 0), (1, 0), things={(0, 13): "apple"})
    _, returns = play(Seated(env, ["defect", "defect"]), 20)
    assert returns.sum() == 1


def test_tit_for_tat_in_cleanup_stops_when_nobody_else_cleans() -> None:
    shots = {}
    for name in ("cooperate", "tit_for_tat"):
        env = make_env("cleanup", waste_probability=0.5, apple_probability=0.0, n_agents=2)
        names, _ = play(Seated(env, [name, "defect"]), 60)
        shots[name] = names.count("clean")
        with_one = play(Seated(env, [name, "cooperate"]), 60)[0].count("clean")
        assert with_one > 10
    assert 2 <= shots["tit_for_tat"] < shots["cooperate"] / 2


def test_tit_for_tat_in_harvest_answers_who_takes_the_last_apples() -> None:
    env = make_env("harvest", map=["AAA    AAA", "    PP    "], view=19, regrowth=[0.0])
    lying = {(0, 0): "apple", (0, 2): "apple", (0, 7): "apple", (0, 9): "apple"}
    for other, returns in (("cooperate", [0, 0]), ("defect", [2, 2])):
        put(env, (1, 7), (0, 1), things=lying)
        players = Seated(env, ["tit_for_tat", other])
        _, gained = play(players, 14)
        assert gained.tolist() == returns, other


@pytest.mark.parametrize("task", ["cleanup", "harvest"])
def test_players_are_those_of_their_task(task: str) -> None:
    chosen = SocialDilemmaTask[task.upper()].get_from_yaml()
    assert list(chosen.players()) == ["cooperate", "defect", "tit_for_tat", "random"]
    check_player("tit_for_tat", chosen)


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
