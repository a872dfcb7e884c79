"""Mutual acknowledgment tokens as pure functions on tensors.

Source: Phan et al., "Emergent Cooperation from Mutual Acknowledgment Exchange", AAMAS 2022. They know torch alone.

Everywhere ``N`` is the number of agents, ``T`` the number of time steps and ``*B`` any batch dimensions. Units are
those of the reward.
"""

from __future__ import annotations

import torch
from torch import Tensor

IMPROVEMENTS = ("value", "reward")


def mean_reward_so_far(
    reward: Tensor, done: Tensor, step: Tensor, initial: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The mean of an agent's rewards in its episode, that of the step included.

    Args:
        reward (Tensor): ``[*B, T, N]``.
        done (Tensor): boolean ``[*B, T]``: whether the episode ends with step ``t``.
        step (Tensor): integers ``[*B, T]``: how many steps of its episode came before each step.
        initial (Tensor, optional): sum of the rewards before the first step, ``[*B, N]``. Default: zero.

    Returns:
        tuple[Tensor, Tensor]: the mean, ``[*B, T, N]``, and the sum after the last step, ``[*B, N]``, to be handed in
        as ``initial`` of the batch that goes on from here.
    """
    total = torch.zeros_like(reward[..., 0, :]) if initial is None else initial.to(reward)
    goes_on = (~done).unsqueeze(-1).to(reward.dtype)
    means = []
    for t in range(reward.shape[-2]):
        total = total + reward[..., t, :]
        means.append(total / (step[..., t, None] + 1))
        total = total * goes_on[..., t, :]
    return torch.stack(means, dim=-2), total


def acknowledged_reward(
    reward: Tensor,
    improvement: Tensor,
    token: float,
    *,
    takes_part: Tensor | None = None,
    neighbours: Tensor | None = None,
) -> Tensor:
    """Agents that are better off thank their neighbours, who thank back if they are better off too, else complain.

    An agent whose improvement is not negative sends a token to each of its neighbours. A neighbour gets at most one,
    and answers by a token if it is better off with it, by a negative one if it is not. Of its answers an agent gets the
    least.

    Args:
        reward (Tensor): the task's rewards, ``[*B, N]``.
        improvement (Tensor): how much better off each agent is than it thought, ``[*B, N]``.
        token (float): what a token is worth, ``>= 0``.

    Keyword Args:
        takes_part (Tensor, optional): boolean ``[N]``: who exchanges tokens; others are neighbours of nobody. Default:
            all.
        neighbours (Tensor, optional): boolean ``[*B, N, N]``, ``[..., i, j]`` whether ``j`` is a neighbour of ``i``.
            Default: all others.

    Returns:
        Tensor: ``[*B, N]``.

    Raises:
        ValueError: on a negative token, or shapes that differ.

    Examples:
        >>> acknowledged_reward(torch.tensor([1.0, -0.5, -3.0]), torch.tensor([1.0, -0.5, -3.0]), token=1.0)
        tensor([ 0.0000,  0.5000, -2.0000])
    """
    if not token >= 0:
        raise ValueError(f"token must be a number >= 0, but is {token!r}")
    if improvement.shape != reward.shape:
        raise ValueError(f"improvement must be of shape {tuple(reward.shape)}, but is {tuple(improvement.shape)}")
    n_agents = reward.shape[-1]
    meets = ~torch.eye(n_agents, dtype=torch.bool, device=reward.device)
    if neighbours is not None:
        meets = meets & neighbours
    if takes_part is not None:
        meets = meets & takes_part & takes_part.unsqueeze(-1)
    # [..., i, j]: i sends to j
    sent = meets & (improvement >= 0).unsqueeze(-1)
    received = token * sent.any(-2).to(reward.dtype)
    answer = torch.where(improvement + received >= 0, token, -token).to(reward.dtype)
    answers = torch.where(sent, answer.unsqueeze(-2), torch.inf).amin(-1)
    return reward + received + torch.where(sent.any(-1), answers, 0.0)
