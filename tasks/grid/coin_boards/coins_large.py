"""Coins on large boards: many coins lie on a walled board, and taking another's costs it more than the coin pays.

In a step all move at once; then each takes the coin on its cell; and coins appear on free cells. This is Coins as a
grid world: agents see a part of the board and do not share cells. The torus of 3 by 3 cells is
:mod:`~benchmarl_reciprocator.tasks.coins.game`.

Source of the rules: ``coins`` of Melting Pot (Leibo et al. 2021, arXiv 2107.06857; code of v2.4.0), and ``coin_game``
of SocialJax (Guo et al. 2025, arXiv 2503.14576; code of August 2026). What differs in their code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         games are for two; an agent has a colour, and so have its coins (here every agent sees itself and its own
            coins first, as in Coins); coins appear before the moves, so that one may be taken in the step in which it
            appears
melting_pot the board has 10 to 15 rows and as many columns, both drawn for each episode (here 12 rows and 13 columns,
            since all environments share a map; also ``map: melting_pot_10`` and ``melting_pot_15``); agents move one
            after another in a random order, and chains only follow who is drawn earlier; coins appear under agents,
            too; an episode ends by chance at steps 399, 499, ... (here 300, 400, ...); agents are told when another
            takes their coin, for the use of scripted ones
socialjax   rewards are multiplied by the number of agents, or are everybody's sum; the two colours are drawn one after
            the other, so that a coin of either appears with .00099975 (here .001); nobody starts looking west
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.coin_boards.players import PLAYERS, coins_in_sight
from benchmarl_reciprocator.tasks.grid.coin_boards.rules import (
    VARIANTS,
    CoinBoardRules,
    check_coin_board_rules,
    things,
)
from benchmarl_reciprocator.tasks.grid.growth import RareGrowthEnv
from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, prefixes
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.world import ZAP_COLOUR
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("coins_large")
START = {"C": None}
COUNTS = ("own_coins", "others_coins", "lost_coins")


class CoinBoardEnv(RareGrowthEnv):
    """Coins on a large board: +1 for every coin, and -2 for its owner if another takes it.

    Every agent sees its own coins first, then those of the seats after it.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (CoinBoardRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv`.
    """

    rules: CoinBoardRules

    def __init__(self, n_agents: int, rules: CoinBoardRules, rows: list[str], **kwargs: Any) -> None:
        check_coin_board_rules(rules)
        # Checked with the other rules, but there is a colour for no more
        coins = things(min(max(n_agents, 0), 10))
        super().__init__(
            n_agents, rules, rows, things=coins, start=START, info=COUNTS, things_of_seats=tuple(coins), **kwargs
        )
        self.ground = self.grid.cells("C")
        size = self.ground.stop - self.ground.start
        check_option("the number of coin cells 'C' in task.map", size, size >= 1, "at least 1")
        self._first_coin = self.things_named["coin_0"]
        self._chances = {coin: rules.coin_probability / n_agents for coin in coins}

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        under = self.things.gather(1, self.cells)
        owner = under.long() - self._first_coin
        takes = owner >= 0
        self.things.scatter_(1, self.cells, under.masked_fill(takes, 0))
        own = takes & (owner == self._seats)
        others = takes & ~own
        # Who takes no other's coin takes nobody's.
        lost = torch.zeros(*self.batch_size, self.n_agents + 1, device=self.device)
        lost = lost.scatter_add_(1, owner.masked_fill(~others, self.n_agents), others.float())[:, :-1]
        self.grow_rarely(self.ground, self._chances)
        rewards = self.rules.coin_reward * takes.float() + self.rules.penalty * lost
        return rewards, {"own_coins": own, "others_coins": others, "lost_coins": lost}


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of Coins on large boards. Rules that are ``None`` are taken from the variant, see
    :class:`CoinBoardRules`.
    """

    version: ClassVar[int] = 1

    coin_probability: float | None
    coin_reward: float | None
    penalty: float | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> CoinBoardEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return CoinBoardEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Coins of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for ``own_coins`` and ``others_coins``, coins that
                agents took, and ``lost_coins``, own ones that others took; ``own_coin_share`` and
                ``agent_<i>_own_coin_share``, own coins among all taken (``nan`` where none was).
        """
        metrics = grid_metrics(trajectories, valid, COUNTS)
        for prefix in prefixes(self.n_agents):
            own = metrics[f"{prefix}own_coins"]
            metrics[f"{prefix}own_coin_share"] = own / (own + metrics[f"{prefix}others_coins"])
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share of own coins among all that agents take."""
        return CooperationMeasure("own_coin_share", "own-coin share")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of :data:`~benchmarl_reciprocator.tasks.grid.coin_boards.players.PLAYERS`, by name."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        return self.seeing_players(
            PLAYERS,
            rules,
            things=coins_in_sight(self.n_agents),
            beams={"zap": rules.zap_beam(ZAP_COLOUR)} if rules.zap_length else {},
        )
