"""Social preferences: pure functions from the rewards of all agents to what each agent makes of them.

They know torch alone, and can be used with any batch of TorchRL::

    batch = collector.next()
    reward = batch["next", "agents", "reward"].squeeze(-1)
    batch["next", "agents", "reward"] = reward_transfer(reward, self_interest=0.5).unsqueeze(-1)

Everywhere ``N`` is the number of agents, ``T`` the number of time steps and ``*B`` any batch dimensions. Units are
those of the reward.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FORMS = ("angle", "linear")
# Below this sum of absolute rewards an angle says nothing.
NOTHING = 1e-8


def mean_of_others(reward: Tensor) -> Tensor:
    """What the other agents get on the mean, ``[*B, N]``, from the rewards of all, ``[*B, N]``.

    Raises:
        ValueError: with fewer than two agents.
    """
    n_agents = reward.shape[-1]
    if n_agents < 2:
        raise ValueError(f"reward must be of at least 2 agents, but is of {n_agents}")
    return (reward.sum(-1, keepdim=True) - reward) / (n_agents - 1)


def reward_transfer(reward: Tensor, self_interest: float) -> Tensor:
    """Every agent keeps a share of its reward and gives the rest to the others in equal parts.

    ``u_i = s r_i + (1 - s) / (N - 1) sum over j != i of r_j`` (Willis, Du, Leibo and Luck 2023, arXiv 2310.12928; as in
    the TRANSFER variant of SocialJax).

    Args:
        reward (Tensor): the task's rewards, ``[*B, N]``.
        self_interest (float): the share ``s`` in ``[0, 1]`` that is kept: 1 is the reward itself, ``1 / N`` the mean of
            all agents' rewards, 0 that of the others'.

    Returns:
        Tensor: ``[*B, N]``.

    Raises:
        ValueError: on a share outside ``[0, 1]``, or fewer than two agents.

    Examples:
        >>> reward_transfer(torch.tensor([2.0, 0.0, -1.0]), self_interest=0.5)
        tensor([0.7500, 0.2500, 0.0000])
    """
    if not 0 <= self_interest <= 1:
        raise ValueError(f"self_interest must be a number from 0 to 1, but is {self_interest!r}")
    return self_interest * reward + (1 - self_interest) * mean_of_others(reward)


def smoothed_rewards(
    reward: Tensor, done: Tensor, decay: float, initial: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What each agent has got lately: ``e(t) = decay e(t-1) + r(t)``, from zero in every episode.

    With steady rewards it is ``1 / (1 - decay)`` times the reward (Hughes et al. 2018, arXiv 1803.08884, eq. 4).

    Args:
        reward (Tensor): the task's rewards, ``[*B, T, N]``.
        done (Tensor): boolean, ``[*B, T]``: whether the episode ends with step ``t``.
        decay (float): in ``[0, 1]``; 0: the reward itself.
        initial (Tensor, optional): what there is before the first step, ``[*B, N]``. Default: zero.

    Returns:
        tuple[Tensor, Tensor]: ``e`` at every step, that step's reward included, ``[*B, T, N]``; and after the last,
        ``[*B, N]``, to be handed in as ``initial`` of the batch that goes on from here.

    Raises:
        ValueError: on a decay outside ``[0, 1]``, or shapes that do not match.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be a number from 0 to 1, but is {decay!r}")
    if done.shape != reward.shape[:-1]:
        raise ValueError(f"done must be of shape [*B, T] = {tuple(reward.shape[:-1])}, but is {tuple(done.shape)}")
    kept = torch.zeros_like(reward[..., 0, :])
    if initial is not None:
        if initial.shape != kept.shape:
            raise ValueError(f"initial must be of shape [*B, N] = {tuple(kept.shape)}, but is {tuple(initial.shape)}")
        kept = initial.to(kept)
    goes_on = (~done).unsqueeze(-1).to(reward.dtype)
    smoothed = []
    for t in range(reward.shape[-2]):
        now = decay * kept + reward[..., t, :]
        smoothed.append(now)
        kept = now * goes_on[..., t, :]
    return torch.stack(smoothed, dim=-2), kept


def inequity_aversion(reward: Tensor, smoothed: Tensor, *, envy: float, guilt: float) -> Tensor:
    """Dislike of having less than others (envy) and more than others (guilt).

    ``u_i = r_i - envy / (N-1) sum_j max(e_j - e_i, 0) - guilt / (N-1) sum_j max(e_i - e_j, 0)`` (Fehr and Schmidt 1999;
    for sequential dilemmas Hughes et al. 2018, arXiv 1803.08884, eq. 3, whose alpha and beta these are).

    Args:
        reward (Tensor): the task's rewards, ``[*B, N]``.
        smoothed (Tensor): what each agent has got lately, ``[*B, N]``, see :func:`smoothed_rewards`.

    Keyword Args:
        envy (float): weight of what others have more, ``>= 0``.
        guilt (float): weight of what others have less, ``>= 0``.

    Returns:
        Tensor: ``[*B, N]``.

    Raises:
        ValueError: on a negative weight, shapes that differ, or fewer than two agents.
    """
    for name, weight in (("envy", envy), ("guilt", guilt)):
        if not weight >= 0:
            raise ValueError(f"{name} must be a number >= 0, but is {weight!r}")
    if smoothed.shape != reward.shape:
        raise ValueError(f"smoothed must be of shape {tuple(reward.shape)}, but is {tuple(smoothed.shape)}")
    n_agents = reward.shape[-1]
    if n_agents < 2:
        raise ValueError(f"reward must be of at least 2 agents, but is of {n_agents}")
    # [..., i, j]: what j has more than i
    ahead_of_me = smoothed.unsqueeze(-2) - smoothed.unsqueeze(-1)
    behind = ahead_of_me.clamp(min=0).sum(-1) / (n_agents - 1)
    ahead = (-ahead_of_me).clamp(min=0).sum(-1) / (n_agents - 1)
    return reward - envy * behind - guilt * ahead


def social_value_orientation(
    reward: Tensor, angle: float, *, form: str = "linear", weight: float = 1.0, seen: Tensor | None = None
) -> Tensor:
    """Preference for a certain angle between one's own reward and the mean of the others'.

    With ``R_i`` the mean of the others' rewards: ``"angle"`` is ``u_i = r_i - weight |angle - atan2(R_i, r_i)|`` (McKee
    et al. 2020, arXiv 2002.02325), and nothing is taken off where nobody gets anything. It makes sense only where
    rewards are never negative: mutual cooperation at -1 and mutual defection at -2 have the same angle. ``"linear"`` is
    ``u_i = cos(angle) r_i + sin(angle) R_i`` (Griesinger and Livingston 1973), for rewards of any sign.

    Args:
        reward (Tensor): the task's rewards, ``[*B, N]``.
        angle (float): the angle that is preferred, in degrees: 0 is selfish, 45 prosocial, 90 altruistic.

    Keyword Args:
        form (str): ``"angle"`` or ``"linear"``.
        weight (float): of the angle's deviation, ``>= 0``, in units of reward per radian; the linear form has none.
        seen (Tensor, optional): the rewards that the angle is taken of, ``[*B, N]``, such as smoothed ones. Default:
            ``reward``.

    Returns:
        Tensor: ``[*B, N]``.

    Raises:
        ValueError: on an unknown form, a negative weight, or fewer than two agents.
    """
    if form not in FORMS:
        raise ValueError(f"form must be {' or '.join(FORMS)}, but is {form!r}")
    if not weight >= 0:
        raise ValueError(f"weight must be a number >= 0, but is {weight!r}")
    preferred = math.radians(angle)
    if form == "linear":
        return math.cos(preferred) * reward + math.sin(preferred) * mean_of_others(reward)
    own = reward if seen is None else seen
    others = mean_of_others(own)
    deviation = (preferred - torch.atan2(others, own)).abs()
    deviation = torch.where(own.abs() + others.abs() < NOTHING, torch.zeros_like(deviation), deviation)
    return reward - weight * deviation
