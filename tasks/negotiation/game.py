"""Negotiation as an environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.bars import draw_bars
from benchmarl_reciprocator.tasks.environment import ActionRange, SocialDilemmaEnv
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.negotiation.rules import FIXED, LARGEST, N_ITEMS, NegotiationRules
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS

# Of all numbers that are observed, as in the source
OBSERVED_SCALE = 10.0


class NegotiationEnv(SocialDilemmaEnv):
    """The exchange game of Advantage Alignment (Duque et al. 2024, arXiv 2406.14662), there called negotiation.

    Two agents divide three kinds of items, which are not worth the same to both, in round after round. They see what
    items are worth to both, and claim at the same time how much they want of each. Who claims only what is worth more
    to itself than to the other gains less from the round than who claims everything, and both together gain the most.

    The source is ``ObligatedRatioDiscreteEG`` of github.com/jduquevan/advantage-alignment, commit e99df9c, whose later
    versions have no such game. As there: values are drawn anew in every round, rewards are of the round before that,
    what is observed is divided by 10. Other than there: an episode is one of TorchRL's, not a step that is always done;
    ``max_claim`` is the same number everywhere; rewards are scaled by the most that they can be also where there are
    several of an item (75 in place of 15 for ``uniform``, 120 for ``fixed``).

    An agent observes 15 numbers: how many there are of each item, its values, its last claims, the other's values, the
    other's last claims, which are 0 before the first round.

    Actions are the ``(max_claim + 1)^3`` combinations of whole claims, the claim on the last item changing fastest; or,
    with continuous actions, three claims in ``[0, max_claim]``.

    Args:
        rules (NegotiationRules): the rules.
        continuous_actions (bool): whether claims are any numbers, rather than whole ones.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`.

    Attributes:
        item_values (Tensor): what items are worth to both in the round to come, ``[B, 2, 3]``.
        pool (Tensor): how many there are of each, ``[B, 3]``.
        last_claims (Tensor): of the round before, ``[B, 2, 3]``.

    Raises:
        ValueError: if an option is invalid.
    """

    def __init__(self, rules: NegotiationRules, *, continuous_actions: bool = False, **kwargs: Any) -> None:
        rules.check()
        super().__init__(
            [(rules.max_claim + 1) ** N_ITEMS] * 2,
            observation_shape=[5 * N_ITEMS],
            state_shape=[5 * N_ITEMS],
            # What it claimed of what is worth more to the other, the most that it could, and the joint optimum
            info={"claimed_of_others": 1, "others": 1, "possible": 1},
            action_range=ActionRange(0.0, rules.max_claim, N_ITEMS) if continuous_actions else None,
            **kwargs,
        )
        self.rules = rules
        levels = torch.arange(rules.max_claim + 1.0, device=self.device)
        # Claims of every action, [A, 3]
        self._claims = torch.cartesian_prod(*[levels] * N_ITEMS)
        self.item_values = torch.zeros(*self.batch_size, 2, N_ITEMS, device=self.device)
        self.pool = torch.zeros(*self.batch_size, N_ITEMS, device=self.device)
        self.last_claims = torch.zeros(*self.batch_size, 2, N_ITEMS, device=self.device)

    def start(self, where: Tensor) -> None:
        values, pool = self.rules.draw(len(where), self.random, self.device)
        self.item_values = torch.where(where[:, None, None], values, self.item_values)
        self.pool = torch.where(where[:, None], pool, self.pool)
        self.last_claims = self.last_claims.masked_fill(where[:, None, None], 0.0)

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        claims = self._claims[actions] if self.action_range is None else actions
        values, pool = self.item_values, self.pool
        rewards = self.rules.divide(claims, values, pool)
        others = (values.flip(-2) > values).float()
        possible = (values.amax(-2) * pool).sum(-1) / self.rules.scale
        info = {
            "claimed_of_others": (claims * others).sum(-1, keepdim=True),
            "others": self.rules.max_claim * others.sum(-1, keepdim=True),
            "possible": possible[:, None, None].expand(-1, 2, 1),
        }
        self.last_claims = claims
        self.item_values, self.pool = self.rules.draw(len(claims), self.random, self.device)
        return rewards, info

    def observations(self) -> Tensor:
        return torch.stack([self.state(seat) for seat in range(2)], 1)

    def state(self, first_seat: int = 0) -> Tensor:
        """What the agent of ``first_seat`` observes, which is everything."""
        agents = torch.stack([self.item_values, self.last_claims], -2).roll(-first_seat, 1)
        return torch.cat([self.pool, agents.flatten(1)], -1) / OBSERVED_SCALE

    @property
    def interchangeable_seats(self) -> bool:
        """Whether items are worth the same to both on average."""
        return self.rules.values not in FIXED

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment, ``[H, W, 3]`` bytes: for each item what it is worth now to both agents, and
        after a gap for each item what both claimed last.
        """
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        shares = [self.item_values[0] / LARGEST[self.rules.values][0], self.last_claims[0] / self.rules.max_claim]
        return draw_bars(
            [
                *([(share, colour) for share, colour in zip(item, COLOURS)] for item in shares[0].T.tolist()),
                [],
                *([(share, colour) for share, colour in zip(item, COLOURS)] for item in shares[1].T.tolist()),
            ]
        )


def negotiation_metrics(trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
    """Measures of trajectories ``[E, T]``.

    Args:
        trajectories (TensorDictBase): as collected.
        valid (Tensor): boolean ``[E, T]``, whether a step belongs to the trajectory.

    Returns:
        dict[str, Tensor]: each ``[E]``: ``restraint`` and ``agent_<i>_restraint``, one minus the share of what is worth
        more to the other that agents claimed (``nan`` where nothing was); ``efficiency``, the share of the most that
        both could have gained together.
    """
    steps = valid.unsqueeze(-1)
    claimed, others, possible, rewards = (
        (joint_entry(trajectories, "next", *path) * steps).sum(-2)
        for path in (("info", "claimed_of_others"), ("info", "others"), ("info", "possible"), ("reward",))
    )
    metrics = {"restraint": 1 - claimed.sum(-1) / others.sum(-1), "efficiency": rewards.sum(-1) / possible[..., 0]}
    for seat in range(claimed.shape[-1]):
        metrics[f"agent_{seat}_restraint"] = 1 - claimed[..., seat] / others[..., seat]
    return metrics
