"""Social outcome metrics: how well a population fares as a whole, in any task.

Perolat et al. 2017 (arXiv 1707.06600, section 2.2); theirs are sums over agents where these are means. Peace
depends on time-outs and is measured by the games that have them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def equality(returns: Tensor) -> Tensor:
    """One minus the Gini coefficient of the agents' returns, with absolute returns in the denominator.

    For returns that are not negative this is Perolat et al.'s. Returns of dilemmas may well be negative, where the
    plain coefficient is unbounded: dividing by absolute values (Raffinetti et al. 2015,
    doi:10.1007/s11205-014-0674-9) keeps it in ``[0, 1]``.

    Args:
        returns (Tensor): ``[*B, N]``.

    Returns:
        Tensor: ``[*B]``; 1 where all are equal.
    """
    differences = (returns.unsqueeze(-1) - returns.unsqueeze(-2)).abs().sum((-1, -2))
    total = 2 * returns.shape[-1] * returns.abs().sum(-1)
    return torch.where(total > 0, 1 - differences / total.clamp(min=torch.finfo(returns.dtype).tiny), 1.0)


def sustainability(rewards: Tensor) -> Tensor:
    """Mean time, in steps from 0, at which agents collect positive rewards.

    Args:
        rewards (Tensor): ``[*B, T, N]``, zero after an episode's end.

    Returns:
        Tensor: ``[*B]``, the mean over the agents that collected any; ``nan`` if none did.
    """
    collected = (rewards > 0).to(rewards.dtype)
    time = torch.arange(rewards.shape[-2], dtype=rewards.dtype, device=rewards.device)
    return ((collected * time.unsqueeze(-1)).sum(-2) / collected.sum(-2)).nanmean(-1)


def social_outcome(rewards: Tensor) -> dict[str, Tensor]:
    """The social outcome metrics of episodes.

    Args:
        rewards (Tensor): ``[E, T, N]``, zero after an episode's end.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``utilitarian`` (mean over agents of the return), ``equality`` and
        ``sustainability``.
    """
    returns = rewards.sum(-2)
    return {
        "utilitarian": returns.mean(-1),
        "equality": equality(returns),
        "sustainability": sustainability(rewards),
    }
