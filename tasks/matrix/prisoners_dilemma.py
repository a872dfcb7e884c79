"""Iterated prisoner's dilemma: action 0 cooperates, action 1 defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions, symmetric_table
from benchmarl_reciprocator.tasks.options import check_option, one_of

# Rewards of the row player by (row, column): CC, CD, DC, DD. The games are symmetric. A variant is the source's payoffs
# alone: lengths of episodes and what agents observe are other options of the task, and differ between the sources.
VARIANTS = {
    # Foerster et al. 2018 (LOLA, arXiv 1709.04326); also M-FOS, LOQA (arXiv 2405.01035) and the Reciprocator (arXiv
    # 2406.01641).
    "lola": (-1.0, -3.0, 0.0, -2.0),
    # Contribution game with factor 1.33: Zhao et al. 2022 (POLA, arXiv 2210.10125).
    "contribution": (0.33, -0.335, 0.665, 0.0),
    # Leibo et al. 2017 (arXiv 1702.03037), figure 1.
    "leibo": (3.0, 0.0, 4.0, 1.0),
}


@dataclass
class TaskConfig(MatrixGameOptions):
    """The options of all matrix games, and which published payoffs.

    Args:
        variant (str): one of :data:`VARIANTS`. Scores of different variants are not comparable.
    """

    version: ClassVar[int] = 1

    variant: str

    def payoff_table(self) -> Tensor:
        check_option("task.variant", self.variant, self.variant in VARIANTS, one_of(VARIANTS))
        return symmetric_table(VARIANTS[self.variant])
