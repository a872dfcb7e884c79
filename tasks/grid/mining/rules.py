"""The rules of coop mining, and its published variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules, check_probability
from benchmarl_reciprocator.tasks.options import check_option

# Gold that somebody has hit looks otherwise, to all.
THINGS = {"iron": "#8A6A4F", "gold": "#D9A404", "hit_gold": "#FFE680"}
ORES = tuple(THINGS)
# What else everybody sees of agents: whose beam cannot be fired yet.
MARKS = {"cooling": "#B0B4BA"}
MINE_COLOUR = "#B8BCC4"


@dataclass(frozen=True, kw_only=True)
class MiningRules(GridRules):
    """What makes a variant of coop mining.

    Args:
        iron_probability (float): probability of iron on a free cell where ore appears, in a step.
        gold_probability (float): the same of gold.
        iron_reward (float): what iron pays to who mines it.
        gold_reward (float): what gold pays to each of the two who mine it.
        gold_window (int): number of steps, that of the first hit included, in which a second agent must hit gold.
        mine_length (int): how many cells ahead the beam goes, to the first ore in its way, through agents.
        mine_cooldown (int): steps after a shot in which it cannot be fired.
    """

    iron_probability: float
    gold_probability: float
    iron_reward: float = 1.0
    gold_reward: float = 8.0
    gold_window: int = 3
    mine_length: int = 3
    mine_cooldown: int

    def mine_beam(self) -> Beam:
        """The mining beam."""
        return Beam(self.mine_length, 1, self.mine_cooldown, MINE_COLOUR, ORES, through_agents=True)


_MELTING_POT: dict[str, Any] = {
    "map": "melting_pot",
    "view": 11,
    "iron_probability": 0.0002,
    "gold_probability": 0.00008,
}
VARIANTS = {
    # Ours, for quick work on a CPU.
    "small": MiningRules(
        map="small",
        max_steps=100,
        view=7,
        actions="compass",
        iron_probability=0.002,
        gold_probability=0.001,
        mine_cooldown=2,
    ),
    # Leibo et al. 2021 (arXiv 2107.06857), coop_mining. Its cooldown of 3 is a shot in every third step.
    "melting_pot": MiningRules(
        **_MELTING_POT,
        max_steps=5000,
        min_steps=1000,
        end_interval=100,
        end_chance=0.2,
        view_behind=1,
        actions="turn",
        mine_cooldown=2,
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, coop_mining, individual rewards.
    "socialjax": MiningRules(**_MELTING_POT, max_steps=1000, actions="fixed", mine_cooldown=0),
}


def check_mining_rules(rules: MiningRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    for key in ("iron_probability", "gold_probability"):
        check_probability(f"task.{key}", getattr(rules, key))
    rest = round(1 - rules.iron_probability, 6)
    check_option(
        "task.gold_probability",
        rules.gold_probability,
        rules.gold_probability <= rest,
        f"at most {rest} (1 - task.iron_probability)",
    )
    for key in ("iron_reward", "gold_reward"):
        check_option(f"task.{key}", getattr(rules, key), 0 <= getattr(rules, key) < math.inf, "a finite number >= 0")
    for key, least in (("gold_window", 1), ("mine_length", 1), ("mine_cooldown", 0)):
        value = getattr(rules, key)
        check_option(f"task.{key}", value, type(value) is int and value >= least, f"an integer >= {least}")
