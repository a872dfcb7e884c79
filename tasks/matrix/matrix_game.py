"""Iterated matrix games: any payoff table, two to N players, any number of actions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix.cooperation import cooperation_metrics
from benchmarl_reciprocator.tasks.matrix.model import MatrixModel
from benchmarl_reciprocator.tasks.matrix.players import PLAYERS, MatrixGame
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.options import PROBABILITY, bad_option, check_option, one_of
from benchmarl_reciprocator.tasks.players import Player

OBSERVATIONS = ("joint", "per_agent")


class MatrixGameEnv(SocialDilemmaEnv):
    """An iterated matrix game.

    Every agent sees the last joint action from its own point of view (its own action first, then the others in the
    order of seats after it) and a flag for the first step of an episode.

    Args:
        payoffs (Tensor): rewards by joint action, ``[A_1, ..., A_N, N]``; the last dimension is the agent.
        cooperative_action (int, optional): the action that counts as cooperation in the metrics; none if ``None``.
        action_noise (float): probability that an action is replaced by a uniformly random one
            (a "trembling hand").
        observation (str): ``"joint"``, one-hot over joint actions, ``prod(A_i) + 1`` values; or ``"per_agent"``, one
            one-hot for each agent, ``N A + 1`` values.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`.

    Raises:
        ValueError: if the payoff table has the wrong shape or entries that are not finite, or an option is invalid.
    """

    def __init__(
        self,
        payoffs: Tensor,
        *,
        cooperative_action: int | None = 0,
        action_noise: float = 0.0,
        observation: str = "joint",
        **kwargs: Any,
    ) -> None:
        n_agents = payoffs.shape[-1] if payoffs.ndim else 0
        check_option(
            "the shape of task.payoffs",
            list(payoffs.shape),
            n_agents >= 2 and payoffs.ndim == n_agents + 1 and min(payoffs.shape) >= 1,
            "[A_1, ..., A_N, N] for N >= 2 agents with A_i actions (two players, two actions: [2, 2, 2])",
        )
        check_option("task.payoffs", payoffs.tolist(), bool(payoffs.isfinite().all()), "a table of finite numbers")
        n_actions = list(payoffs.shape[:-1])
        check_option("task.action_noise", action_noise, 0 <= action_noise <= 1, PROBABILITY)
        wrong = kwargs.get("observation_noise", 0.0)
        check_option("task.observation_noise", wrong, 0 <= wrong <= 1, PROBABILITY)
        check_option("task.observation", observation, observation in OBSERVATIONS, one_of(OBSERVATIONS))
        check_option(
            "task.observation",
            observation,
            observation == "joint" or len(set(n_actions)) == 1,
            f"joint where agents have different numbers of actions ({n_actions})",
        )
        check_option(
            "task.cooperative_action",
            cooperative_action,
            cooperative_action is None or 0 <= cooperative_action < min(n_actions),
            f"null or an action from 0 to {min(n_actions) - 1}",
        )
        joint_actions = math.prod(n_actions)
        width = joint_actions if observation == "joint" else sum(n_actions)
        super().__init__(
            n_actions,
            observation_shape=[width + 1],
            state_shape=[width + 1],
            info={"cooperate": 1} if cooperative_action is not None else None,
            **kwargs,
        )
        self.payoffs = payoffs.to(self.device)
        self.cooperative_action = cooperative_action
        self.action_noise = action_noise
        self.observation = observation

        seats = torch.arange(n_agents, device=self.device)
        self._own_view = (seats.unsqueeze(-1) + seats) % n_agents
        sizes = torch.tensor(n_actions, device=self.device)
        self._sizes = sizes
        viewed = sizes[self._own_view]
        # The weight of every seat's action in the number of a joint action, by the agent that observes it.
        self._weights = viewed.flip(-1).cumprod(-1).flip(-1) // viewed
        self._flat_payoffs = self.payoffs.reshape(joint_actions, n_agents)
        self._last = torch.zeros(*self.batch_size, n_agents, dtype=torch.long, device=self.device)
        self._first = torch.ones(*self.batch_size, dtype=torch.bool, device=self.device)

    def start(self, where: Tensor) -> None:
        self._first = self._first | where

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.action_noise:
            slips = self.random(*actions.shape) < self.action_noise
            anything = (self.random(*actions.shape) * self._sizes).long()
            actions = torch.where(slips, anything, actions)
        self._last = actions
        self._first = torch.zeros_like(self._first)
        rewards = self._flat_payoffs[(actions * self._weights[0]).sum(-1)]
        if self.cooperative_action is None:
            return rewards, {}
        return rewards, {"cooperate": (actions == self.cooperative_action).float().unsqueeze(-1)}

    def observations(self) -> Tensor:
        return self._encode(self._last[:, self._own_view], self._weights)

    def state(self, first_seat: int = 0) -> Tensor:
        return self._encode(self._last[:, self._own_view[first_seat]], self._weights[first_seat])

    def misread(self, observations: Tensor) -> Tensor:
        """See another last joint action than it was: with probability ``observation_noise`` a uniformly random one. The
        first step of an episode, which has none, is seen as it is.
        """
        shape = (*self.batch_size, self.n_agents)
        wrong = self.random(*shape, 1) < self.observation_noise
        anything = (self.random(*shape, self.n_agents) * self._sizes[self._own_view]).long()
        return torch.where(wrong, self._encode(anything, self._weights), observations)

    @property
    def interchangeable_seats(self) -> bool:
        """Whether the payoffs are unchanged when all agents move on by one seat."""
        order = [*range(1, self.n_agents), 0]
        return len(set(self.n_actions)) == 1 and torch.equal(
            self.payoffs.permute(*order, self.n_agents)[..., order], self.payoffs
        )

    def _encode(self, actions: Tensor, weights: Tensor) -> Tensor:
        """One-hot encoding of joint actions ``[*B, N]`` and the flag of the first step, ``[*B, O]``."""
        if self.observation == "joint":
            code = one_hot((actions * weights).sum(-1), len(self._flat_payoffs))
        else:
            code = one_hot(actions, self.n_actions[0]).flatten(-2)
        first = self._first.view(-1, *[1] * (code.ndim - 1))
        return torch.cat([code * ~first, first.expand(*code.shape[:-1], 1)], dim=-1).float()


def symmetric_table(row_rewards: tuple[float, float, float, float]) -> Tensor:
    """Payoff table ``[2, 2, 2]`` of a symmetric game from the row player's rewards for CC, CD, DC, DD."""
    row = torch.tensor(row_rewards).reshape(2, 2)
    return torch.stack([row, row.T], dim=-1)


@dataclass
class MatrixGameOptions(NoiseOptions):
    """Options that all matrix games share, see :class:`MatrixGameEnv` and :class:`SocialDilemmaEnv`."""

    max_steps: int
    continuation_probability: float
    action_noise: float
    observation: str
    grouping: str

    def payoff_table(self) -> Tensor:
        """Rewards by joint action, ``[A_1, ..., A_N, N]``."""
        raise NotImplementedError

    def cooperates_with(self) -> int | None:
        """The action that counts as cooperation."""
        return 0

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> MatrixGameEnv:
        """The environment that these options describe."""
        return MatrixGameEnv(
            self.payoff_table(),
            cooperative_action=self.cooperates_with(),
            action_noise=self.action_noise,
            observation=self.observation,
            num_envs=num_envs,
            max_steps=self.max_steps,
            continuation_probability=self.continuation_probability,
            grouping=self.grouping,
            device=device,
            seed=seed,
            **self.noise(),
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Cooperation in trajectories ``[E, T]``, see :func:`cooperation_metrics`."""
        if self.cooperates_with() is None:
            return {}
        return cooperation_metrics(
            joint_entry(trajectories, "next", "info", "cooperate"),
            trajectories.get("state")[..., -1].bool(),
            valid,
        )

    def cooperation(self) -> CooperationMeasure | None:
        """The share of agents that cooperate in a step; ``None`` if no action counts as cooperation."""
        if self.cooperates_with() is None:
            return None
        return CooperationMeasure("p_cooperate", "P(cooperate)")

    def known_model(self) -> MatrixModel:
        """The rewards and transitions of this game."""
        return MatrixModel(self)

    def bounds(self) -> dict[str, float]:
        """Expected return of an agent, in units of reward, when all cooperate and, with two actions, when all defect;
        empty if no action counts as cooperation.
        """
        action = self.cooperates_with()
        if action is None:
            return {}
        reached = self.continuation_probability ** torch.arange(float(self.max_steps))
        plays = {"all_cooperate_return": action}
        if set(self.payoff_table().shape[:-1]) == {2}:
            plays["all_defect_return"] = 1 - action
        return {name: (self._mean_reward(play) * reached.sum()).item() for name, play in plays.items()}

    def _mean_reward(self, action: int) -> Tensor:
        """Mean over agents of the expected reward when all choose ``action``."""
        payoffs = self.payoff_table()
        for n_actions in payoffs.shape[:-1]:
            played = torch.full((n_actions,), self.action_noise / n_actions)
            played[action] += 1 - self.action_noise
            payoffs = torch.tensordot(played, payoffs, dims=1)
        return payoffs.mean()

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.matrix.players.PLAYERS`, by name; none without a
        cooperative action or with more than two actions.
        """
        payoffs, cooperative = self.payoff_table(), self.cooperates_with()
        if cooperative is None or set(payoffs.shape[:-1]) != {2}:
            return {}
        game = MatrixGame(payoffs, cooperative, self.observation)
        return {name: partial(make, game) for name, make in PLAYERS.items()}


@dataclass
class TaskConfig(MatrixGameOptions):
    """Any payoff table, given in yaml or on the command line.

    Args:
        payoffs (nested lists): rewards by joint action, ``[A_1, ..., A_N, N]``.
        cooperative_action (int, optional): the action that counts as cooperation in the metrics.
    """

    version: ClassVar[int] = 1

    payoffs: Any
    cooperative_action: int | None

    def payoff_table(self) -> Tensor:
        try:
            return torch.tensor(self.payoffs, dtype=torch.float32)
        except (ValueError, TypeError) as error:
            shape = "nested lists of numbers with equal lengths, of shape [A_1, ..., A_N, N]"
            raise bad_option("task.payoffs", self.payoffs, shape) from error

    def cooperates_with(self) -> int | None:
        return self.cooperative_action
