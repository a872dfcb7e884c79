"""The stacked networks against layers written out with autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator.influence.networks import stacked_networks

N_NETWORKS, BATCH, STATE, ACTION = 3, 5, 4, 2


def parameters(sizes: list[int], n_knowing: int, shared: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    def make(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.double, requires_grad=True)

    weights = [make(n_knowing, ACTION, sizes[0]), *(make(N_NETWORKS, n, m) for n, m in zip(sizes, sizes[1:]))]
    return make(1 if shared else N_NETWORKS, STATE, sizes[0]), weights, [make(N_NETWORKS, 1, n) for n in sizes]


@pytest.mark.parametrize("knows", [3, 2, None])
@pytest.mark.parametrize(("sizes", "shared"), [([2], False), ([6, 2], True), ([6, 5, 2], True)])
def test_values_and_gradients(sizes: list[int], shared: bool, knows: int | None) -> None:
    torch.manual_seed(0)
    state = torch.randn(BATCH, STATE, dtype=torch.double, requires_grad=True)
    action = None if knows is None else torch.randn(BATCH, ACTION, dtype=torch.double)
    state_weight, weights, biases = parameters(sizes, knows or N_NETWORKS, shared)
    expected = []
    for network in range(N_NETWORKS):
        hidden = state @ state_weight[0 if shared else network] + biases[0][network]
        if knows is not None and network < knows:
            hidden = hidden + action @ weights[0][network]
        for weight, bias in zip(weights[1:], biases[1:]):
            hidden = hidden.relu() @ weight[network] + bias[network]
        expected.append(hidden.T)
    expected = torch.stack(expected)
    found = stacked_networks(state, action, state_weight, weights, biases)
    torch.testing.assert_close(found, expected)
    by = [state, state_weight, *(weights if knows is not None else weights[1:]), *biases]
    along = torch.randn_like(expected)
    torch.testing.assert_close(torch.autograd.grad(found, by, along), torch.autograd.grad(expected, by, along))
