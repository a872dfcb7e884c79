"""Who changes what others do next: a model of all agents' next actions, and what it says of an action's influence.

Source: Jaques et al., "Social Influence as Intrinsic Motivation for Multi-Agent Deep Reinforcement Learning", ICML
2019, arXiv 1810.08647, with one central model in place of each agent's own. It knows torch alone.

Everywhere ``N`` is the number of agents, ``A`` the most actions that one has, and ``*B`` any batch dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Numbers that one pass over counterfactual actions may hold at once
AT_ONCE = 2**22


def social_influence(following: Tensor, action: Tensor, policy: Tensor, clip: float = 10.0) -> Tensor:
    """How much each agent's action changes what the others are expected to do next.

    ``c_i = sum over j != i of KL(p_j(. | a_i) || sum over a' of pi_i(a') p_j(. | a'))``, with the other actions as they
    were taken.

    Args:
        following (Tensor): probabilities of the next actions of all agents, had an agent taken any of its actions:
            ``[*B, N, A, N, A]``, ``[..., i, a, j, b]`` of ``b`` by ``j`` if ``i`` did ``a``.
        action (Tensor): integers ``[*B, N]``: what it did.
        policy (Tensor): its probabilities of its own actions, ``[*B, N, A]``.
        clip (float): the sum is at most this.

    Returns:
        Tensor: ``[*B, N]``, in nats; the sum of at most ``log A`` per other agent on the mean over the agent's actions.
    """
    n_agents, n_actions = following.shape[-2:]
    taken = action[..., None, None, None].expand(*action.shape, 1, n_agents, n_actions)
    conditional = following.gather(-3, taken).squeeze(-3)
    marginal = (policy[..., None, None] * following).sum(-3)
    divergence = (torch.xlogy(conditional, conditional) - torch.xlogy(conditional, marginal)).sum(-1)
    itself = torch.eye(n_agents, dtype=torch.bool, device=action.device)
    return divergence.masked_fill(itself, 0.0).sum(-1).clamp(0.0, clip)


class NextActions(nn.Module):
    """The next actions of all agents, from the state and what all do now.

    Args:
        state_features (int): width of the state ``S``.
        n_actions (list of int): how many actions each agent has.
        num_cells (int): width of the two hidden layers.
        device (torch.device, optional): where its parameters are.
    """

    allowed: Tensor

    def __init__(
        self, state_features: int, n_actions: list[int], num_cells: int, device: torch.device | str | int | None = None
    ) -> None:
        super().__init__()
        self.shape = (len(n_actions), max(n_actions))
        n_outputs = self.shape[0] * self.shape[1]
        self.of_state = nn.Linear(state_features, num_cells, device=device)
        self.of_action = nn.Linear(n_outputs, num_cells, bias=False, device=device)
        self.rest = nn.Sequential(
            nn.Tanh(), nn.Linear(num_cells, num_cells), nn.Tanh(), nn.Linear(num_cells, n_outputs)
        ).to(device)
        counts = torch.tensor(n_actions, device=device).unsqueeze(-1)
        self.register_buffer("allowed", torch.arange(self.shape[1], device=device) < counts)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Logits of the next actions, ``[*B, N, A]``, from ``[*B, S]`` and one-hot ``[*B, N, A]``."""
        return self._logits(self.of_state(state) + self.of_action(action.flatten(-2)))

    def following(self, state: Tensor, action: Tensor) -> Tensor:
        """Probabilities of the next actions had one agent done something else, for :func:`social_influence`.

        Args:
            state (Tensor): ``[F, S]``.
            action (Tensor): one-hot ``[F, N, A]``.

        Returns:
            Tensor: ``[F, N, A, N, A]``.
        """
        # The first layer is linear: an agent's action is taken out of its sum, and another put in.
        by_action = self.of_action.weight.T.unflatten(0, self.shape)
        size = max(1, AT_ONCE // (by_action[..., 0].numel() * max(by_action[..., 0].numel(), by_action.shape[-1])))
        parts = []
        for seen, done in zip(state.split(size), action.split(size)):
            # [f, N, H]
            own = torch.einsum("fna,nah->fnh", done, by_action)
            others = (self.of_state(seen) + own.sum(-2)).unsqueeze(-2) - own
            parts.append(self._logits(others.unsqueeze(-2) + by_action).softmax(-1))
        return torch.cat(parts)

    def loss(self, state: Tensor, action: Tensor, after: Tensor) -> Tensor:
        """Mean cross-entropy of the actions ``after``, integers ``[F, N]``."""
        return nn.functional.cross_entropy(self(state, action).flatten(0, -2), after.flatten())

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.rest(hidden).unflatten(-1, self.shape).masked_fill(~self.allowed, -torch.inf)
