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
            gold needs exactly two, in the code more do as well
socialjax   gold pays the last of its miners only (here both); of two who hit iron together the lower seat is paid (here
            one is drawn); another hit by the same agent does not renew the window; ore appears under agents, too;
            rewards are multiplied by the number of agents
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics
from benchmarl_reciprocator.tasks.grid.mining.players import PLAYERS
from benchmarl_reciprocator.tasks.grid.mining.rules import (
    NUMBERS,
    THINGS,
    VARIANTS,
    MiningRules,
    check_mining_rules,
)
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.sight import Scene
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("coop_mining")
START = {"O": None}
FLOORS = {"O": "#DCD7CB"}
COUNTS = ("iron", "gold", "gold_hits")


class CoopMiningEnv(GridWorldEnv):
    """Coop mining: +1 for iron, and +8 to each of two who mine gold together.

    Gold that was hit shows it, until it is mined or no second agent has hit it in time. Another hit by the same agent
    renews the time. Each agent knows how far its beam has cooled down, 1 if it can be fired.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (MiningRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`GridWorldEnv`.

    Attributes:
        miner (Tensor): who has hit the gold on each cell, ``N`` for nobody: ``[B, n + 2]``.
        window (Tensor): in how many more steps that counts, this one included, ``[B, n + 2]``.
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
            n_numbers=len(NUMBERS),
            **kwargs,
        )
        self.ground = self.grid.cells("O")
        size = self.ground.stop - self.ground.start
        check_option("the number of ore cells 'O' in task.map", size, size >= 1, "at least 1")
        self.miner = torch.full_like(self.things, n_agents)
        self.window = torch.zeros_like(self.things)

    def start(self, where: Tensor) -> None:
        self.miner = self.miner.masked_fill(where.unsqueeze(-1), self.n_agents)
        self.window = self.window.masked_fill(where.unsqueeze(-1), 0)
        super().start(where)

    def numbers(self) -> Tensor:
        return 1 - self.wait("mine").unsqueeze(-1) / (self.rules.mine_cooldown + 1)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._let_time_pass()
        iron, gold, hits = self._mine()
        self.grow(self.ground, "iron", self.rules.iron_probability)
        self.grow(self.ground, "gold", self.rules.gold_probability)
        rewards = self.rules.iron_reward * iron + self.rules.gold_reward * gold
        return rewards, {"iron": iron, "gold": gold, "gold_hits": hits}

    def _let_time_pass(self) -> None:
        """Gold that no second agent has hit in time is whole again."""
        over = self.window == 1
        self.window = (self.window - 1).clamp_(min=0)
        self.things.masked_fill_(over, self.things_named["gold"])
        self.miner.masked_fill_(over, self.n_agents)

    def _mine(self) -> tuple[Tensor, Tensor, Tensor]:
        """Let the beams of this step hit ore: how much iron and how much gold each agent mines, and who hits gold,
        float ``[B, N]`` each.
        """
        named, nobody = self.things_named, self.n_agents
        # A ray ends at the first ore, so that it meets one at most.
        reach = self.reached("mine").flatten(2)
        lying = self.things.gather(1, reach.flatten(1)).view_as(reach)
        kind, ahead = lying.max(-1)
        cell = reach.gather(-1, ahead.unsqueeze(-1)).squeeze(-1)
        on_iron, on_gold = kind == named["iron"], kind >= named["gold"]
        cell = torch.where(on_iron | on_gold, cell, self.grid.nowhere)
        same = cell.unsqueeze(-1) == cell.unsqueeze(-2)
        # Who has hit the gold that each hits now, and whether that is another.
        before = torch.where(on_gold, self.miner.gather(1, cell), nobody)
        partner = (before < nobody) & (before != self._seats)
        # Each agent's place among those that hit the same ore, but for whoever has hit it before.
        drawn = self.random(*cell.shape)
        new = before != self._seats
        place = (same & new.unsqueeze(-2) & (drawn.unsqueeze(-2) > drawn.unsqueeze(-1))).sum(-1)
        count = (same & new.unsqueeze(-2)).sum(-1)
        mined = on_gold & (count + (before < nobody) >= 2)
        gold = mined & (~new | (place < torch.where(before < nobody, 1, 2)))
        # Who has hit it before and does not now is paid by the first of the new ones.
        absent = ~(same & ~new.unsqueeze(-2)).any(-1)
        pays = mined & partner & new & (place == 0) & absent
        iron = on_iron & (place == 0)
        paid = torch.zeros(*self.batch_size, nobody + 1, device=self.device)
        paid.scatter_add_(1, torch.where(pays, before, nobody).long(), pays.float())
        # Whoever hits nothing writes nothing nowhere. All who hit the same ore write the same.
        gone, waits = on_iron | mined, on_gold & ~mined
        left = torch.where(gone, named["nothing"], torch.where(waits, named["hit_gold"], -1))
        self.things.scatter_(1, cell, left.to(self.things.dtype))
        self.miner.scatter_(1, cell, torch.where(waits, self._seats, nobody).to(self.miner.dtype))
        self.window.scatter_(1, cell, torch.where(waits, self.rules.gold_window, 0).to(self.window.dtype))
        return iron.float(), gold.float() + paid[:, :-1], on_gold.float()


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
                paid, and ``gold_hits``, shots at gold; ``gold_share`` and ``agent_<i>_gold_share``, the share of gold in
                what their ores paid (``nan`` where that is 0); ``gold_hit_success``, gold over hits at gold.
        """
        metrics = grid_metrics(trajectories, valid, COUNTS)
        rules, _ = self.rules_among(VARIANTS, MAPS)
        for prefix in ("", *(f"agent_{agent}_" for agent in range(self.n_agents))):
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
        scene = Scene(
            n_agents=self.n_agents,
            rules=rules,
            observation=self.observation,
            things=tuple(THINGS),
            beams={"mine": rules.mine_beam()},
            numbers=NUMBERS,
        )
        return {name: partial(make, scene) for name, make in PLAYERS.items()}
