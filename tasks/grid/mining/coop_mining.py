"""Coop mining: iron pays whoever mines it, gold pays far more, but only two who hit it together.

In a step all move at once; then ore that is hit is mined: iron by one of those who hit it, gold once two different
agents have hit it within a few steps; and ore appears. Agents walk over ore, and beams pass through agents.

Source of the rules: ``coop_mining`` of Melting Pot (Leibo et al. 2021, arXiv 2107.06857; code of v2.4.0, whose rules
are those of November 2022), and ``coop_mining`` of SocialJax (Guo et al. 2025, arXiv 2503.14576; code of August 2026).
What differs in their code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         maps are others, of the same size and structure
melting_pot agents move one after another in a random order, and chains only follow who is drawn earlier; beams come
            before the moves; of three or more who hit gold together the first two are paid and it stays half mined, and
            four are paid twice (here two are drawn, and it is gone); two who hit iron together are both paid (here
            one); an episode ends by chance at steps 1099, 1199, ... (here 1000, 1100, ...); the description says that
            gold needs exactly two, in the code more do as well; agents see how far their own beam has cooled down, in
            thirds (here everybody sees whose cannot be fired)
socialjax   gold pays the last of its miners only (here both); of two who hit iron together the lower seat is paid (here
            one is drawn); another hit by the same agent does not renew the window; ore appears under agents, too;
            rewards are multiplied by the number of agents
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.growth import RareGrowthEnv
from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, prefixes
from benchmarl_reciprocator.tasks.grid.mining.players import PLAYERS
from benchmarl_reciprocator.tasks.grid.mining.rules import (
    MARKS,
    THINGS,
    VARIANTS,
    MiningRules,
    check_mining_rules,
)
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("coop_mining")
START = {"O": None}
FLOORS = {"O": "#DCD7CB"}
COUNTS = ("iron", "gold", "gold_hits")
# A step that never comes.
NEVER = -1


class CoopMiningEnv(RareGrowthEnv):
    """Coop mining: +1 for iron, and +8 to each of two who mine gold together.

    Gold that was hit shows it, until it is mined or no second agent has hit it in time. Another hit by the same agent
    renews the time. Everybody sees whose beam is cooling down.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (MiningRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv`.

    Attributes:
        miner (Tensor): who has hit the gold on each cell last, ``[B, n + 2]``.
        until (Tensor): from which step of the episode on that does not count any more, ``[B, n + 2]``.
    """

    rules: MiningRules

    def __init__(self, n_agents: int, rules: MiningRules, rows: list[str], **kwargs: Any) -> None:
        check_mining_rules(rules)
        super().__init__(
            n_agents,
            rules,
            rows,
            things=THINGS,
            start=START,
            floors=FLOORS,
            beams={"mine": rules.mine_beam()},
            info=COUNTS,
            marks=MARKS,
            **kwargs,
        )
        self.ground = self.grid.cells("O")
        size = self.ground.stop - self.ground.start
        check_option("the number of ore cells 'O' in task.map", size, size >= 1, "at least 1")
        self.miner = torch.zeros(self.things.shape, dtype=torch.long, device=self.device)
        self.until = torch.full(self.things.shape, NEVER, device=self.device)

    def start(self, where: Tensor) -> None:
        self.until = self.until.masked_fill(where.unsqueeze(-1), NEVER)
        super().start(where)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Gold that no second agent has hit in time is whole again.
        over = self.until == self._steps.unsqueeze(-1)
        self.things.masked_fill_(over, self.things_named["gold"])
        iron, gold, hits = self._mine()
        self.marks["cooling"] = self.wait("mine") > 0
        rules = self.rules
        self.grow_rarely(self.ground, {"iron": rules.iron_probability, "gold": rules.gold_probability})
        return rules.iron_reward * iron + rules.gold_reward * gold, {"iron": iron, "gold": gold, "gold_hits": hits}

    def _mine(self) -> tuple[Tensor, Tensor, Tensor]:
        """Let the beams of this step hit ore: how much iron and how much gold each agent mines, and who hits gold,
        float ``[B, N]`` each.
        """
        named, nobody = self.things_named, self.n_agents
        # A ray ends at the first ore, so that it meets one at most; all ores have larger numbers than what else lies.
        reach = self.reached("mine").flatten(2)
        lying = self.things.gather(1, reach.flatten(1)).view_as(reach)
        kind, at = lying.max(-1, keepdim=True)
        cell = reach.gather(-1, at).masked_fill_(kind < named["iron"], self.grid.nowhere).squeeze(-1)
        kind = kind.squeeze(-1)
        on_iron, on_gold = kind == named["iron"], kind > named["iron"]
        same = cell.unsqueeze(-1) == cell.unsqueeze(-2)
        # Who has hit the gold before that each hits now, and whether it is not itself.
        waits = on_gold & (self.until.gather(1, cell) > self._steps.unsqueeze(-1))
        before = self.miner.gather(1, cell).masked_fill(~waits, nobody)
        new = before != self._seats
        # Each agent's place among the new ones that hit the same ore.
        drawn = self.random(*cell.shape)
        rivals = same & new.unsqueeze(-2)
        place = (rivals & (drawn.unsqueeze(-2) > drawn.unsqueeze(-1))).sum(-1)
        mined = on_gold & (rivals.sum(-1) + waits >= 2)
        gold = (mined & (~new | (place + waits < 2))).float()
        # Who has hit it before and does not now is paid once, for the first of the new ones.
        pays = mined & waits & (place == 0) & ~(same & ~new.unsqueeze(-2)).any(-1)
        row, seat = pays.nonzero(as_tuple=True)
        gold.index_put_((row, before[row, seat]), gold.new_ones(()), accumulate=True)
        # Whoever hits nothing writes nothing nowhere. All who hit the same ore write the same.
        half = on_gold & ~mined
        left = torch.where(half, named["hit_gold"], (kind > 0).int() - 1)
        self.things.scatter_(1, cell, left.to(self.things.dtype))
        self.miner.scatter_(1, cell, self._seats.expand_as(cell))
        self.until.scatter_(1, cell, (self._steps.unsqueeze(-1) + self.rules.gold_window).masked_fill(~half, NEVER))
        return (on_iron & (place == 0)).float(), gold, on_gold.float()


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of coop mining. Rules that are ``None`` are taken from the variant, see :class:`MiningRules`."""

    version: ClassVar[int] = 1

    iron_probability: float | None
    gold_probability: float | None
    iron_reward: float | None
    gold_reward: float | None
    gold_window: int | None
    mine_length: int | None
    mine_cooldown: int | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> CoopMiningEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return CoopMiningEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Ore and peace of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for ``iron`` and ``gold``, ores for which agents were
                paid, and ``gold_hits``, shots at gold; ``gold_share`` and ``agent_<i>_gold_share``, the share of gold
                in what their ores paid (``nan`` where that is 0); ``gold_hit_success``, gold over hits at gold.
        """
        metrics = grid_metrics(trajectories, valid, COUNTS)
        rules, _ = self.rules_among(VARIANTS, MAPS)
        for prefix in prefixes(self.n_agents):
            gold = rules.gold_reward * metrics[f"{prefix}gold"]
            metrics[f"{prefix}gold_share"] = gold / (gold + rules.iron_reward * metrics[f"{prefix}iron"])
        metrics["gold_hit_success"] = metrics["gold"] / metrics["gold_hits"]
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share of gold in what ore paid."""
        return CooperationMeasure("gold_share", "gold share")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of :data:`~benchmarl_reciprocator.tasks.grid.mining.players.PLAYERS`, by name."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        return self.seeing_players(
            PLAYERS,
            rules,
            things=tuple(THINGS),
            beams={"mine": rules.mine_beam()},
            marks=tuple(MARKS),
        )
