"""The iterated snowdrift game: two drivers are stuck before a snowdrift, and each shovels (action 0) or waits (1).

Whoever gets home has the benefit; the cost is shared by those who shovel (Doebeli and Hauert 2005, Ecology Letters 8).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameEnv, MatrixGameOptions, symmetric_table
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS

CELL = 48


class SnowdriftEnv(MatrixGameEnv):
    """A matrix game that can be looked at: a disc for each driver, filled where it shovelled in the last step."""

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes."""
        picture = Image.new("RGB", (2 * CELL, CELL), "white")
        draw = ImageDraw.Draw(picture)
        # What each driver sees of itself comes first: the joint actions CC, CD, DC, DD, and the first step's flag.
        seen = self.observations()[0]
        for driver, colour in enumerate(COLOURS[:2]):
            shovels = bool(seen[driver, :2].sum() > 0)
            box = (driver * CELL + 8, 8, (driver + 1) * CELL - 8, CELL - 8)
            draw.ellipse(box, fill=colour if shovels else None, outline=colour, width=3)
        return np.asarray(picture)


@dataclass
class TaskConfig(MatrixGameOptions):
    """The options of all matrix games, and those of the snowdrift.

    Args:
        benefit (float): of getting home, in units of reward, above the cost.
        cost (float): of clearing the road, above 0.
    """

    benefit: float = MISSING
    cost: float = MISSING

    # Raise it when the rules change: results of different versions are not compared.
    version: ClassVar[int] = 1

    def payoff_table(self) -> Tensor:
        check_option("task.cost", self.cost, self.cost > 0, "a number > 0")
        check_option("task.benefit", self.benefit, self.benefit > self.cost, f"a number > task.cost ({self.cost})")
        both, alone = self.benefit - self.cost / 2, self.benefit - self.cost
        return symmetric_table((both, alone, self.benefit, 0.0))

    def cooperation(self) -> CooperationMeasure:
        """Which of the metrics tables and figures show, what they call it, and its bounds."""
        return CooperationMeasure("p_cooperate", "P(shovel)", low=0.0, high=1.0)

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> SnowdriftEnv:
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "max_steps",
                "continuation_probability",
                "action_noise",
                "observation",
                "grouping",
            )
        }
        return SnowdriftEnv(self.payoff_table(), num_envs=num_envs, device=device, seed=seed, **options, **self.noise())
