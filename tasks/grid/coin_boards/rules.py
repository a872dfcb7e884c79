"""The rules of Coins on large boards, and its published variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmarl_reciprocator.tasks.grid.rules import GridRules, check_probability
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.palette import COLOURS, rgb


def things(n_agents: int) -> dict[str, str]:
    """A kind of coin for every seat, in a tint of the agent's colour, which is not its own in an image of pixels."""
    return {f"coin_{seat}": tint(COLOURS[seat]) for seat in range(n_agents)}


def tint(colour: str) -> str:
    """The colour half way to white."""
    return "#" + bytes(((rgb(colour) + 1) * 127.5).round().byte().tolist()).hex()


@dataclass(frozen=True, kw_only=True)
class CoinBoardRules(GridRules):
    """What makes a variant of Coins on large boards.

    Args:
        coin_probability (float): probability of a coin on a free cell where coins appear, in a step. Its owner is any
            agent, each as likely.
        coin_reward (float): what a coin pays to who takes it.
        penalty (float): what its owner gets when another takes it, at most 0.
    """

    coin_probability: float
    coin_reward: float = 1.0
    penalty: float = -2.0


_WIDE_VIEW: dict[str, Any] = {"view": 11, "view_behind": 1}
VARIANTS = {
    # Ours, for quick work on a CPU, for up to four agents.
    "small": CoinBoardRules(map="small", max_steps=100, view=7, actions="compass", coin_probability=0.005),
    # Leibo et al. 2021 (arXiv 2107.06857), coins, whose board is drawn for each episode.
    "melting_pot": CoinBoardRules(
        **_WIDE_VIEW,
        map="melting_pot",
        max_steps=5000,
        min_steps=300,
        end_interval=100,
        end_chance=0.05,
        actions="turn",
        coin_probability=0.0005,
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, coin_game, individual rewards: 0.0005 for
    # each of two colours. Of 1000 steps the last pays nothing.
    "socialjax": CoinBoardRules(**_WIDE_VIEW, map="socialjax", max_steps=999, actions="fixed", coin_probability=0.001),
}


def check_coin_board_rules(rules: CoinBoardRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    check_probability("task.coin_probability", rules.coin_probability)
    check_option("task.coin_reward", rules.coin_reward, 0 <= rules.coin_reward < math.inf, "a finite number >= 0")
    check_option("task.penalty", rules.penalty, -math.inf < rules.penalty <= 0, "a finite number <= 0")
