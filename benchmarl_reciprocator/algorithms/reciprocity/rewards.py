"""From value influence to the total rewards of all Reciprocators of an experiment: pure functions on tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.influence import influence_balance, reciprocal_reward

# Debit and discount: what a balance is kept by
Kind = tuple[str, float]


@dataclass(frozen=True)
class Reciprocators:
    """The agents of one group.

    Args:
        members (slice): where they are in a row of all agents.
        options (ReciprocityConfig): theirs.
        weight (float): of their reciprocal reward now.
        weight_of_harm (float): of their negative balances now.
        gamma (float): discount of their balance.
    """

    members: slice
    options: ReciprocityConfig
    weight: float
    weight_of_harm: float
    gamma: float

    @property
    def kind(self) -> Kind:
        """What their balance is kept by."""
        return self.options.balance_debit, self.gamma


def balances(
    influence: Tensor, done: Tensor, groups: Mapping[str, Reciprocators], carried: Mapping[Kind, Tensor]
) -> tuple[dict[Kind, Tensor], dict[Kind, Tensor]]:
    """The influence balances that the groups are rewarded by, each kind computed once.

    Args:
        influence (Tensor): value influence, ``[*B, T, N, N]``, ``[..., i, j]`` of ``i`` on ``j``.
        done (Tensor): boolean ``[*B, T]``: whether the episode ends with the step.
        groups (mapping): the Reciprocators by group.
        carried (mapping): balance after the batch before, ``[*B, N, N]``; none where another number of environments
            was collected from.

    Returns:
        tuple: by kind, the balance before each step, ``[*B, T, N, N]``, and after the last, to be carried on.
    """
    before, after = {}, {}
    for kind in dict.fromkeys(group.kind for group in groups.values()):
        debit, gamma = kind
        initial = carried.get(kind)
        if initial is not None and initial.shape[:-2] != done.shape[:-1]:
            initial = None
        before[kind], after[kind] = influence_balance(influence, done, gamma, initial, debit=debit)
    return before, after


def total_rewards(
    extrinsic: Tensor, influence: Tensor, balance: Mapping[Kind, Tensor], groups: Mapping[str, Reciprocators]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The task's reward plus the weighted reciprocal one.

    Args:
        extrinsic (Tensor): the task's rewards, ``[*B, T, N]``.
        influence (Tensor): value influence, ``[*B, T, N, N]``, ``[..., i, j]`` of ``i`` on ``j``.
        balance (mapping): by kind, the balance before each step, ``[*B, T, N, N]``.
        groups (mapping): the Reciprocators by group.

    Returns:
        tuple: by group, the total rewards ``[*B, T, n]`` of its ``n`` agents; and what is to be logged.
    """
    total, metrics = {}, {}
    rewards: dict[tuple[Kind, str, float, str], Tensor] = {}
    for group, reciprocators in groups.items():
        kind, options, members = reciprocators.kind, reciprocators.options, reciprocators.members
        # Groups with the same options, the usual case, share one computation for all agents.
        key = (kind, options.reciprocal_form, reciprocators.weight_of_harm, options.reciprocal_over_others)
        if key not in rewards:
            rewards[key] = reciprocal_reward(
                influence,
                balance[kind],
                form=options.reciprocal_form,
                negative=reciprocators.weight_of_harm,
                over_others=options.reciprocal_over_others,
            )
        intrinsic = reciprocators.weight * rewards[key][..., members]
        total[group] = extrinsic[..., members] + intrinsic
        size = intrinsic.abs().mean()
        share = size / (size + extrinsic[..., members].abs().mean()).clamp(min=1e-12)
        metrics.update(pairwise("balance", balance[kind], range(members.start, members.stop)))
        metrics[f"{group}/intrinsic_reward_mean"] = intrinsic.mean().item()
        metrics[f"{group}/intrinsic_reward_share"] = share.item()
        metrics[f"{group}/reward_weight"] = reciprocators.weight
        metrics[f"{group}/weight_of_harm"] = reciprocators.weight_of_harm
    return total, metrics


def pairwise(name: str, values: Tensor, rows: range | None = None) -> dict[str, float]:
    """Means of ``[*B, T, N, N]`` for pairs of different agents by name: ``<name>/<i>_on_<j>``, for ``i`` in ``rows``
    (default: all).
    """
    n_agents = values.shape[-1]
    means = values.flatten(0, -3).mean(0).tolist()
    rows = range(n_agents) if rows is None else rows
    return {f"{name}/{i}_on_{j}": means[i][j] for i in rows for j in range(n_agents) if i != j}
