"""Several small networks run as one stacked batch, with a gradient by hand: few passes over the memory, few calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def stacked_networks(
    state: Tensor, action: Tensor | None, state_weight: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> Tensor:
    """What ``V`` networks with rectifiers between their layers make of the same ``B`` inputs.

    With networks as small as these, most of the time on a CPU goes into passes over the memory and into calls. Written
    out, forward and backward take two thirds of the time that autograd takes for the same layers.

    Args:
        state (Tensor): ``[B, S]``.
        action (Tensor, optional): ``[B, A]``, for the first ``W <= V`` of the networks. Default: none of them knows it.
        state_weight (Tensor): of the state in the first layer, ``[V, S, H]``, or ``[1, S, H]`` for all networks alike.
        weights (sequence of Tensor): by layer, in the first of the action, ``[W, A, H]``, then ``[V, in, out]``.
        biases (sequence of Tensor): by layer, ``[V, 1, out]``.

    Returns:
        Tensor: ``[V, out, B]``. It can be differentiated once, by all arguments but ``action``.

    Examples:
        >>> ones = torch.ones(1, 1, 1)
        >>> stacked_networks(torch.tensor([[1.0], [-2.0]]), None, ones, [ones, 3 * ones], [ones, ones])
        tensor([[[7., 1.]]])
    """
    return _StackedNetworks.apply(state, action, state_weight, *weights, *biases)


class _StackedNetworks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, state: Tensor, action: Tensor | None, state_weight: Tensor, *layers: Tensor) -> Tensor:
        weights, biases = layers[: len(layers) // 2], layers[len(layers) // 2 :]
        hidden = torch.bmm(state.expand(len(state_weight), -1, -1), state_weight) + biases[0]
        if action is not None:
            n_knowing = len(weights[0])
            hidden[:n_knowing].baddbmm_(action.expand(n_knowing, -1, -1), weights[0])
        inputs = []
        for weight, bias in zip(weights[1:-1], biases[1:-1]):
            inputs.append(hidden.relu_())
            hidden = torch.baddbmm(bias, hidden, weight)
        if len(weights) > 1:
            # Transposed: with the few outputs as columns a matrix product takes several times as long.
            inputs.append(hidden.relu_())
            hidden = torch.baddbmm(biases[-1].mT, weights[-1].mT, hidden.mT)
        else:
            hidden = hidden.mT
        ctx.save_for_backward(state, action, state_weight, *weights, *inputs)
        return hidden

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        state, action, state_weight, *saved = ctx.saved_tensors
        n_layers = (len(saved) + 1) // 2
        weights, inputs = saved[:n_layers], saved[n_layers:]
        of_weights: list[Tensor | None] = [None] * n_layers
        of_biases = [grad.sum(-1).unsqueeze(1)]
        if n_layers > 1:
            of_weights[-1] = torch.bmm(grad, inputs[-1]).mT
        grad = grad.mT
        for layer in range(n_layers - 1, 0, -1):
            if layer < n_layers - 1:
                of_weights[layer] = torch.bmm(inputs[layer - 1].mT, grad)
            grad = torch.bmm(grad, weights[layer].mT)
            grad = torch.ops.aten.threshold_backward(grad, inputs[layer - 1], 0)
            of_biases.insert(0, grad.sum(1, keepdim=True))
        if action is not None:
            n_knowing = len(weights[0])
            of_weights[0] = torch.bmm(action.mT.expand(n_knowing, -1, -1), grad[:n_knowing])
        if len(state_weight) == 1:
            grad = grad.sum(0, keepdim=True)
        of_state_weight = torch.bmm(state.mT.expand(len(state_weight), -1, -1), grad)
        of_state = torch.bmm(grad, state_weight.mT).sum(0) if ctx.needs_input_grad[0] else None
        return of_state, None, of_state_weight, *of_weights, *of_biases
