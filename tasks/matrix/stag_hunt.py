"""Iterated stag hunt: action 0 hunts the stag (cooperates), action 1 the hare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions, symmetric_table

# Rewards of the row player for CC, CD, DC, DD: Leibo et al. 2017 (arXiv 1702.03037), figure 1.
PAYOFFS = (4.0, 0.0, 3.0, 1.0)


@dataclass
class TaskConfig(MatrixGameOptions):
    """The options of all matrix games."""

    version: ClassVar[int] = 1

    def payoff_table(self) -> Tensor:
        return symmetric_table(PAYOFFS)
