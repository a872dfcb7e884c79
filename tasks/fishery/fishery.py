"""The fishery and Cournot's market as one task: its options, measures and bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.fishery.game import FisheryEnv, quantity_metrics
from benchmarl_reciprocator.tasks.fishery.players import PLAYERS, QuantityGame
from benchmarl_reciprocator.tasks.fishery.rules import VARIANTS, CournotRules, FisheryRules
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.players import Player


@dataclass
class TaskConfig(NoiseOptions):
    """The options of the fishery, see :class:`FisheryEnv`. Rules that are ``None`` are the variant's.

    Args:
        variant (str): ``"fishery"``, see :class:`FisheryRules`, or ``"cournot"``, see :class:`CournotRules`. A rule of
            the one is none of the other.
        max_quantity (float, optional): ``largest`` of :class:`FisheryEnv`.
    """

    version: ClassVar[int] = 1
    continuous: ClassVar[bool] = True

    variant: str
    n_agents: int
    growth: float | None
    catchability: float | None
    price: float | None
    cost: float | None
    capacity: float | None
    initial_stock: float | None
    intercept: float | None
    slope: float | None
    unit_cost: float | None
    max_quantity: float | None
    levels: int
    max_steps: int
    continuation_probability: float
    grouping: str

    def rules(self) -> FisheryRules | CournotRules:
        """The variant's rules, with those that are set.

        Raises:
            ValueError: if there is no such variant, or a rule is set that it does not have.
        """
        check_option("task.variant", self.variant, self.variant in VARIANTS, one_of(VARIANTS))
        names = {name: {field.name for field in fields(rules)} for name, rules in VARIANTS.items()}
        chosen = {}
        for name in set().union(*names.values()):
            value = getattr(self, name)
            own = name in names[self.variant]
            check_option(f"task.{name}", value, own or value is None, f"null where task.variant is {self.variant}")
            if value is not None:
                chosen[name] = value
        return VARIANTS[self.variant](**chosen)

    def make_env(
        self, num_envs: int, device: torch.device | str, seed: int | None, continuous_actions: bool = False
    ) -> FisheryEnv:
        """The environment that these options describe."""
        return FisheryEnv(
            self.rules(),
            n_agents=self.n_agents,
            largest=self.max_quantity,
            levels=self.levels,
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
        """Quantities of trajectories ``[E, T]``, see
        :func:`~benchmarl_reciprocator.tasks.fishery.game.quantity_metrics`.
        """
        return quantity_metrics(trajectories, valid, self.rules())

    def cooperation(self) -> CooperationMeasure:
        """Where between the Nash equilibrium (0) and the joint optimum (1) quantities are."""
        rules = self.rules()
        nash, best = rules.equilibrium(self.n_agents), rules.cooperative(self.n_agents)
        low, high = ((nash - quantity) / (nash - best) for quantity in (self._largest(rules), 0.0))
        return CooperationMeasure("moderation", "moderation (0: Nash, 1: optimum)", low, high)

    def bounds(self) -> dict[str, float]:
        """Return of an agent when all always choose the joint optimum, and when all choose the Nash equilibrium."""
        rules = self.rules()
        return {
            "all_cooperate_return": self._return_of(rules.cooperative(self.n_agents)),
            "all_defect_return": self._return_of(rules.equilibrium(self.n_agents)),
        }

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.fishery.players.PLAYERS`, by name."""
        rules = self.rules()
        game = QuantityGame(rules, self.n_agents, self._largest(rules), self.levels)
        return {name: partial(make, game) for name, make in PLAYERS.items()}

    def _largest(self, rules: FisheryRules | CournotRules) -> float:
        return rules.alone if self.max_quantity is None else self.max_quantity

    def _return_of(self, quantity: float) -> float:
        """Expected return of an agent while all choose the same quantity."""
        rules = self.rules()
        quantities = torch.full((self.n_agents,), quantity, dtype=torch.double)
        level, total = torch.tensor(rules.first_level, dtype=torch.double), 0.0
        for step in range(self.max_steps):
            rewards, level = rules.step(quantities, level)
            total += self.continuation_probability**step * rewards[0].item()
        return total
