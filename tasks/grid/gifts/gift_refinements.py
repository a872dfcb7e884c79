"""Gift refinements: a token that is given away becomes several of a more refined type in the hands of who gets it.

In a step all move at once; agents that eat do so, before anything reaches them; then each takes the token on its cell;
gifts change hands, all at once; and tokens appear.

Source of the rules: ``gift_refinements`` of Melting Pot (Leibo et al. 2021, arXiv 2107.06857; code of v2.4.0, whose
rules are those of November 2022), and ``gift`` of SocialJax (Guo et al. 2025, arXiv 2503.14576; code of August 2026).
What differs in their code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         maps are others, of the same size and structure
melting_pot agents move one after another in a random order, and chains only follow who is drawn earlier; tokens appear
            before the moves; gifts are made one after another, so that one that has just come can be passed on in the
            same step; an episode ends by chance at steps 1099, 1199, ... (here 1000, 1100, ...); the description says
            that a gift is multiplied by 3 and is of the rawest type, the code multiplies by 5 and gives the most
            refined; agents see how far their own beam has cooled down, in thirds (here everybody sees whose cannot be
            fired)
socialjax   who stands one cell behind another that looks the same way gives in every step, without the action, and the
            action does nothing if the other looks elsewhere; of several gifts to one agent one arrives; who eats eats
            what it gets in the same step, too; agents do not see what they carry; rewards are multiplied by the number
            of agents; the map has 25 rows and columns
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.gifts.players import PLAYERS
from benchmarl_reciprocator.tasks.grid.gifts.rules import (
    BAG,
    EAT,
    MARKS,
    THINGS,
    VARIANTS,
    GiftRules,
    check_gift_rules,
)
from benchmarl_reciprocator.tasks.grid.growth import RareGrowthEnv
from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, prefixes
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("gift_refinements")
START = {"T": None}
FLOORS = {"T": "#D9E4B8"}
COUNTS = ("collected", "eaten", "gifts", "eaten_early")


class GiftRefinementsEnv(RareGrowthEnv):
    """Gift refinements: +1 for every token that an agent eats, whatever its type. Eating eats all that it carries.

    Each agent knows how much of each type it carries, as a share of what it can carry. Everybody sees who cannot give
    yet, since its beam is cooling down.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (GiftRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv`.

    Attributes:
        bags (Tensor): tokens of each agent by type, from raw to the most refined: ``[B, N, 3]``, float.
    """

    rules: GiftRules

    def __init__(self, n_agents: int, rules: GiftRules, rows: list[str], **kwargs: Any) -> None:
        check_gift_rules(rules)
        super().__init__(
            n_agents,
            rules,
            rows,
            things=THINGS,
            start=START,
            floors=FLOORS,
            beams={"give": rules.give_beam()},
            info=COUNTS,
            further_actions=(EAT,),
            marks=MARKS,
            n_numbers=len(BAG),
            **kwargs,
        )
        self.field = self.grid.cells("T")
        size = self.field.stop - self.field.start
        check_option("the number of token cells 'T' in task.map", size, size >= 1, "at least 1")
        types = torch.arange(len(BAG), device=self.device)
        # Which type is given first, and what a gift of each turns into: its type and how many.
        self._first = 1 + (types if rules.gift == "most_refined" else types.flip(0))
        self._becomes = (types + 1).clamp(max=len(BAG) - 1)
        self._count = torch.where(types == self._becomes, 1.0, rules.multiplier)
        self.bags = torch.zeros(*self.batch_size, n_agents, len(BAG), device=self.device)

    def start(self, where: Tensor) -> None:
        self.bags = self.bags.masked_fill(where[:, None, None], 0)
        super().start(where)

    def numbers(self) -> Tensor:
        return self.bags / self.rules.capacity

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        meal = self.bags * (actions == self.actions[EAT]).unsqueeze(-1)
        collected = self.take("token").float()
        self.bags = self.bags - meal
        self.bags[..., 0] = (self.bags[..., 0] + collected).clamp(max=self.rules.capacity)
        gifts = self._give()
        self.grow_rarely(self.field, {"token": self.rules.token_probability})
        eaten = meal.sum(-1)
        self.marks["cooling"] = self.wait("give") > 0
        counts = {"collected": collected, "eaten": eaten, "gifts": gifts, "eaten_early": meal[..., :-1].sum(-1)}
        return eaten, counts

    def _give(self) -> Tensor:
        """Let gifts change hands, all at once: who gives a token that is refined by it, float ``[B, N]``."""
        # A ray ends at the first agent, so that it meets one at most.
        row, giver, places = self.shots("give")
        receiver = self._appearance.seats(self._standing.take(places)).amin(-1)
        held = self.bags[row, giver] > 0
        gives = (receiver < self.n_agents) & held.any(-1)
        row, giver, receiver = row[gives], giver[gives], receiver[gives]
        kind = (held[gives] * self._first).argmax(-1)
        self.bags[row, giver, kind] -= 1
        self.bags.index_put_((row, receiver, self._becomes[kind]), self._count[kind], accumulate=True)
        self.bags.clamp_(max=self.rules.capacity)
        refined = torch.zeros_like(self.bags[..., 0])
        refined[row, giver] = (kind < len(BAG) - 1).float()
        return refined


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of gift refinements. Rules that are ``None`` are taken from the variant, see :class:`GiftRules`."""

    version: ClassVar[int] = 1

    token_probability: float | None
    capacity: int | None
    multiplier: int | None
    gift: str | None
    give_length: int | None
    give_cooldown: int | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> GiftRefinementsEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return GiftRefinementsEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Tokens, gifts and peace of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for tokens ``collected`` and ``eaten``, ``gifts`` of
                tokens that were refined by it, and ``eaten_early``, tokens eaten that a gift would have refined;
                ``gift_share`` and ``agent_<i>_gift_share``, gifts over the sum of these two (``nan`` where it is 0);
                ``gifts_per_token`` and ``eaten_per_token``, over the tokens collected by all.
        """
        metrics = grid_metrics(trajectories, valid, COUNTS)
        for prefix in prefixes(self.n_agents):
            gifts = metrics[f"{prefix}gifts"]
            metrics[f"{prefix}gift_share"] = gifts / (gifts + metrics[f"{prefix}eaten_early"])
        for name in ("gifts", "eaten"):
            per_token = metrics[name] / metrics["collected"]
            metrics[f"{name}_per_token"] = per_token.masked_fill(metrics["collected"] == 0, torch.nan)
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share given away of the tokens that were given or eaten while a gift would have refined them."""
        return CooperationMeasure("gift_share", "gift share")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of :data:`~benchmarl_reciprocator.tasks.grid.gifts.players.PLAYERS`, by name."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        return self.seeing_players(
            PLAYERS,
            rules,
            things=tuple(THINGS),
            beams={"give": rules.give_beam()},
            further=(EAT,),
            marks=tuple(MARKS),
            numbers=BAG,
        )
