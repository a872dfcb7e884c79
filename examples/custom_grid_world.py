"""A grid world of your own in one file: coordinated mining, after coop_mining of Melting Pot (arXiv 2211.13746).

    python examples/custom_grid_world.py algorithm=reciprocator task=social_dilemmas/mining \\
        experiment=social_dilemmas model=layers/small_cnn model@critic_model=layers/small_cnn

Iron is worth 1 to whoever mines it. Gold is worth 8 to each of two who mine it within three steps: it pays to be where
the other digs for gold, and to dig for iron is safe.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from benchmarl.run import hydra_experiment
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator import Beam, GridRules, GridWorldEnv, register_task
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics

# O ore may appear, P start, @ wall.
MAP = """
@@@@@@@@@
@O  P  O@
@ OP PO @
@ O P O @
@O  P  O@
@@@@@@@@@
"""
IRON_WORTH, GOLD_WORTH, WINDOW = 1.0, 8.0, 3
RULES = GridRules(max_steps=64, view=7, actions="compass")


class MiningEnv(GridWorldEnv):
    """Agents mine the ore in front of them.

    Args:
        n_agents (int): number of agents ``N``.
        iron (float): chance of iron on a free cell where ore appears, in a step.
        gold (float): the same of gold.
    """

    def __init__(self, n_agents: int, iron: float, gold: float, **kwargs) -> None:
        super().__init__(
            n_agents,
            RULES,
            MAP.strip().split("\n"),
            things={"iron": "#8A8D91", "gold": "#E0A800"},
            start={"O": None},
            floors={"O": "#C9B79C"},
            beams={"mine": Beam(length=1, width=1, cooldown=0, colour="#D55E00")},
            info=("iron", "gold"),
            **kwargs,
        )
        self.chances = {"iron": iron, "gold": gold}
        # For how many steps a strike at the gold on a cell still counts, by agent.
        self._struck = torch.zeros(*self.batch_size, n_agents, self.things.shape[1], device=self.device)

    def start(self, where: Tensor) -> None:
        super().start(where)
        self._struck = self._struck.masked_fill(where[:, None, None], 0)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        reach = self.reached("mine").flatten(2)
        hits_gold = self.things.gather(1, reach.squeeze(-1)) == self.things_named["gold"]
        iron = self.change(reach, "iron", into="nothing").float()
        self._struck = (self._struck - 1).clamp(min=0)
        self._struck.scatter_reduce_(2, reach, WINDOW * hits_gold.float().unsqueeze(-1), "amax")
        mined = (self._struck > 0).sum(1) >= 2
        gold = ((self._struck > 0) & mined.unsqueeze(1)).sum(-1).float()
        self._struck = self._struck.masked_fill(mined.unsqueeze(1), 0)
        self.things.masked_fill_(mined, self.things_named["nothing"])
        for ore, chance in self.chances.items():
            self.grow(self.grid.cells("O"), ore, chance)
        return IRON_WORTH * iron + GOLD_WORTH * gold, {"iron": iron, "gold": gold}


@dataclass
class TaskConfig:
    """Every option has a default, which is what a yaml file would hold."""

    n_agents: int = 3
    iron: float = 0.01
    gold: float = 0.01
    observation: str = "image"
    continuation_probability: float = 1.0
    grouping: str = "auto"

    def make_env(self, num_envs: int, device: str, seed: int | None) -> MiningEnv:
        return MiningEnv(
            self.n_agents,
            self.iron,
            self.gold,
            observation=self.observation,
            continuation_probability=self.continuation_probability,
            grouping=self.grouping,
            num_envs=num_envs,
            device=device,
            seed=seed,
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Iron and gold that were mined in an episode, in all and by agent."""
        return grid_metrics(trajectories, valid, ("iron", "gold"))


if __name__ == "__main__":
    register_task(sys.modules[__name__], name="mining")
    hydra_experiment()
