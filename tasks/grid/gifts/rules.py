"""The rules of gift refinements, and its published variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules, check_probability
from benchmarl_reciprocator.tasks.options import check_option, one_of

# Types of tokens, from raw to the most refined.
BAG = ("raw", "refined", "pure")
# What else everybody sees of agents: whose beam cannot be fired yet.
MARKS = {"cooling": "#B0B4BA"}
THINGS = {"token": "#3E9B4F"}
GIFTS = ("most_refined", "least_refined")
EAT = "eat"
GIVE_COLOUR = "#E08AC0"


@dataclass(frozen=True, kw_only=True)
class GiftRules(GridRules):
    """What makes a variant of gift refinements.

    Args:
        token_probability (float): probability of a token on a free cell where they appear, in a step.
        capacity (int): how many tokens of each type an agent can carry; what does not fit is lost.
        multiplier (int): number of tokens of the next type that a gift of one turns into. Of the last type, one stays
            one.
        gift (str): which of its tokens an agent gives: ``"most_refined"`` or ``"least_refined"``.
        give_length (int): how many cells ahead a gift goes, to the first agent in its way.
        give_cooldown (int): steps after a shot in which an agent cannot give.
    """

    token_probability: float
    capacity: int
    multiplier: int
    gift: str = "most_refined"
    give_length: int
    give_cooldown: int

    def give_beam(self) -> Beam:
        """The beam that carries gifts."""
        return Beam(self.give_length, 1, self.give_cooldown, GIVE_COLOUR)


_WIDE_VIEW: dict[str, Any] = {"view": 11, "view_behind": 1, "capacity": 15, "token_probability": 0.0002}
VARIANTS = {
    # Ours, for quick work on a CPU.
    "small": GiftRules(
        map="small",
        max_steps=100,
        view=7,
        actions="compass",
        token_probability=0.004,
        capacity=15,
        multiplier=3,
        give_length=5,
        give_cooldown=2,
    ),
    # Leibo et al. 2021 (arXiv 2107.06857), gift_refinements. Its cooldown of 3 is a shot in every third step.
    "melting_pot": GiftRules(
        **_WIDE_VIEW,
        map="melting_pot",
        max_steps=5000,
        min_steps=1000,
        end_interval=100,
        end_chance=0.2,
        actions="turn",
        multiplier=5,
        give_length=5,
        give_cooldown=2,
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, gift, individual rewards. Of 1000 steps the
    # last pays nothing.
    "socialjax": GiftRules(
        **_WIDE_VIEW,
        map="melting_pot",
        max_steps=999,
        actions="fixed",
        multiplier=3,
        gift="least_refined",
        give_length=1,
        give_cooldown=0,
    ),
}


def check_gift_rules(rules: GiftRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    check_probability("task.token_probability", rules.token_probability)
    check_option("task.gift", rules.gift, rules.gift in GIFTS, one_of(GIFTS))
    for key, least in (("capacity", 1), ("multiplier", 1), ("give_length", 1), ("give_cooldown", 0)):
        value = getattr(rules, key)
        check_option(f"task.{key}", value, type(value) is int and value >= least, f"an integer >= {least}")
