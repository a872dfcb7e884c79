"""Ground truth for iterated matrix games: expected rewards, and exact values of memory-one policies.

:class:`MatrixModel` is all of it for one task.

A state is the number of the last joint action (row-major, ``0`` to ``J - 1``), or ``J`` in the first step of an
episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarl_reciprocator.tasks.options import bad_option, check_option

if TYPE_CHECKING:
    from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions


class MatrixModel:
    """The known model of a matrix game, a :class:`~benchmarl_reciprocator.tasks.known_model.KnownModel`. A situation is
    the number of the last joint action, ``[*B, 1]``.

    Args:
        options (MatrixGameOptions): the task's.

    Raises:
        ValueError: if agents have different numbers of actions.
    """

    has_tables = True

    def __init__(self, options: MatrixGameOptions) -> None:
        self.options, self.payoffs = options, options.payoff_table()
        self.sizes = tuple(self.payoffs.shape[:-1])
        self.n_agents, self.n_actions = len(self.sizes), self.sizes[0]
        self.continuation_probability = options.continuation_probability
        self.n_situations = len(self.payoffs.flatten(0, -2)) + 1
        alike = len(set(self.sizes)) == 1
        check_option("the shape of task.payoffs", list(self.payoffs.shape), alike, "of as many actions for all agents")

    def situation(self, state: Tensor) -> Tensor:
        return decode_outcomes(state, self.sizes, joint=self.options.observation == "joint").unsqueeze(-1)

    def rewards(self, situation: Tensor, action: Tensor) -> Tensor:
        return matrix_outcome(self.payoffs, action, self.options.action_noise)

    def number(self, situation: Tensor) -> Tensor:
        return situation.squeeze(-1)

    def turned(self, situation: Tensor, by: int) -> Tensor:
        played = situation.clamp(max=self.n_situations - 2).squeeze(-1)
        action = torch.stack(torch.unravel_index(played, self.sizes), dim=-1).roll(-by, -1)
        first = situation == self.n_situations - 1
        return torch.where(first, situation, joint_number(action, self.sizes).unsqueeze(-1))

    def observations(self) -> Tensor:
        joint = torch.cartesian_prod(*map(torch.arange, self.sizes))
        env = self.options.make_env(num_envs=len(joint) + 1, device="cpu", seed=0)
        env.start(torch.ones(len(joint) + 1, dtype=torch.bool))
        env.action_noise = 0.0
        env.transition(pad(joint, (0, 0, 0, 1)))
        env.start(torch.arange(len(joint) + 1) == len(joint))
        return env.observations()

    def values(self, policy: Tensor, gamma: float) -> Tensor:
        return matrix_values(policy, self.payoffs, gamma, self.options.action_noise)

    def future(self, values: Tensor, situation: Tensor, action: Tensor, gamma: float) -> Tensor:
        table = values[:-1].reshape(self.payoffs.shape)
        return gamma * matrix_outcome(table, action, self.options.action_noise)


def decode_outcomes(state: Tensor, n_actions: tuple[int, ...], *, joint: bool) -> Tensor:
    """Last joint actions, read off the ``"state"`` of a matrix game.

    Args:
        state (Tensor): ``[*B, S]``.
        n_actions (tuple of int): number of actions of each agent.

    Keyword Args:
        joint (bool): whether observations are one-hot over joint actions, rather than one one-hot for each agent.

    Returns:
        Tensor: number of the last joint action, ``J`` in the first step; integers ``[*B]``.
    """
    if joint:
        return state.argmax(-1)
    played = state[..., :-1].unflatten(-1, (len(n_actions), n_actions[0])).argmax(-1)
    number = joint_number(played, n_actions)
    return torch.where(state[..., -1] > 0, torch.full_like(number, n_actions[0] ** len(n_actions)), number)


def joint_number(action: Tensor, n_actions: tuple[int, ...]) -> Tensor:
    """Index of joint actions ``[*B, N]`` in a flattened table ``[A_1, ..., A_N]``: ``[*B]``."""
    sizes = torch.tensor(n_actions, device=action.device)
    return (action * (sizes.flip(-1).cumprod(-1).flip(-1) // sizes)).sum(-1)


def matrix_outcome(table: Tensor, action: Tensor, action_noise: float = 0.0) -> Tensor:
    """Expected entry of a table for joint actions, given the trembling hand.

    Args:
        table (Tensor): payoffs, or continuation values, by joint action: ``[A_1, ..., A_N, N]``.
        action (Tensor): joint actions as chosen, integers ``[*B, N]``.
        action_noise (float): probability that an action is replaced by a uniformly random one.

    Returns:
        Tensor: ``[*B, N]``.
    """
    return _slip(table, action_noise).flatten(0, -2)[joint_number(action, table.shape[:-1])]


def matrix_values(
    policy: Tensor, payoffs: Tensor, gamma: float, action_noise: float = 0.0, added: Tensor | None = None
) -> Tensor:
    """Exact values of all states, from the Bellman equation.

    The horizon is infinite, as for a learner that bootstraps where an episode is truncated.

    Args:
        policy (Tensor): probabilities of actions by state and agent, ``[J + 1, N, A]``; zero beyond an agent's own
            actions.
        payoffs (Tensor): rewards by joint action, ``[A_1, ..., A_N, N]``, with ``J = prod(A_i)``.
        gamma (float): discount in ``[0, 1)``; times the probability that the episode continues, where it may terminate.
        action_noise (float): probability that an action is replaced by a uniformly random one.
        added (Tensor, optional): what is paid besides by state and joint action, ``[J + 1, J, N]``.

    Returns:
        Tensor: expected discounted return of every agent from each state, ``[J + 1, N]``, double. All but the last
        row is by joint action: ``values[:-1].view_as(payoffs)`` is a table for :func:`matrix_outcome`.

    Raises:
        ValueError: for a policy of another shape or a ``gamma`` outside ``[0, 1)``.
    """
    n_actions = payoffs.shape[:-1]
    joint = torch.cartesian_prod(*[torch.arange(n, device=payoffs.device) for n in n_actions])
    n_joint, n_agents = joint.shape
    if policy.shape != (n_joint + 1, n_agents, max(n_actions)):
        shape = (n_joint + 1, n_agents, max(n_actions))
        raise bad_option("the shape of policy", tuple(policy.shape), f"[J + 1, N, A] = {shape}")
    check_option("gamma", gamma, 0 <= gamma < 1, "at least 0 and below 1")
    # From each state, the probability of each joint action, as chosen and then as played.
    chosen = policy.double()[:, torch.arange(n_agents, device=joint.device), joint].prod(-1)
    played = _slip(torch.eye(n_joint, dtype=torch.double, device=joint.device).view(*n_actions, n_joint), action_noise)
    transition = chosen @ played.reshape(n_joint, n_joint)
    reward = transition @ payoffs.reshape(n_joint, n_agents).double()
    if added is not None:
        reward = reward + (transition.unsqueeze(-1) * added.double()).sum(-2)
    identity = torch.eye(n_joint, dtype=torch.double, device=joint.device)
    values = torch.linalg.solve(identity - gamma * transition[:-1], reward[:-1])
    return reward + gamma * transition @ values


def _slip(table: Tensor, action_noise: float) -> Tensor:
    """Expectation of ``table`` ``[A_1, ..., A_N, K]`` over trembles of every agent's hand, by the chosen action."""
    for agent in range(table.ndim - 1):
        table = (1 - action_noise) * table + action_noise * table.mean(agent, keepdim=True)
    return table
