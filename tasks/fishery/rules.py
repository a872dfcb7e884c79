"""The rules of the fishery and of Cournot's market: what quantities come to, and which are best to choose."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.options import check_option


@dataclass(frozen=True, kw_only=True)
class QuantityRules(ABC):
    """A game in which every agent chooses a quantity, and with all quantities ``q`` kept earns ``(a - b sum(q)) q_i``
    in a step. The quantities below are best where this is so.
    """

    @property
    @abstractmethod
    def earnings(self) -> tuple[float, float]:
        """``a`` and ``b``."""

    @property
    @abstractmethod
    def first_level(self) -> float:
        """The level of what all share, a stock or a price, at the start of an episode."""

    @property
    @abstractmethod
    def highest_level(self) -> float:
        """The level by which that which is observed is scaled."""

    @abstractmethod
    def step(self, quantities: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Play one step.

        Args:
            quantities (Tensor): ``[*B, N]``, at least 0.
            level (Tensor): ``[*B]``.

        Returns:
            tuple[Tensor, Tensor]: rewards ``[*B, N]`` and the next level ``[*B]``.
        """

    def check(self) -> None:
        """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
        for field in fields(self):
            value = getattr(self, field.name)
            valid = isinstance(value, (int, float)) and 0 < value < math.inf
            check_option(f"task.{field.name}", value, valid, "a finite number > 0")
        a, _ = self.earnings
        check_option("what the first unit earns by the rules of the task", a, a > 0, "a number > 0")

    @property
    def alone(self) -> float:
        """The best quantity of an agent alone, which is the best sum of all; more is never best, whatever others do."""
        a, b = self.earnings
        return a / (2 * b)

    def cooperative(self, n_agents: int) -> float:
        """The quantity of each that is best for all together."""
        return self.alone / n_agents

    def equilibrium(self, n_agents: int) -> float:
        """The quantity of each in the Nash equilibrium of the steady state."""
        return 2 * self.alone / (n_agents + 1)

    def best_reply(self, others: Tensor) -> Tensor:
        """The quantity that is best for an agent while the others' sum is ``others`` ``[*B]``."""
        return (self.alone - others / 2).clamp(min=0.0)


@dataclass(frozen=True, kw_only=True)
class FisheryRules(QuantityRules):
    """A stock of fish that grows logistically, and is fished in proportion to the efforts and to the stock.

    Args:
        growth (float): rate of growth ``g``: by ``g s (1 - s / capacity)`` in a step, from the stock ``s`` before it.
        catchability (float): share of the stock that a unit of effort catches.
        price (float): reward for a unit of fish.
        cost (float): what a unit of effort costs.
        capacity (float): the largest stock.
        initial_stock (float): the stock at the start of an episode.
    """

    growth: float = 0.15
    catchability: float = 0.009
    price: float = 200.0
    cost: float = 0.9
    capacity: float = 1.0
    initial_stock: float = 0.5

    level_name: ClassVar[str] = "stock"

    @property
    def earnings(self) -> tuple[float, float]:
        by_stock = self.price * self.catchability * self.capacity
        return by_stock - self.cost, by_stock * self.catchability / self.growth

    @property
    def first_level(self) -> float:
        return self.initial_stock

    @property
    def highest_level(self) -> float:
        return self.capacity

    def check(self) -> None:
        super().check()
        valid = self.initial_stock <= self.capacity
        check_option("task.initial_stock", self.initial_stock, valid, f"at most {self.capacity} (task.capacity)")

    def step(self, quantities: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        effort = quantities.sum(-1)
        grown = level + self.growth * level * (1 - level / self.capacity)
        # Nobody catches what is not there.
        catch = torch.minimum(self.catchability * effort * level, grown)
        # The smallest number, so that no effort catches nothing
        shares = quantities / effort.clamp(min=torch.finfo(effort.dtype).tiny).unsqueeze(-1)
        return self.price * shares * catch.unsqueeze(-1) - self.cost * quantities, grown - catch


@dataclass(frozen=True, kw_only=True)
class CournotRules(QuantityRules):
    """A market without memory: its price falls with what all supply, ``intercept - slope sum(q)``, also below 0.

    Args:
        intercept (float): the price if nobody supplies anything.
        slope (float): by how much a unit lowers it.
        unit_cost (float): what a unit costs who supplies it.
    """

    intercept: float = 100.0
    slope: float = 1.0
    unit_cost: float = 10.0

    level_name: ClassVar[str] = "market_price"

    @property
    def earnings(self) -> tuple[float, float]:
        return self.intercept - self.unit_cost, self.slope

    @property
    def first_level(self) -> float:
        return self.intercept

    @property
    def highest_level(self) -> float:
        return self.intercept

    def step(self, quantities: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        price = self.intercept - self.slope * quantities.sum(-1)
        return (price - self.unit_cost).unsqueeze(-1) * quantities, price


VARIANTS: dict[str, type[FisheryRules] | type[CournotRules]] = {"fishery": FisheryRules, "cournot": CournotRules}
