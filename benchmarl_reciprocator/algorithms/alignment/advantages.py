"""Aligned advantages as pure functions on tensors.

Source: Duque et al., "Advantage Alignment Algorithms", ICLR 2025, arXiv 2406.14662, section 4; and Aghajohari et al.,
"LOQA: Learning with Opponent Q-Learning Awareness", ICLR 2024, arXiv 2405.01035. The forms follow the authors' public
code. They know torch alone.

Everywhere ``N`` is the number of agents, ``T`` the number of time steps and ``*B`` any batch dimensions, and entry
``[..., i, j]`` of a pairwise tensor reads "i towards j". Units are those of the reward.
"""

from __future__ import annotations

import torch
from torch import Tensor

FORMS = ("mean", "discounted", "absolute", "trace")
CENTRES = ("step", "batch", "none")
# A step of the episode has a mean of its own only where this many samples share it.
LEAST_SHARED = 8


def centred_advantage(
    advantage: Tensor, step: Tensor, centre: str = "step", left_out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take off what an advantage owes to its critic, and tell how large advantages are.

    A policy gradient bears an advantage that is wrong by a constant. A product of two does not: with a critic that
    starts at zero and rewards below it, all that ever happened looks bad, and alignment is spite.

    Args:
        advantage (Tensor): of all agents, ``[*B, T, N]``.
        step (Tensor): integers ``[*B, T]``: how many steps of its episode came before each step.
        centre (str): what is taken off: ``"step"``, each agent's mean over the samples of the same step of the episode
            (its mean over the batch where fewer than eight share a step); ``"batch"``, its mean over the batch; or
            ``"none"``, with which advantages stay as they are, in units of reward.
        left_out (Tensor, optional): boolean ``[*B, T, N]``: samples that do not count in means and deviation.

    Returns:
        tuple[Tensor, Tensor]: the centred advantage ``[*B, T, N]``, and the deviation of all that count, a number (1
        with ``"none"``).

    Raises:
        ValueError: on an unknown ``centre``.
    """
    if centre not in CENTRES:
        raise ValueError(f"centre must be one of {', '.join(CENTRES)}, but is {centre!r}")
    if centre == "none":
        return advantage, advantage.new_ones(())
    flat = advantage.flatten(0, -2)
    counts = torch.ones_like(flat) if left_out is None else (~left_out).flatten(0, -2).to(flat.dtype)
    mean = (flat * counts).sum(0) / counts.sum(0).clamp(min=1)
    if centre == "step":
        of_step = step.flatten()
        empty = flat.new_zeros(int(of_step.max()) + 1, flat.shape[-1])
        shared = empty.index_add(0, of_step, counts)
        sums = empty.index_add(0, of_step, flat * counts)
        mean = torch.where(shared >= LEAST_SHARED, sums / shared.clamp(min=1), mean)[of_step]
    centred = flat - mean
    variance = (centred.square() * counts).sum() / counts.sum().clamp(min=1)
    return centred.unflatten(0, advantage.shape[:-1]), variance.sqrt().clamp(min=1e-8)


def past_weights(
    contribution: Tensor,
    done: Tensor,
    step: Tensor,
    gamma: float,
    *,
    form: str = "discounted",
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """How well it has gone for each agent with each other, before every step of an episode.

    With ``x = 0`` at the start of an episode and ``a`` the contribution of a step,

    - ``"mean"``: ``x(t+1) = x(t) + a(t)``, the weight is ``x(t) / max(t, 1)``;
    - ``"absolute"``: the same, the weight is ``gamma^t x(t)``;
    - ``"discounted"``: ``x(t+1) = gamma (x(t) + a(t))``, the weight is ``x(t)``;
    - ``"trace"``: ``x(t+1) = gamma x(t) + a(t)``, the weight is ``x(t)`` (LOQA's).

    Args:
        contribution (Tensor): ``[*B, T, N, N]``, ``[..., i, j]`` how well the step went for ``i``, as far as that is to
            weigh on what ``i`` does to ``j``.
        done (Tensor): boolean ``[*B, T]``: whether the episode ends with step ``t``.
        step (Tensor): integers ``[*B, T]``: how many steps of its episode came before each step.
        gamma (float): discount, in ``[0, 1]``.

    Keyword Args:
        form (str): see above.
        initial (Tensor, optional): ``x`` before the first step, ``[*B, N, N]``. Default: zero.

    Returns:
        tuple[Tensor, Tensor]: the weight of the past before each step, ``[*B, T, N, N]``, and ``x`` after the last,
        ``[*B, N, N]``, to be handed in as ``initial`` of the batch that goes on from here.

    Raises:
        ValueError: on an unknown form, a ``gamma`` outside ``[0, 1]``, or shapes that do not match.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, but is {form!r}")
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be a number from 0 to 1, but is {gamma!r}")
    if done.shape != contribution.shape[:-2]:
        shape = tuple(contribution.shape[:-2])
        raise ValueError(f"done must be of shape [*B, T] = {shape}, but is {tuple(done.shape)}")
    past = torch.zeros_like(contribution[..., 0, :, :])
    if initial is not None:
        if initial.shape != past.shape:
            raise ValueError(
                f"initial must be of shape [*B, N, N] = {tuple(past.shape)}, but is {tuple(initial.shape)}"
            )
        past = initial.to(past)
    kept = gamma if form in ("discounted", "trace") else 1.0
    added = gamma if form == "discounted" else 1.0
    goes_on = (~done)[..., None, None].to(contribution.dtype)
    before = []
    for t in range(contribution.shape[-3]):
        before.append(past)
        past = (kept * past + added * contribution[..., t, :, :]) * goes_on[..., t, :, :]
    weight = torch.stack(before, dim=-3)
    if form == "mean":
        weight = weight / step.clamp(min=1)[..., None, None]
    elif form == "absolute":
        weight = weight * (gamma**step)[..., None, None]
    return weight, past


def alignment_term(past: Tensor, advantage: Tensor) -> Tensor:
    """What alignment adds to each agent's advantage: ``sum over j != i of P_ij A_j``.

    Args:
        past (Tensor): weight of the past, ``[*B, N, N]``.
        advantage (Tensor): of all agents, ``[*B, N]``.

    Returns:
        Tensor: ``[*B, N]``.

    Raises:
        ValueError: with fewer than two agents.
    """
    n_agents = advantage.shape[-1]
    if n_agents < 2:
        raise ValueError(f"advantage must be of at least 2 agents, but is of {n_agents}")
    others = 1 - torch.eye(n_agents, dtype=past.dtype, device=past.device)
    return (past * others * advantage.unsqueeze(-2)).sum(-1)


def past_contributions(advantage: Tensor, influence: Tensor | None = None, probability: Tensor | None = None) -> Tensor:
    """How well each step went for ``i``, as far as that is to weigh on what ``i`` does to ``j``.

    Args:
        advantage (Tensor): of all agents, ``[*B, N]``.
        influence (Tensor, optional): value influence, ``[*B, N, N]``, ``[..., j, i]`` of ``j`` on ``i``: counts in
            place of ``i``'s advantage, so that what ``i`` did itself is averaged out.
        probability (Tensor, optional): of the action that each agent took, ``[*B, N]``: ``j`` counts by what it could
            have done else, ``1 - probability`` (LOQA; Theorem 2 of Advantage Alignment).

    Returns:
        Tensor: ``[*B, N, N]``.
    """
    n_agents = advantage.shape[-1]
    if influence is None:
        went = advantage.unsqueeze(-1).expand(*advantage.shape, n_agents)
    else:
        went = influence.transpose(-1, -2)
    return went if probability is None else went * (1 - probability).unsqueeze(-2)


def softmax_probability(action_value: Tensor, action: Tensor, outcome: Tensor, allowed: Tensor | None = None) -> Tensor:
    """How likely the action that was taken is for an agent that acts by a softmax of its action values (LOQA).

    Args:
        action_value (Tensor): what each agent expects of each of its actions, ``[*B, N, A]``.
        action (Tensor): integers ``[*B, N]``: the action that it took.
        outcome (Tensor): what that action came to, in place of what was expected of it, ``[*B, N]``.
        allowed (Tensor, optional): boolean ``[N, A]``: which actions each agent has. Default: all.

    Returns:
        Tensor: ``[*B, N]``.

    Examples:
        >>> softmax_probability(torch.tensor([[1.0, 2.0]]), torch.tensor([1]), torch.tensor([1.0]))
        tensor([0.5000])
    """
    taken = action.unsqueeze(-1)
    values = action_value.scatter(-1, taken, outcome.unsqueeze(-1))
    if allowed is not None:
        values = values.masked_fill(~allowed, -torch.inf)
    return values.softmax(-1).gather(-1, taken).squeeze(-1)
