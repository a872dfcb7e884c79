"""Iterated matching pennies: zero-sum, a control without a dilemma. Agent 0 wins if the actions match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions


@dataclass
class TaskConfig(MatrixGameOptions):
    """The options of all matrix games."""

    version: ClassVar[int] = 1

    def payoff_table(self) -> Tensor:
        matched = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        return torch.stack([matched, -matched], dim=-1)

    def cooperates_with(self) -> None:
        return None
