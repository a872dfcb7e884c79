"""The rules of externality mushrooms, and its published variants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarl_reciprocator.tasks.grid.rules import GridRules, check_probability
from benchmarl_reciprocator.tasks.options import check_option

THINGS = {"red": "#C8322B", "green": "#4C9F38", "blue": "#2F6FDE", "orange": "#E8862E"}
COLOURS = tuple(THINGS)
# What else everybody sees of agents: who digests or is frozen, and whose beam cannot be fired yet.
MARKS = {"frozen": "#9FB8C8", "cooling": "#B0B4BA"}
# Probability that a spore of a mushroom of each colour becomes one of each, both in the order of COLOURS.
SPROUTING = ((0.25, 0.0, 0.0, 0.0), (0.25, 0.4, 0.0, 0.0), (0.25, 0.4, 0.6, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class MushroomRules(GridRules):
    """What makes a variant of externality mushrooms. Lists by colour are in the order red, green, blue, orange.

    Args:
        red_reward (float): what a red mushroom pays to who eats it.
        green_reward (float): what a green one pays, shared by all.
        blue_reward (float): what a blue one pays, shared by all others.
        orange_cost (float): what an orange one costs, shared by all.
        orange_kills (float): probability that each red mushroom on the map vanishes when an orange one is eaten.
        digestion (sequence of int): number of actions that are lost after a mushroom of each colour.
        spores (sequence of int): number of spores of a mushroom of each colour.
        spore_limit (int): most spores in a step that may become mushrooms of one colour; 0: no limit.
        crowd_limit (int): no more of a colour appear where more than so many of it stand; 0: no limit.
        lifetime (sequence of int): number of steps after which a mushroom of each colour spoils; 0: never.
        zap_destroys (bool): whether zapping beams destroy mushrooms in their way.
        zap_freeze (int): number of actions that an agent loses when zapped; 0: zapping does what it does elsewhere.
        zap_memory (int): number of steps after that in which a second hit takes it out of the world.
        zap_removal (int): for how many steps.
    """

    red_reward: float = 1.0
    green_reward: float = 2.0
    blue_reward: float = 3.0
    orange_cost: float = 1.0
    orange_kills: float = 0.25
    digestion: tuple[int, ...]
    spores: tuple[int, ...] = (3, 3, 3, 1)
    spore_limit: int = 0
    crowd_limit: int = 0
    lifetime: tuple[int, ...] = (200, 100, 75, 0)
    zap_destroys: bool = False
    zap_freeze: int = 0
    zap_memory: int = 0
    zap_removal: int = 0


_WIDE_VIEW: dict[str, Any] = {"map": "melting_pot", "view": 11, "view_behind": 1}
VARIANTS = {
    # Ours, for quick work on a CPU. Zapping is off.
    "small": MushroomRules(map="small", max_steps=128, view=7, actions="compass", digestion=(0, 3, 5, 5)),
    # Leibo et al. 2021 (arXiv 2107.06857), externality_mushrooms__dense. Of its constants of digestion (0, 10, 15, 15)
    # and freezing (25), one less is lost; of that of respawning (50), one more.
    "melting_pot": MushroomRules(
        **_WIDE_VIEW,
        max_steps=5000,
        min_steps=1000,
        end_interval=100,
        end_chance=0.2,
        actions="turn",
        beam_shape="beside",
        zap_length=3,
        zap_width=3,
        zap_cooldown=3,
        zap_destroys=True,
        zap_freeze=24,
        zap_memory=50,
        zap_removal=51,
        digestion=(0, 9, 14, 14),
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, mushrooms, individual rewards. Orange costs
    # everybody 0.2, as here with its 5 agents. Of 1000 steps the last pays nothing.
    "socialjax": MushroomRules(
        **_WIDE_VIEW,
        max_steps=999,
        actions="fixed",
        beam_shape="arrow",
        zap_length=2,
        zap_width=3,
        zap_restart=True,
        zap_through_agents=True,
        orange_kills=0.0,
        digestion=(9, 14, 19, 0),
        spores=(2, 2, 2, 2),
        spore_limit=5,
        crowd_limit=5,
        lifetime=(0, 0, 0, 0),
    ),
}


def check_mushroom_rules(rules: MushroomRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    for key in ("red_reward", "green_reward", "blue_reward", "orange_cost"):
        check_option(f"task.{key}", getattr(rules, key), 0 <= getattr(rules, key) < math.inf, "a finite number >= 0")
    check_probability("task.orange_kills", rules.orange_kills)
    for key in ("spore_limit", "crowd_limit", "zap_freeze", "zap_memory", "zap_removal"):
        value = getattr(rules, key)
        check_option(f"task.{key}", value, type(value) is int and value >= 0, "an integer >= 0")
    for key in ("digestion", "spores", "lifetime"):
        value = getattr(rules, key)
        valid = isinstance(value, Sequence) and len(value) == len(COLOURS)
        valid = valid and all(type(number) is int and number >= 0 for number in value)
        check_option(f"task.{key}", value, valid, f"a list of {len(COLOURS)} integers >= 0 ({', '.join(COLOURS)})")
    check_option(
        "task.zap_freeze",
        rules.zap_freeze,
        not (rules.zap_freeze and (rules.zap_timeout or rules.zap_restart)),
        f"0 where zapping takes agents away at once (task.zap_timeout is {rules.zap_timeout}, task.zap_restart "
        f"{rules.zap_restart})",
    )
