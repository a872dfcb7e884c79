"""Rules and variants of in-the-matrix, and the checks that tell a user which one is invalid.

What is left that differs from the sources' code:

=============== ========================================================================================================
variant         in the source
=============== ========================================================================================================
all             maps are others, of the same size and structure, and those of stag hunt have more hares than stags
melting_pot_*   agents move one after another in a random order; of the partner's inventory agents see, while they are
                frozen, only a colour for the interval of its reward; in repeated all others look alike; the game of
                rock, paper and scissors ends with chance .2 (task.end_chance) and resources wait 15 steps; a shot at an
                agent that is frozen or has collected nothing keeps both from meeting others in that step; an episode
                may end at steps 1099, 1199, ... (1000, 1100, ... here)
storm           agents start looking in one of three directions and may swap cells; the reward of the last of 152 steps
                is set to 0 (an episode has 151 here)
=============== ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules, check_probability, check_width
from benchmarl_reciprocator.tasks.options import check_option, one_of

BEAM_COLOUR = "#F5C400"
# Colours of the classes of resources: the first is the cooperative one.
CLASS_COLOURS = ("#2E8B57", "#B03060", "#4169E1", "#8A8D91", "#C08000")
# Rewards of an agent by its own class (rows) and the other's (columns), as in Melting Pot (arXiv 2211.13746).
PAYOFFS = {
    "prisoners_dilemma": ((3.0, 0.0), (5.0, 1.0)),
    "chicken": ((3.0, 2.0), (5.0, 0.0)),
    "stag_hunt": ((4.0, 0.0), (2.0, 2.0)),
    # Rock, paper, scissors: zero-sum, no social dilemma.
    "rock_paper_scissors": ((0.0, -10.0, 10.0), (10.0, 0.0, -10.0), (-10.0, 10.0, 0.0)),
}


@dataclass(frozen=True, kw_only=True)
class MatrixWorldRules(GridRules):
    """What makes a variant of in-the-matrix.

    Args:
        payoffs (str or nested sequences): one of :data:`PAYOFFS`, or a table: rewards of an agent by its own class and
            the other's, ``[K, K]``, or of both by the class of the one in the lower seat and the other's,
            ``[K, K, 2]``.
        initial_inventory (int): of each class, at the start and after an interaction.
        interact_length (int): length of the interaction beam.
        interact_width (int): number of its rays, odd.
        interact_cooldown (int): steps after a shot in which it cannot be fired.
        interact_through_agents (bool): whether it passes through agents.
        resource_hits (int): number of hits that destroy a resource, which stops the beam until then; 0: the beam passes
            resources.
        freeze (int): number of actions that both lose after an interaction; 0: they leave at once.
        pay_at_once (bool): whether both are paid when they interact, else when they are no longer frozen.
        respawn (int): number of steps for which they are out of the world after that.
        regrowth (float): probability of a resource on a free cell where it belongs, in a step.
        regrowth_delay (int): full steps that a cell waits before that.
        restore (bool): whether all resources return once nobody is in the world.
        one_shot (bool): whether an episode ends with the first interaction.
    """

    payoffs: Any
    initial_inventory: int
    interact_length: int = 3
    interact_width: int = 3
    interact_cooldown: int = 2
    interact_through_agents: bool = False
    resource_hits: int = 3
    freeze: int
    pay_at_once: bool
    respawn: int
    regrowth: float
    regrowth_delay: int
    restore: bool
    one_shot: bool = False

    def interaction_beam(self, stopped_by: str | None) -> Beam:
        """The beam that makes agents interact, and what stops it if resources do."""
        return Beam(
            self.interact_length,
            self.interact_width,
            self.interact_cooldown,
            BEAM_COLOUR,
            stopped_by if self.resource_hits else None,
            self.beam_shape,
            through_agents=self.interact_through_agents,
        )


_SMALL: dict[str, Any] = {
    "max_steps": 128,
    "view": 7,
    "actions": "compass",
    "beam_shape": "beside",
    "payoffs": "prisoners_dilemma",
    "initial_inventory": 0,
    "freeze": 5,
    "pay_at_once": True,
}
# Both are frozen for 17 steps, then paid, and S + 1 steps later (framesTillRespawn S) they are back.
_MELTING_POT: dict[str, Any] = {
    **_SMALL,
    "max_steps": 5000,
    "min_steps": 1000,
    "end_interval": 100,
    "actions": "turn",
    "view_behind": 1,
    "initial_inventory": 1,
    "freeze": 17,
    "pay_at_once": False,
    "regrowth_delay": 10,
}
# Its games for two
_MELTING_POT_PAIR: dict[str, Any] = {**_MELTING_POT, "view": 5, "map": "melting_pot_repeated", "respawn": 6}
VARIANTS = {
    # Ours, for quick work on a CPU: two that meet often, and four.
    "repeated": MatrixWorldRules(**_SMALL, map="repeated", respawn=1, regrowth=0.0, regrowth_delay=0, restore=True),
    "arena": MatrixWorldRules(**_SMALL, map="arena", respawn=5, regrowth=0.04, regrowth_delay=10, restore=False),
    # Agapiou et al. 2022 (arXiv 2211.13746), *_in_the_matrix__repeated, __arena and __one_shot: after Vezhnevets et al.
    # 2020 (OPRE, arXiv 1906.01470).
    "melting_pot_repeated": MatrixWorldRules(**_MELTING_POT_PAIR, end_chance=0.1, regrowth=0.02, restore=True),
    "melting_pot_arena": MatrixWorldRules(
        **{**_MELTING_POT, "view": 11},
        map="melting_pot_arena",
        end_chance=0.15,
        respawn=51,
        regrowth=0.04,
        restore=False,
    ),
    "melting_pot_one_shot": MatrixWorldRules(
        **{**_MELTING_POT_PAIR, "max_steps": 1000}, regrowth=0.0, restore=False, one_shot=True
    ),
    # Khan et al. 2023 (Shaper, arXiv 2312.12568) and Rutherford et al. 2023 (JaxMARL, arXiv 2311.10090), storm_2p:
    # inventories start empty, and nothing stops a beam.
    "storm": MatrixWorldRules(
        **{**_SMALL, "max_steps": 151, "view": 5, "actions": "steer", "beam_shape": "arrow", "freeze": 4},
        map="storm",
        view_behind=0,
        interact_length=2,
        interact_cooldown=0,
        interact_through_agents=True,
        resource_hits=0,
        respawn=1,
        regrowth=0.0,
        regrowth_delay=0,
        restore=True,
    ),
}


def payoff_tables(payoffs: Any) -> tuple[Tensor, Tensor]:
    """What an agent gets by its own class and the other's, ``[K, K]`` each: in the lower seat of the two, and in the
    higher.

    Args:
        payoffs (str or nested sequences): as in :class:`MatrixWorldRules`.

    Raises:
        ValueError: if the name is unknown, or the table not square, saying in which row.
    """
    key = "task.payoffs"
    if isinstance(payoffs, str):
        check_option(key, payoffs, payoffs in PAYOFFS, one_of([*PAYOFFS, "a table"]))
        payoffs = PAYOFFS[payoffs]
    most = len(CLASS_COLOURS)
    rows = isinstance(payoffs, Sequence) and 2 <= len(payoffs) <= most
    check_option(key, payoffs, rows, f"a square table of 2 to {most} rows")
    for number, row in enumerate(payoffs, 1):
        fits = isinstance(row, Sequence) and not isinstance(row, str) and len(row) == len(payoffs)
        check_option(
            f"row {number} of {key}", row, fits, f"{len(payoffs)} entries long, since a payoff table is square"
        )
    try:
        table = torch.tensor(payoffs, dtype=torch.float32)
    except (ValueError, TypeError):
        table = torch.tensor(float("nan"))
    valid = bool(table.isfinite().all()) and (table.ndim == 2 or (table.ndim == 3 and table.shape[2] == 2))
    check_option(
        key, payoffs, valid, "a table of finite numbers, or of pairs of them for the lower seat and the higher"
    )
    if table.ndim == 2:
        return table, table
    return table[..., 0], table[..., 1].T


def check_matrix_world_rules(rules: MatrixWorldRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    for key, least in (
        ("initial_inventory", 0),
        ("interact_length", 1),
        ("interact_cooldown", 0),
        ("resource_hits", 0),
        ("freeze", 0),
        ("respawn", 1),
        ("regrowth_delay", 0),
    ):
        value = getattr(rules, key)
        check_option(f"task.{key}", value, type(value) is int and value >= least, f"an integer >= {least}")
    check_width("task.interact_width", rules.interact_width)
    check_probability("task.regrowth", rules.regrowth)
    check_option("task.zap_length", rules.zap_length, rules.zap_length == 0, "0: agents interact in place of zapping")
