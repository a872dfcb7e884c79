"""Iterated public good to which agents give any part of what they have: in levels, or as continuous actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.bars import draw_bars
from benchmarl_reciprocator.tasks.environment import ActionRange, SocialDilemmaEnv
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix.graded_players import PLAYERS, GradedGame
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS
from benchmarl_reciprocator.tasks.players import Player

MAX_AGENTS = len(COLOURS)
MAX_LEVELS = 101


class GradedContributionsEnv(SocialDilemmaEnv):
    """The voluntary contributions mechanism with linear payoffs of Isaac and Walker 1988 (Quarterly Journal of
    Economics 103, 179), iterated; with two agents the continuous prisoner's dilemma.

    In every step each agent gives a share in ``[0, 1]`` of its endowment of 1. All that is given is multiplied and
    shared equally: who gives ``c_i`` has ``multiplier * sum(c) / N - c_i`` more than before. To give nothing is best
    whatever the others do; if all give all, each has ``multiplier - 1``.

    An agent observes ``N + 1`` numbers: the shares of the last step, its own and then those of the seats after it,
    zeros at the start; and whether it is the first step.

    Actions are ``levels`` evenly spaced shares from 0 to 1; or, with continuous actions, any share in ``[0, 1]``.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        multiplier (float): factor on the sum of contributions, between 1 and ``n_agents``.
        levels (int): number of discrete actions, 2 to 101.
        continuous_actions (bool): whether shares are any numbers.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`.

    Raises:
        ValueError: if an option is invalid.
    """

    def __init__(
        self,
        *,
        n_agents: int = 2,
        multiplier: float = 1.5,
        levels: int = 8,
        continuous_actions: bool = False,
        **kwargs: Any,
    ) -> None:
        check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
        check_option(
            "task.multiplier",
            multiplier,
            1 < multiplier < n_agents,
            f"above 1 and below {n_agents} (task.n_agents), or there is no dilemma",
        )
        valid = type(levels) is int and 2 <= levels <= MAX_LEVELS
        check_option("task.levels", levels, valid, f"an integer from 2 to {MAX_LEVELS}")
        super().__init__(
            [levels] * n_agents,
            observation_shape=[n_agents + 1],
            state_shape=[n_agents + 1],
            info={"contribution": 1},
            action_range=ActionRange(0.0, 1.0) if continuous_actions else None,
            **kwargs,
        )
        self.multiplier = multiplier
        # Of the last step, [B, N]
        self.contributions = torch.zeros(*self.batch_size, n_agents, device=self.device)
        self._first = torch.ones(self.batch_size, dtype=torch.bool, device=self.device)

    def start(self, where: Tensor) -> None:
        self.contributions = self.contributions.masked_fill(where.unsqueeze(-1), 0.0)
        self._first = self._first | where

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.contributions = actions / (self.n_actions[0] - 1) if self.action_range is None else actions.squeeze(-1)
        self._first = torch.zeros_like(self._first)
        rewards = self.multiplier * self.contributions.mean(-1, keepdim=True) - self.contributions
        return rewards, {"contribution": self.contributions.unsqueeze(-1)}

    def observations(self) -> Tensor:
        return torch.stack([self.state(seat) for seat in range(self.n_agents)], 1)

    def state(self, first_seat: int = 0) -> Tensor:
        """What the agent of ``first_seat`` observes, which is everything."""
        return torch.cat([self.contributions.roll(-first_seat, 1), self._first.float().unsqueeze(-1)], -1)

    @property
    def interchangeable_seats(self) -> bool:
        """The game is the same from every seat."""
        return True

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes: what every agent gave."""
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        return draw_bars([list(zip(self.contributions[0].tolist(), COLOURS))])


@dataclass
class TaskConfig(NoiseOptions):
    """The options of the public good with graded contributions, see :class:`GradedContributionsEnv`."""

    version: ClassVar[int] = 1
    continuous: ClassVar[bool] = True

    n_agents: int
    multiplier: float
    levels: int
    max_steps: int
    continuation_probability: float
    grouping: str

    def make_env(
        self, num_envs: int, device: torch.device | str, seed: int | None, continuous_actions: bool = False
    ) -> GradedContributionsEnv:
        """The environment that these options describe."""
        return GradedContributionsEnv(
            n_agents=self.n_agents,
            multiplier=self.multiplier,
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
        """Contributions of trajectories ``[E, T]``, see :func:`contribution_metrics`."""
        return contribution_metrics(joint_entry(trajectories, "next", "info", "contribution"), valid)

    def cooperation(self) -> CooperationMeasure:
        """The mean share that agents give."""
        return CooperationMeasure("contribution", "mean contribution")

    def bounds(self) -> dict[str, float]:
        """Expected return of an agent when all give all, and when nobody gives."""
        steps = (self.continuation_probability ** torch.arange(float(self.max_steps))).sum().item()
        return {"all_cooperate_return": (self.multiplier - 1) * steps, "all_defect_return": 0.0}

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.matrix.graded_players.PLAYERS`, by name."""
        game = GradedGame(self.n_agents, self.levels)
        return {name: partial(make, game) for name, make in PLAYERS.items()}


def contribution_metrics(contributions: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """How much agents give.

    Args:
        contributions (Tensor): ``[E, T, N]``, shares in ``[0, 1]``, for ``E`` trajectories.
        valid (Tensor): boolean ``[E, T]``, whether a step belongs to the trajectory.

    Returns:
        dict[str, Tensor]: ``contribution`` and ``agent_<i>_contribution``, means over steps, ``[E]``.
    """
    means = (contributions * valid.unsqueeze(-1)).sum(-2) / valid.sum(-1, keepdim=True)
    by_agent = {f"agent_{seat}_contribution": mean for seat, mean in enumerate(means.unbind(-1))}
    return {"contribution": means.mean(-1), **by_agent}
