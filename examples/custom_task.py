"""A task of your own in one file: a common pool that grows back by what is left of it.

    python examples/custom_task.py algorithm=reciprocator task=social_dilemmas/custom_task experiment=social_dilemmas

Taking the large share pays now, and empties the pool for everybody. Registered by this script, the task is known to it
alone: one that all commands are to know belongs in a package, see ``examples/extension_package``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from benchmarl.run import hydra_experiment
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaEnv, register_task
from benchmarl_reciprocator.tasks.measure import CooperationMeasure

SMALL_SHARE, LARGE_SHARE = 0.05, 0.2


class CommonPoolEnv(SocialDilemmaEnv):
    """``n_agents`` harvest from one pool in [0, 1]; action 0 takes the small share of it, action 1 the large one."""

    # Whoever plays in one seat can play in another: the pool looks the same from all.
    interchangeable_seats = True

    def __init__(self, n_agents: int, growth: float, **kwargs) -> None:
        super().__init__([2] * n_agents, observation_shape=[1], state_shape=[1], info={"restraint": 1}, **kwargs)
        self.growth = growth
        self._pool = torch.ones(*self.batch_size, device=self.device)

    def start(self, where: Tensor) -> None:
        self._pool = self._pool.masked_fill(where, 1.0)

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        share = torch.where(actions == 1, LARGE_SHARE, SMALL_SHARE)
        harvest = share * self._pool.unsqueeze(-1)
        left = (self._pool - harvest.sum(-1)).clamp(min=0)
        self._pool = (left + self.growth * left * (1 - left)).clamp(max=1)
        return harvest, {"restraint": (actions == 0).float().unsqueeze(-1)}

    def observations(self) -> Tensor:
        return self._pool[:, None, None].expand(-1, self.n_agents, 1)

    def state(self, first_seat: int = 0) -> Tensor:
        return self._pool.unsqueeze(-1)


@dataclass
class TaskConfig:
    """Every option has a default, which is what a yaml file would hold."""

    n_agents: int = 3
    growth: float = 0.8
    max_steps: int = 64
    grouping: str = "auto"

    def make_env(self, num_envs: int, device: str, seed: int | None) -> CommonPoolEnv:
        return CommonPoolEnv(
            self.n_agents,
            self.growth,
            num_envs=num_envs,
            max_steps=self.max_steps,
            grouping=self.grouping,
            device=device,
            seed=seed,
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """How much of the pool was left over an episode."""
        pool = trajectories.get("state").squeeze(-1) * valid
        return {"pool_left": pool.sum(-1) / valid.sum(-1)}

    def cooperation(self) -> CooperationMeasure:
        """Which of the metrics reports show, by which name, and its bounds."""
        return CooperationMeasure("pool_left", "pool left", low=0.0, high=1.0)


if __name__ == "__main__":
    register_task(sys.modules[__name__], name="custom_task")
    hydra_experiment()
