"""Iterated N-player public goods game: action 0 contributes (cooperates), action 1 keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions
from benchmarl_reciprocator.tasks.options import check_option

# The payoff table has 2^N rows.
MAX_AGENTS = 16


@dataclass
class TaskConfig(MatrixGameOptions):
    """The options of all matrix games, and those of the public good.

    A contributor pays ``contribution``; all contributions are multiplied and shared equally by all agents. It is a
    dilemma for ``1 < multiplier < n_agents``.

    Args:
        n_agents (int): number of agents, 2 to 16.
        contribution (float): what a contributor pays, in units of reward, above 0.
        multiplier (float): factor on the sum of contributions, between 1 and ``n_agents``.
    """

    version: ClassVar[int] = 1

    n_agents: int
    contribution: float
    multiplier: float

    def payoff_table(self) -> Tensor:
        n = self.n_agents
        check_option("task.n_agents", n, 2 <= n <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
        check_option("task.contribution", self.contribution, self.contribution > 0, "a number > 0")
        check_option(
            "task.multiplier",
            self.multiplier,
            1 < self.multiplier < n,
            f"above 1 and below {n} (task.n_agents), or there is no dilemma",
        )
        contributes = 1.0 - torch.cartesian_prod(*[torch.arange(2.0)] * n).reshape(*[2] * n, n)
        share = self.multiplier * self.contribution * contributes.mean(-1, keepdim=True)
        return share - self.contribution * contributes
