"""Agents in a row of seats, and the same agents in BenchMARL's groups."""

from __future__ import annotations

from itertools import accumulate

import torch
from tensordict import TensorDictBase
from torch import Tensor


def seats(group_map: dict[str, list[str]]) -> dict[str, slice]:
    """Which seats each group's agents take, with all agents in a row."""
    ends = list(accumulate(map(len, group_map.values())))
    return {group: slice(end - len(agents), end) for end, (group, agents) in zip(ends, group_map.items())}


def joint_entry(trajectory: TensorDictBase, *path: str) -> Tensor:
    """One entry of all agents, whatever the grouping.

    Args:
        trajectory (TensorDictBase): ``[*B]``, as collected from a :class:`SocialDilemmaEnv`.
        *path (str): path of the entry, without the group: ``("action",)``, ``("next", "reward")``.

    Returns:
        Tensor: ``[*B, N]``, or ``[*B, N K]`` where the entry has ``K`` values for each agent.
    """
    prefix, rest = (("next",), path[1:]) if path[0] == "next" else ((), path)
    groups = [key for key in trajectory.keys() if key == "agents" or key.startswith("agent_")]
    groups.sort(key=lambda group: (len(group), group))
    parts = [trajectory.get((*prefix, group, *rest)) for group in groups]
    size = trajectory.ndim + 1
    return torch.cat([part.flatten(size - 1, -1) for part in parts], dim=-1)
