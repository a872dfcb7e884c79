"""Trajectories as a buffer holds them: every state once, although it is the next state of the step before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor

# States that no later step has as its own, and the steps that they follow on
AFTER, BREAKS = "after", "breaks"


def pack(batch: TensorDictBase, state_keys: Sequence[NestedKey]) -> TensorDictBase:
    """Take out of a batch of trajectories the next states that are the state of the following step.

    Those that are not, because an episode or the batch ends, are kept as they are. Nothing is lost, see
    :func:`next_values`.

    Args:
        batch (TensorDictBase): ``[B, T]`` with the state's entries, and the same under ``"next"``.
        state_keys (sequence of NestedKey): the state's entries.

    Returns:
        TensorDictBase: ``[B]`` with all entries ``[B, T, ...]`` of ``batch``, but in place of the next states
        ``"breaks"`` ``[B, T]``, whether the next state is kept, and ``"after"``, the state's entries ``[B, E, ...]`` of
        those, in order of time, where ``E`` is the greatest number of a trajectory.

    Examples:
        >>> state = torch.arange(6.0).view(2, 3, 1)
        >>> after = torch.cat([state[:, 1:], torch.full((2, 1, 1), 9.0)], dim=1)
        >>> packed = pack(TensorDict({"state": state, "next": {"state": after}}, [2, 3]), ["state"])
        >>> packed["after", "state"].flatten().tolist(), packed["breaks"].sum(-1).tolist()
        ([9.0, 9.0], [1, 1])
    """
    following = [(batch.get(key)[:, 1:], batch.get(_next(key))[:, :-1]) for key in state_keys]
    breaks = torch.ones(batch.shape, dtype=torch.bool, device=following[0][0].device)
    breaks[:, :-1] = torch.stack([(own != after).flatten(2).any(-1) for own, after in following]).any(0)
    # The times of the breaks first, each trajectory's in order
    times = breaks.byte().argsort(dim=-1, descending=True, stable=True)[:, : int(breaks.sum(-1).max())]
    rows = torch.arange(len(batch), device=times.device).unsqueeze(-1)
    after = TensorDict({key: batch.get(_next(key))[rows, times] for key in state_keys}, times.shape)
    packed = batch.exclude(*map(_next, state_keys)).filter_empty_()
    packed.batch_size = batch.shape[:1]
    return packed.set(AFTER, after).set(BREAKS, breaks)


def with_room(packed: TensorDictBase, n: int) -> TensorDictBase:
    """``packed`` with room for ``n`` states after breaks in every trajectory, zeros where there are fewer."""
    after = packed.get(AFTER)
    missing = n - after.shape[1]
    if not missing:
        return packed
    zeros = after[:, torch.zeros(missing, dtype=torch.long)].zero_()
    return packed.copy().set(AFTER, torch.cat([after, zeros], dim=1))


def next_values(values: Tensor, values_after: Tensor, breaks: Tensor) -> Tensor:
    """What is known of the states of packed trajectories, as something known of the next states.

    Args:
        values (Tensor): of the states, ``[B, T, ...]``.
        values_after (Tensor): of ``"after"``, ``[B, E, ...]``.
        breaks (Tensor): boolean ``[B, T]``.

    Returns:
        Tensor: ``[B, T, ...]``.

    Examples:
        >>> breaks = torch.tensor([[False, True, False, True]])
        >>> next_values(torch.arange(4.0).unsqueeze(0), torch.tensor([[7.0, 8.0]]), breaks)
        tensor([[1., 7., 3., 8.]])
    """
    which = (breaks.cumsum(-1) - 1).clamp(min=0)
    rows = torch.arange(len(breaks), device=breaks.device).unsqueeze(-1)
    breaks = breaks.reshape(*breaks.shape, *[1] * (values.ndim - 2))
    return torch.where(breaks, values_after[rows, which], values.roll(-1, 1))


def _next(key: NestedKey) -> tuple[str, ...]:
    return ("next", *(key if isinstance(key, tuple) else (key,)))
