"""Value influence, influence balance and reciprocal reward as pure functions on tensors.

Source of all three: Zhou, Hong and Kao, "Reciprocal Reward Influence Encourages Cooperation From
Self-Interested Agents", NeurIPS 2024, arXiv 2406.01641, section 4. The variants follow the authors'
public code (github.com/johnlyzhou/reciprocator).

Everywhere ``N`` is the number of agents, ``T`` the number of time steps, ``*B`` any batch dimensions,
and entry ``[..., i, j]`` of a pairwise tensor reads "i towards j". Units are those of the reward.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DEBITS = ("none", "given", "given_and_own")
RECIPROCAL_FORMS = ("product", "sign_balance", "sign_influence", "tanh_balance")
OVER_OTHERS = ("mean", "sum")


def one_of(choices: Sequence[str]) -> str:
    """``choices`` in words: ``"mean or sum"``."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def value_influence(full: Tensor, left_out: Tensor) -> Tensor:
    """Influence of every agent's action on every agent's return.

    Args:
        full (Tensor): prediction for every agent ``j`` given the whole joint action, ``[*B, N]``.
        left_out (Tensor): counterfactual baselines, ``[*B, N, N]``: entry ``[..., i, j]`` is the
            prediction for agent ``j`` with agent ``i``'s action left out.

    Returns:
        Tensor: ``[*B, N, N]``, entry ``[..., i, j]`` is the influence of ``i`` on ``j``.

    Raises:
        ValueError: if the shapes do not belong together.

    Examples:
        >>> value_influence(torch.tensor([1.0, 2.0]), torch.tensor([[0.5, 1.0], [1.0, 4.0]]))
        tensor([[ 0.5000,  1.0000],
                [ 0.0000, -2.0000]])
    """
    if left_out.shape != (*full.shape, full.shape[-1]):
        raise ValueError(
            f"left_out must be of shape [*B, N, N] = {(*full.shape, full.shape[-1])}, but is {tuple(left_out.shape)}"
        )
    return full.unsqueeze(-2) - left_out


def next_balance(balance: Tensor, influence: Tensor, gamma: float, *, debit: str = "given") -> Tensor:
    """The influence balance after one step that does not end an episode: the method's one recursion.

    Args:
        balance (Tensor): balance before the step, ``[*B, N, N]``, ``[..., i, j]`` is what ``i`` owes ``j``.
        influence (Tensor): value influence of the step, ``[*B, N, N]``, ``[..., i, j]`` of ``i`` on ``j``.
        gamma (float): discount of the balance.

    Keyword Args:
        debit (str): what is taken off, see :func:`influence_balance`.

    Returns:
        Tensor: balance after the step, ``[*B, N, N]``.

    Raises:
        ValueError: on an unknown ``debit``.

    Examples:
        >>> next_balance(torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [3.0, 0.0]]), gamma=0.9)
        tensor([[ 0.,  2.],
                [-2.,  0.]])
    """
    if debit not in DEBITS:
        raise ValueError(f"debit must be {one_of(DEBITS)}, but is {debit!r}")
    change = influence.transpose(-1, -2)
    if debit != "none":
        change = change - influence
    if debit == "given_and_own":
        change = change - influence.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    return gamma * balance + change


def influence_balance(
    influence: Tensor,
    done: Tensor,
    gamma: float,
    initial: Tensor | None = None,
    *,
    debit: str = "given",
) -> tuple[Tensor, Tensor]:
    """What each agent still owes each other agent, before every step.

    With the defaults this is ``b[i,j](t+1) = gamma b[i,j](t) + VI[j->i](t) - VI[i->j](t)``, with ``b = 0``
    at the start of an episode.

    Args:
        influence (Tensor): value influence, ``[*B, T, N, N]``, ``[..., t, i, j]`` of ``i`` on ``j``.
        done (Tensor): boolean, ``[*B, T]`` or ``[*B, T, 1]``: whether the episode ends with step ``t``.
        gamma (float): discount of the balance, in ``[0, 1]``; 0 remembers one step only.
        initial (Tensor, optional): balance before the first step, ``[*B, N, N]``. Default: zero.

    Keyword Args:
        debit (str): what is taken off the balance. ``"given"``: the agent's own influence on the other;
            ``"none"``: nothing; ``"given_and_own"``: that and the other's influence on itself.

    Returns:
        tuple[Tensor, Tensor]: the balance before each step, ``[*B, T, N, N]``, where ``[..., t, i, j]`` is what
        ``i`` owes ``j``; and the balance after the last step, ``[*B, N, N]``, to be handed in as ``initial``
        of the batch that goes on from here (zero wherever the last step ended an episode).

    Raises:
        ValueError: on an unknown ``debit``, a ``gamma`` outside ``[0, 1]`` or shapes that do not match.

    Examples:
        >>> vi = torch.zeros(2, 2, 2)
        >>> vi[0, 1, 0] = 1.0  # agent 1 helps agent 0 in the first step
        >>> balance, carry = influence_balance(vi, torch.tensor([False, True]), gamma=0.9)
        >>> balance[1]  # so agent 0 owes agent 1 before the second
        tensor([[ 0.,  1.],
                [-1.,  0.]])
        >>> carry.abs().sum()
        tensor(0.)
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be a number from 0 to 1, but is {gamma!r}")
    if influence.ndim < 3 or influence.shape[-1] != influence.shape[-2]:
        raise ValueError(f"influence must be of shape [*B, T, N, N], but is {tuple(influence.shape)}")
    time_shape = influence.shape[:-2]
    if done.shape == (*time_shape, 1):
        done = done.squeeze(-1)
    if done.shape != time_shape:
        raise ValueError(f"done must be of shape [*B, T] = {tuple(time_shape)}, but is {tuple(done.shape)}")
    balance = torch.zeros_like(influence[..., 0, :, :])
    if initial is not None:
        if initial.shape != balance.shape:
            raise ValueError(
                f"initial must be of shape [*B, N, N] = {tuple(balance.shape)}, but is {tuple(initial.shape)}"
            )
        balance = initial.to(balance)

    goes_on = (~done)[..., None, None].to(influence.dtype)

    before = []
    for t in range(time_shape[-1]):
        before.append(balance)
        balance = next_balance(balance, influence[..., t, :, :], gamma, debit=debit) * goes_on[..., t, :, :]
    return torch.stack(before, dim=-3), balance


def reciprocal_reward(
    influence: Tensor,
    balance: Tensor,
    *,
    form: str = "product",
    negative: float = 1.0,
    over_others: str = "mean",
) -> Tensor:
    """Intrinsic reward for paying back: ``mean over j != i of b[i,j](t) VI[i->j](t)``.

    Args:
        influence (Tensor): ``[*B, T, N, N]``, see :func:`influence_balance`.
        balance (Tensor): ``[*B, T, N, N]``, the balance before each step.

    Keyword Args:
        form (str): ``"product"`` as above, or with the sign in place of the value of the balance
            (``"sign_balance"``) or of the influence (``"sign_influence"``), or with the balance's ``tanh``
            (``"tanh_balance"``, this package's own): favours then count up to a point, where with the product two
            agents that do each other good gain by ever more of it.
        negative (float): weight of negative balances, in ``[0, 1]``: 1 pays back harm as much as help, 0 help alone
            (negative and positive reciprocity, Fehr and Gaechter 2000, J. Econ. Perspectives 14:3). Below 1 it is this
            package's own addition to the method.
        over_others (str): ``"mean"``, as published, or ``"sum"`` over the others: what is owed to one agent then counts
            as much among many as among two.

    Returns:
        Tensor: ``[*B, T, N]``, entry ``[..., t, i]`` for agent ``i``.

    Raises:
        ValueError: on an unknown ``form`` or ``over_others``, a ``negative`` outside ``[0, 1]``, shapes that differ, or
            fewer than two agents.

    Examples:
        >>> vi = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])
        >>> owed = torch.tensor([[[0.0, 3.0], [-3.0, 0.0]]])
        >>> reciprocal_reward(vi, owed)
        tensor([[6., 0.]])
    """
    if form not in RECIPROCAL_FORMS:
        raise ValueError(f"form must be {one_of(RECIPROCAL_FORMS)}, but is {form!r}")
    if over_others not in OVER_OTHERS:
        raise ValueError(f"over_others must be {one_of(OVER_OTHERS)}, but is {over_others!r}")
    if not 0 <= negative <= 1:
        raise ValueError(f"negative must be a number from 0 to 1, but is {negative!r}")
    if influence.shape != balance.shape:
        raise ValueError(
            "influence and balance must be of the same shape [*B, T, N, N], but are "
            f"{tuple(influence.shape)} and {tuple(balance.shape)}"
        )
    n_agents = influence.shape[-1]
    if n_agents < 2:
        raise ValueError(f"reciprocity needs at least 2 agents, but influence is of {n_agents}")
    if form == "sign_balance":
        balance = balance.sign()
    elif form == "tanh_balance":
        balance = balance.tanh()
    elif form == "sign_influence":
        influence = influence.sign()
    balance = torch.where(balance < 0, negative * balance, balance)
    towards_others = 1 - torch.eye(n_agents, dtype=balance.dtype, device=balance.device)
    total = (balance * influence * towards_others).sum(-1)
    return total / (n_agents - 1) if over_others == "mean" else total
