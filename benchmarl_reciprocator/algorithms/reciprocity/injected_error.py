"""Error put into the estimate of influence, to see how much of it the method bears."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarl_reciprocator.algorithms.reciprocity.config import SharedOptions


def influence_deviation(influence: Tensor) -> float:
    """Standard deviation of influences ``[*B, N, N]`` over all pairs of different agents, in units of reward.

    Examples:
        >>> influence_deviation(torch.tensor([[[9.0, 1.0], [-1.0, 9.0]]]))
        1.0
    """
    others = ~torch.eye(influence.shape[-1], dtype=torch.bool, device=influence.device)
    return influence[..., others].std(correction=0).item()


def with_error(influence: Tensor, bias: float, noise: float, flipped: Tensor, normal: Tensor) -> Tensor:
    """Influence as an estimator with such errors would have it.

    Args:
        influence (Tensor): ``[*B, N, N]``, in units of reward.
        bias (float): what is added everywhere, in units of reward.
        noise (float): standard deviation of what is added at random, in units of reward.
        flipped (Tensor): boolean ``[*B, N, N]``: whose sign is the other one, before anything is added.
        normal (Tensor): standard normal numbers ``[*B, N, N]``.

    Returns:
        Tensor: ``[*B, N, N]``.

    Examples:
        >>> flipped = torch.tensor([[False, True], [False, False]])
        >>> with_error(torch.full((2, 2), 4.0), 1.0, 0.5, flipped, torch.tensor([[0.0, 0.0], [2.0, -2.0]]))
        tensor([[ 5., -3.],
                [ 6.,  4.]])
    """
    return torch.where(flipped, -influence, influence) + bias + noise * normal


class InjectedError:
    """The error of an experiment's options, ``estimate_bias``, ``estimate_noise`` and ``estimate_sign_flips``.

    What is drawn comes from PyTorch's global generator, and nothing is drawn where there is no error.

    Args:
        options (SharedOptions): has them.
    """

    def __init__(self, options: SharedOptions) -> None:
        self.bias, self.noise = options.estimate_bias, options.estimate_noise
        self.flips = options.estimate_sign_flips
        # In units of reward, of the batch before; none before the first
        self.deviation = 0.0

    def in_batch(self, influence: Tensor) -> Tensor:
        """The influence of a batch ``[*B, T, N, N]``, whose deviation is the unit of the error from here on."""
        if self.bias or self.noise or self.flips:
            self.deviation = influence_deviation(influence)
        return self.in_step(influence)

    def in_step(self, influence: Tensor) -> Tensor:
        """The influence of one step ``[*B, N, N]``, with an error in units of the last batch's deviation."""
        if not (self.bias or self.noise or self.flips):
            return influence
        flipped = torch.rand_like(influence) < self.flips
        normal = torch.randn_like(influence)
        return with_error(influence, self.bias * self.deviation, self.noise * self.deviation, flipped, normal)
