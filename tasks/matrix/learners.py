"""Naive learners, LOLA and an exact Reciprocator on iterated matrix games, by exact values of memory-one policies.

Sources: Foerster et al., "Learning with Opponent-Learning Awareness", AAMAS 2018, arXiv 1709.04326 (``"lola"``, with
exact gradients); Lu et al., "Model-Free Opponent Shaping", ICML 2022, arXiv 2205.01447, whose LOLA opponent
differentiates both factors (``"surrogate"``); Foerster et al., "DiCE", ICML 2018, arXiv 1802.05098
(``"lookahead"``); and Zhou et al., arXiv 2406.01641, for ``"reciprocal"``.

A policy is ``A - 1`` logits by state, the last action's being 0: with two actions, the logit of the first. A state is
the number of the last joint action (row-major, ``0`` to ``J - 1``), the same for all agents, or ``J`` in the first
step. Everything is in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.model import matrix_values
from benchmarl_reciprocator.tasks.options import check_option, one_of

RULES = ("naive", "lola", "surrogate", "lookahead", "reciprocal")


def policies(logits: Tensor) -> Tensor:
    """Probabilities of actions, ``[*B, J + 1, N, A]``, from logits ``[*B, N, J + 1, A - 1]``."""
    last = torch.zeros_like(logits[..., :1])
    return torch.cat([logits, last], dim=-1).softmax(-1).transpose(-3, -2)


def exact_values(logits: Tensor, payoffs: Tensor, gamma: float, added: Tensor | None = None) -> Tensor:
    """Expected discounted return of every agent of an infinite game, from its first step.

    Args:
        logits (Tensor): of all agents, ``[B, N, J + 1, A - 1]``.
        payoffs (Tensor): ``[A, ..., A, N]``.
        gamma (float): discount in ``[0, 1)``; times ``1 - gamma`` the values are rewards per step.
        added (Tensor, optional): what is paid besides by state and joint action, ``[J + 1, J, N]``.

    Returns:
        Tensor: ``[B, N]``, differentiable.
    """

    def from_the_start(policy: Tensor) -> Tensor:
        return matrix_values(policy, payoffs, gamma, added=added)[-1]

    return torch.func.vmap(from_the_start)(policies(logits))


def owed(payoffs: Tensor) -> Tensor:
    """What reciprocity is worth by state and joint action, by a memory of one step.

    The influence of ``j`` on ``i`` is ``i``'s reward less its mean over what ``j`` could have done. An agent owes
    another what that one's last action did to it, and is paid that times what its own action does to the other now.

    Args:
        payoffs (Tensor): ``[A, ..., A, N]``.

    Returns:
        Tensor: in units of reward squared, ``[J + 1, J, N]``; zero in the first step.
    """
    n_agents = payoffs.shape[-1]
    # [J, N, N]: of the first agent on the second
    influence = torch.stack([payoffs - payoffs.mean(agent, keepdim=True) for agent in range(n_agents)], dim=-2)
    influence = influence.flatten(0, -3) * (1 - torch.eye(n_agents, dtype=payoffs.dtype, device=payoffs.device))
    paid = torch.einsum("sji,bij->sbi", influence, influence)
    return torch.cat([paid, torch.zeros_like(paid[:1])])


def learning_steps(
    logits: Tensor,
    payoffs: Tensor,
    gamma: float,
    rules: Sequence[str],
    *,
    eta: float = 1.0,
    inner_steps: int = 1,
    reciprocal_weight: float = 1.0,
) -> Tensor:
    """The direction in which each agent changes its policy; all look at the same policies.

    With ``V_i`` agent ``i``'s value and ``g_j`` the gradient of ``V_j`` by ``j``'s own logits,

    - ``"naive"``: the gradient of ``V_i``;
    - ``"lola"``: that plus ``eta`` times the gradient of ``sum_j <dV_i/dtheta_j, g_j>``, the first factor held fixed;
    - ``"surrogate"``: the same with both factors differentiated;
    - ``"lookahead"``: the gradient of ``V_i`` once all others have taken ``inner_steps`` naive steps of size ``eta``;
    - ``"reciprocal"``: the gradient of the value of the rewards plus ``reciprocal_weight`` times what is :func:`owed`.

    Args:
        logits (Tensor): of all agents, ``[B, N, J + 1, A - 1]``.
        payoffs (Tensor): ``[A, ..., A, N]``.
        gamma (float): discount in ``[0, 1)``.
        rules (sequence of str): of each agent.

    Keyword Args:
        eta (float): size of the others' anticipated steps, ``>= 0``; 0: naive.
        inner_steps (int): how many ``"lookahead"`` anticipates.
        reciprocal_weight (float): of what ``"reciprocal"`` is paid besides, in 1 / reward.

    Returns:
        Tensor: ``[B, N, J + 1, A - 1]``.

    Raises:
        ValueError: on an unknown rule, another number of rules than of agents, or a negative ``eta``.
    """
    n_agents = payoffs.shape[-1]
    for rule in rules:
        check_option("rules", rule, rule in RULES, one_of(RULES))
    check_option("rules", list(rules), len(rules) == n_agents, f"one for each of {n_agents} agents")
    check_option("eta", eta, eta >= 0, "a number >= 0")
    logits = logits.detach().requires_grad_()
    value = exact_values(logits, payoffs, gamma)
    # [N, B, N, ...]: of each agent's value by all logits
    gradients = torch.stack(
        [torch.autograd.grad(value[:, agent].sum(), logits, create_graph=True)[0] for agent in range(n_agents)]
    )
    naive = torch.stack([gradients[agent][:, agent] for agent in range(n_agents)], dim=1)
    steps = []
    for agent, rule in enumerate(rules):
        step = naive[:, agent]
        if rule in ("lola", "surrogate"):
            towards = gradients[agent].detach() if rule == "lola" else gradients[agent]
            gained = (towards * naive).sum((-2, -1))
            others = gained.sum() - gained[:, agent].sum()
            step = step + eta * torch.autograd.grad(others, logits, retain_graph=True)[0][:, agent]
        elif rule == "reciprocal":
            paid = exact_values(logits, payoffs, gamma, reciprocal_weight * owed(payoffs))[:, agent].sum()
            step = torch.autograd.grad(paid, logits)[0][:, agent]
        elif rule == "lookahead":
            step = _after_others_learned(logits, payoffs, gamma, agent, eta, inner_steps)
        steps.append(step.detach())
    return torch.stack(steps, dim=1)


def in_own_view(per_state: Tensor, n_actions: int) -> Tensor:
    """What each agent does by state, with its own action first in a state, then that of the next seat, and so on.

    Args:
        per_state (Tensor): ``[*B, N, J + 1, K]``, by the states of all.
        n_actions (int): of every agent, ``A``.

    Returns:
        Tensor: ``[*B, N, J + 1, K]``.
    """
    n_agents = per_state.shape[-3]
    number = torch.arange(n_actions**n_agents, device=per_state.device).view(*[n_actions] * n_agents)
    views = []
    for agent in range(n_agents):
        order = [*range(agent, n_agents), *range(agent)]
        # Agent's own state -> the state of all
        states = torch.cat([number.permute(order).flatten(), number.new_tensor([number.numel()])])
        views.append(per_state[..., agent, states, :])
    return torch.stack(views, dim=-3)


def _after_others_learned(
    logits: Tensor, payoffs: Tensor, gamma: float, agent: int, eta: float, inner_steps: int
) -> Tensor:
    """Gradient of an agent's value by its logits, the others having answered them."""
    mine = torch.zeros(logits.shape[1], 1, 1, dtype=torch.bool, device=logits.device)
    mine[agent] = True
    start = logits.detach().requires_grad_()
    ahead = start
    for _ in range(inner_steps):
        value = exact_values(ahead, payoffs, gamma)
        answers = torch.stack(
            [
                torch.autograd.grad(value[:, other].sum(), ahead, create_graph=True)[0][:, other]
                for other in range(logits.shape[1])
            ],
            dim=1,
        )
        ahead = ahead + eta * answers.masked_fill(mine, 0.0)
    return torch.autograd.grad(exact_values(ahead, payoffs, gamma)[:, agent].sum(), start)[0][:, agent]
