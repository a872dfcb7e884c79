"""Metrics of cooperation in iterated games, as pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def previous_outcome(cooperate: Tensor, first: Tensor) -> Tensor:
    """Outcome of the previous step from the point of view of each agent.

    Args:
        cooperate (Tensor): ``[*B, T, N]``, 1 where the agent cooperates.
        first (Tensor): boolean ``[*B, T]``, whether the step is the first of its episode.

    Returns:
        Tensor: ``[*B, T, N]`` integers: -1 unknown (the trajectory begins in mid-episode), 0 no previous step, and
        from 1 on the outcomes in the order of :func:`outcome_names`.
    """
    n_agents = cooperate.shape[-1]
    others = cooperate.sum(-1, keepdim=True) - cooperate
    outcome = (1 + (1 - cooperate) * n_agents + (n_agents - 1 - others)).long()
    previous = torch.cat([torch.full_like(outcome[..., :1, :], -1), outcome[..., :-1, :]], dim=-2)
    return previous.masked_fill(first.unsqueeze(-1), 0)


def outcome_names(n_agents: int) -> list[str]:
    """Names of the previous outcomes from an agent's own point of view.

    For two agents ``start, CC, CD, DC, DD`` (own action first); for more, own action and how many of the others
    cooperated: ``start, C_2of2, C_1of2, C_0of2, D_2of2, ...``.
    """
    if n_agents == 2:
        return ["start", "CC", "CD", "DC", "DD"]
    others = range(n_agents - 1, -1, -1)
    return ["start", *(f"{own}_{k}of{n_agents - 1}" for own in "CD" for k in others)]


def cooperation_by_outcome(cooperate: Tensor, previous: Tensor) -> Tensor:
    """Probability of cooperation by agent and previous outcome.

    Args:
        cooperate (Tensor): ``[*B, N]``, 1 where the agent cooperates.
        previous (Tensor): ``[*B, N]``, as :func:`previous_outcome` returns it; -1 is ignored.

    Returns:
        Tensor: ``[N, 2 N + 1]``, in the order of :func:`outcome_names`; ``nan`` for an outcome that did not occur.
    """
    n_agents = cooperate.shape[-1]
    previous, cooperate = previous.reshape(-1, n_agents), cooperate.reshape(-1, n_agents)
    outcomes = torch.arange(2 * n_agents + 1, device=previous.device)
    happened = (previous.unsqueeze(-1) == outcomes).to(cooperate.dtype)
    return (happened * cooperate.unsqueeze(-1)).sum(0) / happened.sum(0)


def cooperation_metrics(cooperate: Tensor, first: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Probability of cooperation, overall and by previous outcome.

    Args:
        cooperate (Tensor): ``[E, T, N]``, 1 where the agent cooperates, for ``E`` trajectories.
        first (Tensor): boolean ``[E, T]``, whether the step is the first of its episode.
        valid (Tensor): boolean ``[E, T]``, whether the step belongs to the trajectory (or pads it).

    Returns:
        dict[str, Tensor]: ``p_cooperate`` and ``agent_<i>_p_cooperate``, ``[E]``; and
            ``agent_<i>_p_cooperate_after_<outcome>``, ``[E]``, pooled over the trajectories (the same number for
            each, since a trajectory need not visit every outcome), ``nan`` for an outcome that did not occur.
    """
    weight = valid.to(cooperate.dtype).unsqueeze(-1)
    rates = (cooperate * weight).sum(-2) / weight.sum(-2)
    metrics = {"p_cooperate": rates.mean(-1)}
    previous = previous_outcome(cooperate, first).masked_fill(~valid.unsqueeze(-1), -1)
    by_outcome = cooperation_by_outcome(cooperate, previous)
    for agent, rate in enumerate(rates.unbind(-1)):
        metrics[f"agent_{agent}_p_cooperate"] = rate
        for name, value in zip(outcome_names(rates.shape[-1]), by_outcome[agent]):
            metrics[f"agent_{agent}_p_cooperate_after_{name}"] = value.expand(len(rates))
    return metrics
