"""In-the-matrix as a task: its options and measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.matrix_world.game import InTheMatrixEnv
from benchmarl_reciprocator.tasks.grid.matrix_world.players import makers
from benchmarl_reciprocator.tasks.grid.matrix_world.rules import VARIANTS, MatrixWorldRules, payoff_tables
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, prefixes
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("in_the_matrix")


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of in-the-matrix. Rules that are ``None`` are taken from the variant, see :class:`MatrixWorldRules`.

    A map that ships for two classes is replaced by that of the same name for three where the payoff table has three.
    """

    version: ClassVar[int] = 1

    payoffs: Any
    initial_inventory: int | None
    interact_length: int | None
    interact_width: int | None
    interact_cooldown: int | None
    interact_through_agents: bool | None
    resource_hits: int | None
    freeze: int | None
    pay_at_once: bool | None
    respawn: int | None
    regrowth: float | None
    regrowth_delay: int | None
    restore: bool | None
    one_shot: bool | None

    def rules(self) -> tuple[MatrixWorldRules, list[str]]:
        """The variant's rules, overridden by those that are set, and the rows of the map."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        n_classes = len(payoff_tables(rules.payoffs)[0])
        if isinstance(rules.map, str):
            rows = MAPS.get(f"{rules.map}_{n_classes}", rows)
        return rules, rows

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> InTheMatrixEnv:
        """The environment that these options describe."""
        rules, rows = self.rules()
        return InTheMatrixEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """With what agents of trajectories ``[E, T]`` interact.

        Returns:
            dict[str, Tensor]: each ``[E]``, and each also by agent, as ``agent_<i>_<name>``: ``interactions``, their
                number, each counted for both; ``cooperation``, the share in which an agent had more of class 1 than of
                any other, and ``share_1``, the mean share of class 1 in inventories at interactions (both ``nan``
                without interactions); ``collected``, the number of resources collected.
        """
        found = grid_metrics(trajectories, valid, ("interactions", "cooperates", "share_1", "collected"))
        metrics = {}
        for prefix in prefixes(self.n_agents):
            number = found[f"{prefix}interactions"]
            metrics[f"{prefix}interactions"] = number
            metrics[f"{prefix}cooperation"] = found[f"{prefix}cooperates"] / number
            metrics[f"{prefix}share_1"] = found[f"{prefix}share_1"] / number
            metrics[f"{prefix}collected"] = found[f"{prefix}collected"]
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share of interactions in which an agent had more of class 1 than of any other."""
        return CooperationMeasure("cooperation", "cooperation")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of scripted players, by name, see
        :class:`~benchmarl_reciprocator.tasks.grid.matrix_world.players.Collector`; none where agents see colours or
        move in fixed directions while their view turns.
        """
        rules, _ = self.rules()
        if self.observation == "rgb" or rules.actions == "fixed":
            return {}
        n_classes = len(payoff_tables(rules.payoffs)[0])
        return {
            name: partial(make, self.n_agents, rules, n_classes, self.observation)
            for name, make in makers(n_classes).items()
        }
