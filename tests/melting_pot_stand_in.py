"""What stands in for Melting Pot and dm_env, which cannot be installed everywhere: a substrate with their interface.

BenchMARL's task and TorchRL's wrapper are the real ones. Shapes are those of a substrate of Melting Pot 2, at another
size: what an agent sees in RGB and numbers of its own, a picture of the world, rewards of each, 8 actions.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

N_ACTIONS = 8


class Array:
    """``dm_env.specs.Array``."""

    def __init__(self, shape: tuple[int, ...], dtype: type) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)


class BoundedArray(Array):
    """``dm_env.specs.BoundedArray``."""

    def __init__(self, shape: tuple[int, ...], dtype: type, minimum: float, maximum: float) -> None:
        super().__init__(shape, dtype)
        self.minimum, self.maximum = minimum, maximum


class DiscreteArray(BoundedArray):
    """``dm_env.specs.DiscreteArray``."""

    def __init__(self, num_values: int) -> None:
        super().__init__((), np.int64, 0, num_values - 1)
        self.num_values = num_values


class TimeStep(NamedTuple):
    """``dm_env.TimeStep``, as far as it is used."""

    observation: list[dict[str, np.ndarray]]
    reward: list[np.ndarray]

    def last(self) -> bool:
        return False


class Substrate:
    """Every agent is shown a colour; acting by its number pays 1 to it, and 1 to the next agent otherwise.

    Args:
        n_agents (int): number of agents.
        view (int): side of what an agent sees, in pixels.
        world (tuple of int): sides of the picture of the world.
    """

    def __init__(self, n_agents: int, view: int, world: tuple[int, int]) -> None:
        self.n_agents, self.view, self.world = n_agents, view, world
        self.random = np.random.default_rng(0)
        self.colours = np.zeros(n_agents, np.int64)

    def observation_spec(self) -> list[dict[str, Array]]:
        return [
            {
                "RGB": BoundedArray((self.view, self.view, 3), np.uint8, 0, 255),
                "READY_TO_SHOOT": Array((), np.float64),
                "COLLECTIVE_REWARD": Array((), np.float64),
                "WORLD.RGB": BoundedArray((*self.world, 3), np.uint8, 0, 255),
            }
        ] * self.n_agents

    def action_spec(self) -> list[DiscreteArray]:
        return [DiscreteArray(N_ACTIONS)] * self.n_agents

    def reward_spec(self) -> list[Array]:
        return [Array((), np.float64)] * self.n_agents

    def reset(self) -> TimeStep:
        return self.shown([np.zeros(())] * self.n_agents)

    def step(self, actions: list[Any]) -> TimeStep:
        matched = np.array([int(action) for action in actions]) == self.colours
        return self.shown([np.array(float(x)) for x in matched + np.roll(~matched, 1)])

    def shown(self, rewards: list[np.ndarray]) -> TimeStep:
        self.colours = self.random.integers(N_ACTIONS, size=self.n_agents)
        world = np.repeat(self.colours.astype(np.uint8), self.world[0] * self.world[1] * 3 // self.n_agents + 1)
        world = 30 * world[: self.world[0] * self.world[1] * 3].reshape(*self.world, 3)
        seen = [np.full((self.view, self.view, 3), 30 * colour, np.uint8) for colour in self.colours]
        own = {"READY_TO_SHOOT": np.ones(()), "COLLECTIVE_REWARD": np.array(sum(map(float, rewards)))}
        return TimeStep([{"RGB": rgb, **own, "WORLD.RGB": world} for rgb in seen], rewards)


def stand_in(monkeypatch: pytest.MonkeyPatch, n_agents: int, view: int, world: tuple[int, int]) -> None:
    """Let ``import meltingpot`` and ``import dm_env`` find the stand-ins, with one substrate for all names."""
    specs: Any = ModuleType("dm_env.specs")
    specs.Array, specs.BoundedArray, specs.DiscreteArray = Array, BoundedArray, DiscreteArray
    dm_env: Any = ModuleType("dm_env")
    dm_env.specs = specs
    substrate: Any = ModuleType("meltingpot.substrate")
    substrate.get_config = lambda name: SimpleNamespace(default_player_roles=("default",) * n_agents)
    substrate.build_from_config = lambda config, roles: Substrate(n_agents, view, world)
    meltingpot: Any = ModuleType("meltingpot")
    meltingpot.substrate = substrate
    meltingpot.utils = SimpleNamespace(substrates=SimpleNamespace(substrate=SimpleNamespace(Substrate=Substrate)))
    for module in (dm_env, specs, substrate, meltingpot):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("torchrl.envs.libs.meltingpot._has_meltingpot", True)
