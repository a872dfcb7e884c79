"""The fishery and Cournot's market as one environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.bars import draw_bars
from benchmarl_reciprocator.tasks.environment import ActionRange, SocialDilemmaEnv
from benchmarl_reciprocator.tasks.fishery.rules import CournotRules, FisheryRules
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS

MAX_AGENTS = len(COLOURS)
LEVEL_COLOUR = "#B0B0B0"


class FisheryEnv(SocialDilemmaEnv):
    """The fishery of Pax (after Perman et al., Natural Resource and Environmental Economics) and, by other rules,
    Cournot's market (1838), for 2 to 10 agents.

    Every agent chooses a quantity in every step: the effort with which it fishes, or what it supplies. All together
    earn most with little; each alone earns more with more, whatever the others do.

    The source is ``fishery.py`` and ``cournot.py`` of github.com/ucl-dark/pax, commit 6ae3d07, with the same rules and
    constants. Other than there: quantities have an upper bound, by default the best of an agent alone, above which
    nothing is ever best; who observes sees its own quantity first in place of its index, quantities and level in units
    of the largest, and at the start quantities of 0 with a flag in place of random numbers; a reset resets Cournot's
    market too, whose episodes may have any length.

    An agent observes ``N + 2`` numbers: the quantities of the last step, its own and then those of the seats after it,
    as shares of ``largest``; the stock or the price as a share of the highest; and whether it is the first step.

    Actions are ``levels`` evenly spaced quantities from 0 to ``largest``; or, with continuous actions, a share of
    ``largest`` in ``[0, 1]``.

    Args:
        rules (FisheryRules or CournotRules): the rules.
        n_agents (int): number of agents ``N``.
        largest (float, optional): the largest quantity; ``None`` for the best of an agent alone.
        levels (int): number of discrete actions.
        continuous_actions (bool): whether quantities are any numbers.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`.

    Attributes:
        quantities (Tensor): what agents chose in the last step, ``[B, N]``.
        level (Tensor): the stock or the price now, ``[B]``.

    Raises:
        ValueError: if an option is invalid.
    """

    def __init__(
        self,
        rules: FisheryRules | CournotRules,
        *,
        n_agents: int = 2,
        largest: float | None = None,
        levels: int = 13,
        continuous_actions: bool = False,
        **kwargs: Any,
    ) -> None:
        rules.check()
        check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
        least = rules.equilibrium(n_agents)
        check_option(
            "task.max_quantity",
            largest,
            largest is None or largest >= least,
            f"null or at least {least:.4g}, the quantity of the Nash equilibrium",
        )
        check_option("task.levels", levels, type(levels) is int and 2 <= levels <= 101, "an integer from 2 to 101")
        super().__init__(
            [levels] * n_agents,
            observation_shape=[n_agents + 2],
            state_shape=[n_agents + 2],
            info={"quantity": 1, "level": 1},
            action_range=ActionRange(0.0, 1.0) if continuous_actions else None,
            **kwargs,
        )
        self.rules = rules
        self.largest = rules.alone if largest is None else largest
        self.quantities = torch.zeros(*self.batch_size, n_agents, device=self.device)
        self.level = torch.full(self.batch_size, rules.first_level, device=self.device)
        self._first = torch.ones(self.batch_size, dtype=torch.bool, device=self.device)

    def start(self, where: Tensor) -> None:
        self.quantities = self.quantities.masked_fill(where.unsqueeze(-1), 0.0)
        self.level = self.level.masked_fill(where, self.rules.first_level)
        self._first = self._first | where

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        shares = actions / (self.n_actions[0] - 1) if self.action_range is None else actions.squeeze(-1)
        self.quantities = self.largest * shares
        rewards, self.level = self.rules.step(self.quantities, self.level)
        self._first = torch.zeros_like(self._first)
        level = self.level.unsqueeze(-1).expand_as(rewards)
        return rewards, {"quantity": self.quantities.unsqueeze(-1), "level": level.unsqueeze(-1)}

    def observations(self) -> Tensor:
        return torch.stack([self.state(seat) for seat in range(self.n_agents)], 1)

    def state(self, first_seat: int = 0) -> Tensor:
        """What the agent of ``first_seat`` observes, which is everything."""
        quantities = self.quantities.roll(-first_seat, 1) / self.largest
        shared = torch.stack([self.level / self.rules.highest_level, self._first.float()], -1)
        return torch.cat([quantities, shared], -1)

    @property
    def interchangeable_seats(self) -> bool:
        """The game is the same from every seat."""
        return True

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes: the stock or the price, and every agent's quantity, as
        shares of the largest.
        """
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        *quantities, level, _ = self.state()[0].tolist()
        return draw_bars([[(level, LEVEL_COLOUR)], list(zip(quantities, COLOURS))])


def quantity_metrics(
    trajectories: TensorDictBase, valid: Tensor, rules: FisheryRules | CournotRules
) -> dict[str, Tensor]:
    """Measures of trajectories ``[E, T]``.

    Args:
        trajectories (TensorDictBase): as collected.
        valid (Tensor): boolean ``[E, T]``, whether a step belongs to the trajectory.
        rules (FisheryRules or CournotRules): of the game.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``moderation`` and ``agent_<i>_moderation``, where between the Nash equilibrium
        (0) and the joint optimum (1) the mean quantity is, negative for more than the equilibrium's, above 1 for
        less than the optimum's; ``quantity`` and ``agent_<i>_quantity``, the mean; and ``stock`` or ``market_price``,
        its mean after a step.
    """
    length = valid.sum(-1)
    quantities = joint_entry(trajectories, "next", "info", "quantity")
    n_agents = quantities.shape[-1]
    means = (quantities * valid.unsqueeze(-1)).sum(-2) / length.unsqueeze(-1)
    nash, best = rules.equilibrium(n_agents), rules.cooperative(n_agents)
    moderation = (nash - means) / (nash - best)
    metrics = {"moderation": moderation.mean(-1), "quantity": means.mean(-1)}
    for seat in range(n_agents):
        metrics[f"agent_{seat}_moderation"] = moderation[..., seat]
        metrics[f"agent_{seat}_quantity"] = means[..., seat]
    levels = joint_entry(trajectories, "next", "info", "level")[..., 0] * valid
    return {**metrics, rules.level_name: levels.sum(-1) / length}
