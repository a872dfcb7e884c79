"""Measures that all grid worlds share."""

from __future__ import annotations

from collections.abc import Sequence

from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.groups import joint_entry


def grid_metrics(trajectories: TensorDictBase, valid: Tensor, counts: Sequence[str] = ("apples",)) -> dict[str, Tensor]:
    """Measures that all grid worlds have.

    Args:
        trajectories (TensorDictBase): ``[E, T]``, as collected from a grid world.
        valid (Tensor): boolean ``[E, T]``, whether the step belongs to the trajectory (or pads it).
        counts (sequence of str): names of ``info`` that are added up over an episode.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``peace``, the share of agent-steps not spent zapped out; ``zaps``, shots in
            the episode; what ``counts`` names; and all counts by agent, ``agent_<i>_zaps``.
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
    """Mean of what ``info`` names over the steps of each trajectory and all agents, ``[E]``."""
    values = joint_entry(trajectories, "next", "info", name).mean(-1) * valid
    return values.sum(-1) / valid.sum(-1)
