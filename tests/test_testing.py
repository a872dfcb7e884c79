"""The checks for other people's tasks, players and algorithms find what is wrong, and say what to mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from benchmarl.environments import task_config_registry
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaEnv, SocialDilemmaTask, register_task
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.players import Player
from benchmarl_reciprocator.testing import check_algorithm, check_player, check_task


class Game(SocialDilemmaEnv):
    """Two agents help each other or not; ``fault`` says what is wrong with it."""

    interchangeable_seats = True

    def __init__(self, fault: str, **kwargs) -> None:
        super().__init__([2, 2], observation_shape=[1], state_shape=[1], info={"help": 1}, **kwargs)
        self.fault = fault
        self._steps_done = torch.zeros(*self.batch_size, 1)

    def start(self, where: Tensor) -> None:
        everywhere = torch.ones_like(where) if self.fault == "resets" else where
        self._steps_done = self._steps_done.masked_fill(everywhere.unsqueeze(-1), 0)

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._steps_done = self._steps_done + 1
        rewards = (1.0 - actions).flip(-1)
        if self.fault == "seats":
            rewards = rewards * torch.tensor([1.0, 2.0])
        if self.fault == "seeds":
            rewards = rewards + torch.rand(rewards.shape)
        return rewards, {"help": (1.0 - actions).unsqueeze(-1)}

    def observations(self) -> Tensor:
        seen = self._steps_done.unsqueeze(1).expand(-1, 2, 1)
        return seen.double() if self.fault == "dtype" else seen.clone()

    def state(self, first_seat: int = 0) -> Tensor:
        return self._steps_done.clone()


@dataclass
class GameConfig:
    fault: str = ""
    max_steps: int = 8
    grouping: str = "auto"

    def make_env(self, num_envs: int, device: str, seed: int | None) -> Game:
        return Game(
            self.fault,
            num_envs=num_envs,
            max_steps=self.max_steps,
            grouping=self.grouping,
            device=device,
            seed=seed,
        )

    def metrics(self, trajectories, valid: Tensor) -> dict[str, Tensor]:
        helps = torch.cat(
            [
                trajectories.get(("next", group, "info", "help"))
                for group in trajectories["next"].keys()
                if "agent" in group
            ],
            -2,
        ).squeeze(-1)
        weight = valid.unsqueeze(-1) if self.fault != "padding" else torch.ones_like(valid).unsqueeze(-1)
        rate = (helps * weight).sum((1, 2)) / weight.expand_as(helps).sum((1, 2))
        if self.fault == "shape":
            rate = rate.mean()
        metrics = {"help": rate * (100 if self.fault == "bounds" else 1)}
        return metrics | ({"equality": rate} if self.fault == "taken" else {})

    def cooperation(self) -> CooperationMeasure:
        return CooperationMeasure("helpfulness" if self.fault == "measure" else "help", "help")


def game(fault: str) -> str:
    """Name of the game with a fault, registered."""
    name = f"faulty_{fault or 'not'}"
    if f"social_dilemmas/{name}" not in task_config_registry:
        config = dataclass(type(f"Config_{name}", (GameConfig,), {"fault": fault, "__annotations__": {"fault": str}}))
        module = ModuleType(name)
        module.TaskConfig = config
        register_task(module)
    return name


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("dtype", "check_env_specs refuses the environment|observations and state must be float32"),
        ("resets", r"start\(where\) must leave the environments that are not in where as they are"),
        ("seeds", "the same seed and actions must give the same episodes, but .* differs: draw"),
        ("seats", "interchangeable_seats must be False, or rewards, observations"),
        ("shape", r"metrics\(\)\['help'\] must be of shape \[E\]"),
        ("padding", r"metrics\(\)\['help'\] must leave out the steps where valid is False"),
        ("bounds", r"within the bounds of cooperation\(\), 0\.0 to 1\.0, but is"),
        ("measure", r"cooperation\(\)\.metric must be one of metrics\(\) \(help\), but is 'helpfulness'"),
        ("taken", r"metrics\(\) must have names of their own, but 'equality'"),
    ],
)
def test_faulty_tasks_are_found(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^task faulty_{fault}: .*({message})"):
        check_task(game(fault), algorithms=())


def test_a_task_without_faults_preset_or_yaml_passes() -> None:
    check_task(game(""))


def test_tasks_that_are_not_there() -> None:
    with pytest.raises(AssertionError, match="task nothing: it must be registered as one of social_dilemmas/"):
        check_task("nothing")
    with pytest.raises(AssertionError, match="task empty: ValueError: empty must define a dataclass TaskConfig"):
        check_task(ModuleType("empty"))


class Faulty(Player):
    """Helps, but for its fault."""

    def __init__(self, memory_size: int, act: Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]) -> None:
        self.memory_size = memory_size
        self.act = act
        self.calls = 0

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return self.act(observation, memory, self)


def even(observation: Tensor) -> Tensor:
    return observation.new_full((*observation.shape[:-1], 2), 0.5)


@pytest.mark.parametrize(
    ("size", "act", "message"),
    [
        (0, lambda seen, memory, player: (even(seen) * 1.5, memory), "must sum to 1, but sum to 1.5"),
        (
            0,
            lambda seen, memory, player: (even(seen)[..., :1] * 2, memory),
            r"must give probabilities of shape \[6, 2\]",
        ),
        (1, lambda seen, memory, player: (even(seen), memory[..., :0]), r"memory must stay of shape \[6, 1\]"),
        (
            0,
            lambda seen, memory, player: (even(seen) + player.calls % 2 / 4 * torch.tensor([1, -1]), memory),
            "the same for",
        ),
        (1, lambda seen, memory, player: (even(seen), memory.add_(1)), "must leave the observation and the memory"),
        (-1, lambda seen, memory, player: (even(seen), memory), "memory_size must be an integer >= 0, but is -1"),
    ],
)
def test_faulty_players_are_found(size: int, act: Callable, message: str) -> None:
    with pytest.raises(AssertionError, match=f"player .* in task faulty_not: .*{message}"):
        check_player(lambda: Faulty(size, act), task_config_registry[f"social_dilemmas/{game('')}"].get_from_yaml())


def test_players_by_name() -> None:
    task: SocialDilemmaClass = SocialDilemmaTask.STAG_HUNT.get_from_yaml()
    check_player("grim", task)
    with pytest.raises(AssertionError, match="nobody must be a player of stag_hunt"):
        check_player("nobody", task)


def test_algorithms_that_are_not_there() -> None:
    with pytest.raises(AssertionError, match="algorithm nothing: it must be registered as one of"):
        check_algorithm("nothing")
    with pytest.raises(AssertionError, match="algorithm empty: ValueError: empty must define exactly one"):
        check_algorithm(ModuleType("empty"))
