"""Scripted players as the algorithm of a group: somebody to learn against who does not learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import Any

import torch
from benchmarl.algorithms.common import Algorithm
from benchmarl.environments.common import TaskClass
from benchmarl.models.common import ModelConfig
from tensordict.nn import TensorDictModule
from torch import Tensor
from torch.distributions import Categorical
from torchrl.data import Composite, Unbounded
from torchrl.envs import EnvBase, TensorDictPrimer
from torchrl.modules import ProbabilisticActor

from benchmarl_reciprocator.algorithms.not_trained import NotTrained, NotTrainedConfig, groups_of, with_transform

MEMORY = "memory"


class Scripted(NotTrained):
    """Plays a scripted player of the task. What it remembers is at ``(group, "memory")`` ``[*B, n, M]``, zeros after
    every reset. Exploration is the learners' and leaves the script alone, but in
    ``experiment.off_policy_init_random_frames`` TorchRL lets everybody act at random.

    Args:
        experiment (Experiment): of a task with ``players()``, makers of players by name (see
            :class:`~benchmarl_reciprocator.tasks.players.Player`).
        player (str): name of one.

    Raises:
        ValueError: if the task has no such player.
    """

    def __init__(self, experiment, player: str) -> None:
        super().__init__(experiment=experiment)
        players = players_of(experiment.task)
        if player not in players:
            raise ValueError(
                f"algorithm.player must be a scripted player of task={experiment.task.name.lower()} "
                f"({', '.join(players) or 'it has none'}), but is {player!r}"
            )
        self.player = players[player]()

    def process_env_fun(self, env_fun: Callable[[], EnvBase]) -> Callable[[], EnvBase]:
        env_fun = super().process_env_fun(env_fun)

        def memory(group: str) -> Composite:
            shape, device = (len(self.group_map[group]),), self.experiment_config.sampling_device
            values = Unbounded((*shape, self.player.memory_size), device=device)
            return Composite({MEMORY: values}, shape=shape, device=device)

        memories = Composite({group: memory(group) for group in groups_of(self)})
        return lambda: with_transform(env_fun(), TensorDictPrimer(memories.clone(), expand_specs=True))

    def _get_policy_for_loss(self, group: str, model_config: ModelConfig, continuous: bool) -> TensorDictModule:
        script = TensorDictModule(
            _Script(self.player).to(self.device),
            in_keys=[(group, "observation"), (group, MEMORY)],
            out_keys=[(group, "probs"), ("next", group, MEMORY)],
        )
        return ProbabilisticActor(
            script,
            spec=self.action_spec[group, "action"],
            in_keys={"probs": (group, "probs")},
            out_keys=[(group, "action")],
            distribution_class=Categorical,
        )


@dataclass
class ScriptedConfig(NotTrainedConfig):
    """Configuration dataclass for :class:`Scripted`.

    Args:
        player (str): name of one of the task's scripted players.
    """

    player: str = MISSING

    def associated_class(self) -> type[Algorithm]:
        """A class named after the player, since BenchMARL names results after the class."""
        return type(f"scripted_{self.player}", (Scripted,), {"__doc__": Scripted.__doc__})


class _Script(torch.nn.Module):
    """A player as a module that has a device: without one TorchRL's collector warns of the policy."""

    def __init__(self, player: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.player = player
        self.register_buffer("device", torch.zeros(()), persistent=False)

    def forward(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.player(observation, memory)


def players_of(task: TaskClass) -> dict[str, Callable[[], Any]]:
    """Makers of a task's scripted players, by name; empty where it has none."""
    players = getattr(task, "players", None)
    return players() if players is not None else {}
