"""Negotiation as a task: its options, measures and bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.negotiation.game import NegotiationEnv, negotiation_metrics
from benchmarl_reciprocator.tasks.negotiation.players import PLAYERS
from benchmarl_reciprocator.tasks.negotiation.rules import NegotiationRules
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.players import Player


@dataclass
class TaskConfig(NoiseOptions):
    """The options of negotiation, see :class:`NegotiationRules` and :class:`NegotiationEnv`."""

    version: ClassVar[int] = 1
    continuous: ClassVar[bool] = True

    values: str
    division: str
    max_claim: int
    max_steps: int
    continuation_probability: float
    grouping: str

    def rules(self) -> NegotiationRules:
        """The rules among the options."""
        return NegotiationRules(**{field.name: getattr(self, field.name) for field in fields(NegotiationRules)})

    def make_env(
        self, num_envs: int, device: torch.device | str, seed: int | None, continuous_actions: bool = False
    ) -> NegotiationEnv:
        """The environment that these options describe."""
        return NegotiationEnv(
            self.rules(),
            continuous_actions=continuous_actions,
            num_envs=num_envs,
            max_steps=self.max_steps,
            continuation_probability=self.continuation_probability,
            grouping=self.grouping,
            device=device,
            seed=seed,
            **self.noise(),
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Restraint and efficiency of trajectories ``[E, T]``, see
        :func:`~benchmarl_reciprocator.tasks.negotiation.game.negotiation_metrics`.
        """
        return negotiation_metrics(trajectories, valid)

    def cooperation(self) -> CooperationMeasure:
        """How much of what is worth more to the other agents leave to it."""
        return CooperationMeasure("restraint", "restraint")

    def bounds(self) -> dict[str, float]:
        """Expected return of an agent when all cooperate and when all are greedy; empty but for high contrast."""
        if self.values != "high_contrast":
            return {}
        reached = (self.continuation_probability ** torch.arange(float(self.max_steps))).sum().item()
        # Of three items worth 5 or 1, of 15 in all: each the half that are worth 5 to it, or half of each item.
        return {"all_cooperate_return": 0.5 * reached, "all_defect_return": 0.3 * reached}

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.negotiation.players.PLAYERS`, by name."""
        return {name: partial(make, self.max_claim) for name, make in PLAYERS.items()}
