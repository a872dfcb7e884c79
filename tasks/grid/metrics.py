"""Metrics that all grid worlds share."""

from __future__ import annotations

from collections.abc import Sequence

from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.groups import joint_entry


def grid_metrics(trajectories: TensorDictBase, valid: Tensor, counts: Sequence[str] = ("apples",)) -> dict[str, Tensor]:
    """Metrics that all grid worlds have.

    Args:
        trajectories (TensorDictBase): ``[E, T]``, as collected from a grid world.
        valid (Tensor): boolean ``[E, T]``, whether the step belongs to the trajectory (or pads it).
        counts (sequence of str): names in ``info`` that are summed over an episode.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``peace``, the share of agent-steps not spent in a time-out; ``zaps``, the
            number of shots in the episode; the sums named in ``counts``; and each of these sums by agent, such as
            ``agent_<i>_zaps``.
    """
    weight = valid.unsqueeze(-1)
    out = joint_entry(trajectories, "next", "info", "out") * weight
    metrics = {"peace": 1 - out.sum((-1, -2)) / (weight.sum((-1, -2)) * out.shape[-1])}
    for name in (*counts, "zaps"):
        by_agent = (joint_entry(trajectories, "next", "info", name) * weight).sum(-2)
        metrics[name] = by_agent.sum(-1)
        metrics.update({f"agent_{agent}_{name}": value for agent, value in enumerate(by_agent.unbind(-1))})
    return metrics


def mean_over_steps(trajectories: TensorDictBase, valid: Tensor, name: str) -> Tensor:
    """Mean of an entry of ``info`` over the steps of each trajectory and over agents, ``[E]``."""
    values = joint_entry(trajectories, "next", "info", name).mean(-1) * valid
    return values.sum(-1) / valid.sum(-1)


def prefixes(n_agents: int) -> tuple[str, ...]:
    """What stands before the name of a measure: nothing for that of all agents, ``agent_<i>_`` for that of each."""
    return ("", *(f"agent_{agent}_" for agent in range(n_agents)))
