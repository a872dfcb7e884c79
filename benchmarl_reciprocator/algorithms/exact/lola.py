"""Exact learners on iterated matrix games, among them LOLA: they use no frames, only updates.

Their steps are those of :mod:`~benchmarl_reciprocator.tasks.matrix.learners`, where sources and notation stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.learners import exact_values, in_own_view, learning_steps
from benchmarl_reciprocator.tasks.options import bad_option, check_option


def payoffs_of(task: Any) -> Tensor:
    """The payoffs of a matrix game, ``[A, ..., A, N]``, double.

    Args:
        task (SocialDilemmaClass): a task of this package.

    Raises:
        ValueError: if it is no matrix game, whose values could be told exactly, or agents differ in their numbers of
            actions.
    """
    table = getattr(task.options, "payoff_table", None)
    if table is None:
        raise bad_option("task of LOLA", task.name.lower(), "a matrix game, which has an exact model")
    payoffs = table().double()
    sizes = list(payoffs.shape[:-1])
    check_option("task of LOLA", f"with {sizes} actions", len(set(sizes)) == 1, "one with as many actions for all")
    return payoffs


def exact_learning(
    logits: Tensor,
    payoffs: Tensor,
    gamma: float,
    rules: Sequence[str],
    *,
    updates: int,
    lr: float = 1.0,
    eta: float = 1.0,
    inner_steps: int = 1,
    reciprocal_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Let agents learn by gradient ascent, all at once.

    Args:
        logits (Tensor): to begin with, ``[B, N, J + 1, A - 1]``.
        payoffs (Tensor): ``[A, ..., A, N]``.
        gamma (float): discount in ``[0, 1)``.
        rules (sequence of str): of each agent, see :func:`learning_steps`.

    Keyword Args:
        updates (int): how many.
        lr (float): size of a step.
        eta (float): size of the others' anticipated steps.
        inner_steps (int): how many ``"lookahead"`` anticipates.
        reciprocal_weight (float): of what ``"reciprocal"`` is paid besides, in 1 / reward.

    Returns:
        tuple[Tensor, Tensor]: the logits after the last update, and the rewards per step after each,
        ``[updates, B, N]``.
    """
    rewards = []
    for _ in range(updates):
        steps = learning_steps(
            logits, payoffs, gamma, rules, eta=eta, inner_steps=inner_steps, reciprocal_weight=reciprocal_weight
        )
        logits = logits.detach() + lr * steps
        with torch.no_grad():
            rewards.append((1 - gamma) * exact_values(logits, payoffs, gamma))
    return logits, torch.stack(rewards)


def plays_tit_for_tat(logits: Tensor) -> Tensor:
    """Which of two agents with two actions, the first of which cooperates, rather do what the other did last.

    Args:
        logits (Tensor): ``[B, 2, 5, 1]``.

    Returns:
        Tensor: boolean ``[B, 2]``: whether each is more likely than not to cooperate after the other did, and to defect
        after it did not; what it does in the first step does not count.
    """
    cooperates = in_own_view(logits, 2)[..., :4, 0] > 0
    return (cooperates == torch.tensor([True, False, True, False], device=logits.device)).all(-1)
