"""Exact value influence by enumeration, and how well an estimate agrees with it: pure functions on tensors.

Where an environment's rewards and transitions are known, value influence (Zhou, Hong and Kao 2024, arXiv 2406.01641,
section 4) needs no regression: :func:`unilateral_deviations` lists what an agent could have played instead, the
environment's model tells what each agent gets then, and :func:`exact_influence` takes the mean over the agent's policy.

Everywhere ``N`` is the number of agents, ``A`` of actions, ``*B`` any batch dimensions, and entry ``[..., i, j]`` of a
pairwise tensor reads "i towards j". Units are those of the reward.
"""

from __future__ import annotations

import torch
from torch import Tensor


def unilateral_deviations(action: Tensor, n_actions: int) -> Tensor:
    """Every joint action that differs from the one played in one agent's action at most.

    Args:
        action (Tensor): joint actions that were played, integers ``[*B, N]``.
        n_actions (int): number of actions ``A`` of every agent.

    Returns:
        Tensor: integers ``[*B, N, A, N]``, entry ``[..., i, a, :]`` is the joint action in which agent ``i`` plays
        ``a`` and the others what they played.

    Examples:
        >>> unilateral_deviations(torch.tensor([0, 1]), 2).tolist()
        [[[0, 1], [1, 1]], [[0, 0], [0, 1]]]
    """
    deviates = torch.eye(action.shape[-1], dtype=torch.bool, device=action.device).unsqueeze(-2)
    choice = torch.arange(n_actions, dtype=action.dtype, device=action.device).unsqueeze(-1)
    return torch.where(deviates, choice, action[..., None, None, :])


def exact_influence(outcome: Tensor, policy: Tensor, action: Tensor) -> Tensor:
    """Influence of every agent's action: what followed from it, less what the agent's policy would give on average.

    The others' actions are held at what they played, as in the counterfactual baseline of Zhou et al. 2024 (arXiv
    2406.01641, section 4).

    Args:
        outcome (Tensor): ``[*B, N, A, N]``, entry ``[..., i, a, j]`` is agent ``j``'s expected reward (or discounted
            future) if agent ``i`` had played ``a``, in the order of :func:`unilateral_deviations`.
        policy (Tensor): every agent's probabilities of its actions, ``[*B, N, A]``.
        action (Tensor): joint actions that were played, integers ``[*B, N]``.

    Returns:
        Tensor: ``[*B, N, N]``, entry ``[..., i, j]`` is the influence of ``i`` on ``j``, in units of reward.

    Raises:
        ValueError: if the shapes do not belong together.

    Examples:
        >>> outcome = torch.tensor([[[0.0, 5.0], [1.0, 1.0]], [[0.0, 5.0], [0.0, 5.0]]])
        >>> exact_influence(outcome, torch.full((2, 2), 0.5), torch.tensor([0, 1]))
        tensor([[-0.5000,  2.0000],
                [ 0.0000,  0.0000]])
    """
    if outcome.shape != (*policy.shape, action.shape[-1]) or action.shape != policy.shape[:-1]:
        raise ValueError(
            "outcome, policy and action must be of shapes [*B, N, A, N], [*B, N, A] and [*B, N], but are "
            f"{tuple(outcome.shape)}, {tuple(policy.shape)} and {tuple(action.shape)}"
        )
    chosen = torch.zeros_like(policy).scatter(-1, action.unsqueeze(-1), 1.0)
    return ((chosen - policy).unsqueeze(-1) * outcome).sum(-2)


def agreement(estimate: Tensor, truth: Tensor) -> dict[str, float]:
    """How well estimated influence agrees with the exact one, over all pairs of different agents.

    Args:
        estimate (Tensor): ``[*B, N, N]``, entry ``[..., i, j]`` is the estimated influence of ``i`` on ``j``.
        truth (Tensor): ``[*B, N, N]``, the exact one.

    Returns:
        dict[str, float]: ``"correlation"``; ``"bias"``, the mean of estimate minus truth, and ``"rmse"``, the root of
        the mean square of that, in units of reward; ``"slope"`` of the regression of the estimate on the truth;
        ``"signal_to_noise"``, the standard deviation of the truth over that of the error. ``nan`` where undefined.

    Raises:
        ValueError: if the shapes differ or are not those of pairs.

    Examples:
        >>> truth = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> agreement(2 * truth + 0.5, truth)
        {'correlation': 1.0, 'bias': 0.5, 'slope': 2.0, 'rmse': 1.118033988749895, 'signal_to_noise': 1.0}
    """
    if estimate.shape != truth.shape or truth.ndim < 2 or truth.shape[-1] != truth.shape[-2]:
        raise ValueError(
            f"estimate and truth must be of the same shape [*B, N, N], but are {tuple(estimate.shape)} and "
            f"{tuple(truth.shape)}"
        )
    others = ~torch.eye(truth.shape[-1], dtype=torch.bool, device=truth.device)
    estimate, truth = estimate.double()[..., others].flatten(), truth.double()[..., others].flatten()
    error = estimate - truth
    bias = error.mean()
    centred_estimate, centred_truth = estimate - estimate.mean(), truth - truth.mean()
    spread_estimate, spread_truth = centred_estimate.pow(2).mean().sqrt(), centred_truth.pow(2).mean().sqrt()
    covariance = (centred_estimate * centred_truth).mean()
    measures = {
        "correlation": covariance / (spread_estimate * spread_truth),
        "bias": bias,
        "slope": covariance / spread_truth.pow(2),
        "rmse": error.pow(2).mean().sqrt(),
        "signal_to_noise": spread_truth / (error - bias).pow(2).mean().sqrt(),
    }
    return {name: value.item() for name, value in measures.items()}
