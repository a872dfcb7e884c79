"""Losses that leave samples out: those of a learner in whose seat somebody else sat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.objectives import LossModule

MEAN = (None, "mean")


def leave_out(loss: LossModule, key: NestedKey) -> None:
    """Let a loss be the mean over the samples that are not marked in its input, in place of that over all.

    Marked samples have no gradient: neither for a policy nor for a critic, nor through a recurrent state, since all
    steps of an episode are marked or none. The loss is asked for every sample's part (``reduction="none"``) and the
    rest are averaged, so that minibatches, their number and the order in which they are drawn stay as they are.

    Args:
        loss (LossModule): whose ``reduction`` is the mean.
        key (NestedKey): boolean ``[*B, n, 1]``, of the samples of ``n`` agents that are to be left out.

    Raises:
        ValueError: if the loss has no reduction that could be taken off.
    """
    if getattr(loss, "reduction", "") not in MEAN:
        raise ValueError(
            "an algorithm that trains beside co-players must have a loss that is a mean over samples (reduction=mean), "
            f"but that of {type(loss).__name__} has reduction={getattr(loss, 'reduction', None)!r}"
        )
    loss.reduction = "none"
    loss.register_forward_hook(_mean_over_the_rest(key))


def mean_where(value: Tensor, kept: Tensor) -> Tensor:
    """Mean of ``value`` ``[*S]`` where boolean ``kept`` ``[*S]``; zero, with zero gradients, where nothing is."""
    return torch.where(kept, value, 0).sum() / kept.sum().clamp(min=1)


def _mean_over_the_rest(key: NestedKey) -> Callable[[Any, Any, TensorDictBase], TensorDictBase]:
    def hook(module: Any, inputs: Any, losses: TensorDictBase) -> TensorDictBase:
        kept = ~inputs[0].get(key).squeeze(-1)
        return losses.named_apply(
            lambda name, value: (
                mean_where(value.reshape(kept.shape), kept)
                if name.startswith("loss_") and value.numel() == kept.numel()
                else value.mean()
            )
        )

    return hook
