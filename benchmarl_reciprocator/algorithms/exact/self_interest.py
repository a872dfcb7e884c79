"""How selfish agents may be so that cooperation pays: the self-interest level of a dilemma.

Agents that keep ``s`` of their reward and share the rest among the others (reward transfer) gain, by cooperating, ``s``
times what that does to themselves plus ``1 - s`` times what it does to the others on the mean. The self-interest level
is the largest ``s`` with which that is not negative (Willis et al., "Resolving social dilemmas with minimal reward
transfer", 2023, arXiv 2310.12928, for matrix games; "Quantifying the self-interest level of Markov social dilemmas",
2025, arXiv 2501.16138, by training).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.options import check_option


def effects_of_cooperation(payoffs: Tensor, cooperative: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """What an agent does to itself and to the others by cooperating in place of another action.

    Args:
        payoffs (Tensor): ``[A_1, ..., A_N, N]``.
        cooperative (int): the action that cooperates.

    Returns:
        tuple[Tensor, Tensor, Tensor]: each ``[K]``, for every agent, every other action of its and all that the others
        can do: the effect on its own reward, the mean effect on the others', and boolean, whether all others cooperate.
    """
    n_agents = payoffs.shape[-1]
    own, others, beside = [], [], []
    for agent in range(n_agents):
        # [A_own, others' actions, N]
        by_own = payoffs.movedim(agent, 0).flatten(1, -2)
        gained = by_own[cooperative] - by_own
        elsewhere = [other for other in range(n_agents) if other != agent]
        sizes = [payoffs.shape[other] for other in elsewhere]
        all_cooperate = torch.zeros(sizes, dtype=torch.bool, device=payoffs.device)
        all_cooperate[(cooperative,) * len(sizes)] = True
        for action in range(len(by_own)):
            if action != cooperative:
                own.append(gained[action, :, agent])
                others.append(gained[action][:, elsewhere].mean(-1))
                beside.append(all_cooperate.flatten())
    return torch.cat(own), torch.cat(others), torch.cat(beside)


def self_interest_level(own: Tensor, others: Tensor) -> float:
    """The largest share of its own reward that an agent can keep so that cooperating never pays less.

    Args:
        own (Tensor): what cooperating does to oneself, in ``K`` situations, ``[K]``.
        others (Tensor): what it does to the others on the mean, ``[K]``.

    Returns:
        float: in ``[0, 1]``; ``nan`` if there is no such share.

    Examples:
        >>> self_interest_level(torch.tensor([-1.0, -1.0]), torch.tensor([2.0, 2.0]))
        0.6666666865348816
    """
    check_option(
        "the shape of others", tuple(others.shape), own.shape == others.shape, f"that of own, {tuple(own.shape)}"
    )
    # s own + (1 - s) others >= 0: at 0 and at 1, and where the line crosses zero in between
    crossing = others / (others - own)
    highest = torch.where(own >= 0, 1.0, crossing).masked_fill((own < 0) & (others < 0), -math.inf).min()
    lowest = torch.where(others >= 0, 0.0, crossing).masked_fill((own < 0) & (others < 0), math.inf).max()
    return highest.item() if highest >= lowest else math.nan


def effects_in_populations(cooperators: Tensor, defectors: Tensor) -> tuple[Tensor, Tensor]:
    """The same from what cooperators and defectors come to in populations of ``N`` agents, one for each number of
    cooperators.

    Args:
        cooperators (Tensor): mean return of a cooperator in the population with ``m`` of them, ``[*B, N + 1]``; what is
            there for ``m = 0`` does not count.
        defectors (Tensor): mean return of a defector there, ``[*B, N + 1]``; that for ``m = N`` does not count.

    Returns:
        tuple[Tensor, Tensor]: each ``[*B, N]``: the effects of cooperating beside ``k`` other cooperators, ``k`` from 0
        to ``N - 1``, on oneself and on the others on the mean.
    """
    n_agents = cooperators.shape[-1] - 1
    k = torch.arange(n_agents, device=cooperators.device)
    own = cooperators[..., 1:] - defectors[..., :-1]
    # Of nobody's return nothing is known.
    on_cooperators = torch.where(k > 0, cooperators[..., 1:] - cooperators[..., :-1], 0.0)
    on_defectors = torch.where(k < n_agents - 1, defectors[..., 1:] - defectors[..., :-1], 0.0)
    return own, (k * on_cooperators + (n_agents - 1 - k) * on_defectors) / (n_agents - 1)
