"""Externality mushrooms: red ones pay whoever eats them, green ones all, blue ones all others; red ones run out.

In a step all move at once; then each eats the mushroom on its cell and digests it; agents are zapped; mushrooms spoil;
and the spores of what was eaten become mushrooms on other cells.

Source of the rules: ``externality_mushrooms__dense`` of Melting Pot (Leibo et al. 2021, arXiv 2107.06857; code of
v2.4.0, whose rules are those of November 2022), and ``mushrooms`` of SocialJax (Guo et al. 2025, arXiv 2503.14576; code
of August 2026). What differs in their code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         maps are others, of the same size and structure
melting_pot agents move one after another in a random order, and chains only follow who is drawn earlier; agents can zap
            while they digest; who is zapped a second time is removed one step later; of two spores on one cell the
            later one wins (here blue before green before red); an episode ends by chance at steps 1099, 1199, ... (here
            1000, 1100, ...); agents see how far their own beam has cooled down (here everybody sees whose cannot be
            fired); the text at the head of the configuration has other numbers than the code, of digestion and spoiling
socialjax   spores become mushrooms one step later; red ones come from orange ones, too; nothing grows again on the
            cells of the first mushrooms; orange ones cost 0.2 whatever the number of agents; rewards are multiplied by
            the number of agents; an agent that was zapped is seen on its old cell for one step more; nobody starts
            looking west
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import SPAWN, shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, prefixes
from benchmarl_reciprocator.tasks.grid.mushrooms.players import PLAYERS
from benchmarl_reciprocator.tasks.grid.mushrooms.rules import (
    COLOURS,
    MARKS,
    SPROUTING,
    THINGS,
    VARIANTS,
    MushroomRules,
    check_mushroom_rules,
)
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.world import ZAP_COLOUR, GridWorldEnv
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("externality_mushrooms")
START = {"M": None, "R": "red", "G": "green", "B": "blue", "O": "orange"}
FLOORS = {symbol: "#CFDDB4" for symbol in (*START, SPAWN)}
ORANGE = COLOURS.index("orange")
# A step that never comes.
NEVER = -2


class ExternalityMushroomsEnv(GridWorldEnv):
    """Externality mushrooms: +1 for a red one to who eats it, 2 for a green one shared by all, 3 for a blue one shared
    by all others, and -1 for an orange one shared by all.

    Who has eaten is frozen for as long as it digests, and everybody sees that. Mushrooms grow from spores alone, on any
    cell but floor. Where there is zapping, everybody sees whose beam is cooling down.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (MushroomRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`GridWorldEnv`.

    Attributes:
        spoils (Tensor): in which step of the episode, from 0, what lies on each cell spoils, ``[B, n + 2]``.
        warned (Tensor): up to which step a second hit removes each agent, ``[B, N]``.
    """

    rules: MushroomRules

    def __init__(self, n_agents: int, rules: MushroomRules, rows: list[str], **kwargs: Any) -> None:
        check_mushroom_rules(rules)
        super().__init__(
            n_agents,
            rules,
            rows,
            things=THINGS,
            start=START,
            floors=FLOORS,
            info=COLOURS,
            marks=MARKS if rules.zap_length else {"frozen": MARKS["frozen"]},
            **kwargs,
        )
        self.ground = self.grid.cells("M" + SPAWN)
        first = self.grid.cells("RO")
        size = first.stop - first.start
        check_option("the number of mushrooms 'R', 'G', 'B' or 'O' in task.map", size, size >= 1, "at least 1")
        device = self.device
        self._edible = self.things_named[COLOURS[0]]
        self._digestion = torch.tensor(rules.digestion, device=device)
        self._kinds = torch.arange(len(COLOURS), device=device)
        # By colour and number of a spore: the probability that it becomes a mushroom of each colour.
        spore = torch.arange(max(*rules.spores, 1), device=device)
        has = (spore < torch.tensor(rules.spores, device=device).unsqueeze(-1)).float()
        self._sprouting = has.unsqueeze(-1) * torch.tensor(SPROUTING, device=device).unsqueeze(1)
        # By number of thing: steps until it spoils, 0 for never. The last is that of nothing nowhere.
        self._lifetimes = torch.tensor([0] * self._edible + list(rules.lifetime) + [0], device=device)
        # What a mushroom of each colour pays to all, and what to its eater beside that.
        blue = rules.blue_reward / (n_agents - 1)
        self._own = torch.tensor([rules.red_reward, 0, -blue, 0], device=device)
        self._shared = torch.tensor(
            [0, rules.green_reward / n_agents, blue, -rules.orange_cost / n_agents], device=device
        )
        self.spoils = torch.full(self.things.shape, NEVER, device=device)
        self.warned = torch.full_like(self.cells, NEVER)

    def start(self, where: Tensor) -> None:
        super().start(where)
        self._date(where)
        self.warned = self.warned.masked_fill(where.unsqueeze(-1), NEVER)

    def place(self, cells: Tensor | None = None, facing: Tensor | None = None, things: Tensor | None = None) -> None:
        super().place(cells, facing, things)
        if things is not None:
            self._date(torch.ones(self.batch_size, dtype=torch.bool, device=self.device))

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        under = self.things.gather(1, self.cells)
        eats = under >= self._edible
        row, eater = eats.nonzero(as_tuple=True)
        # Where spores may fall: on cells where nothing lay at the beginning of the step.
        free = self.things[row, self.ground] == 0
        self.things.scatter_(1, self.cells, under.masked_fill(eats, 0))
        colour = under[row, eater].long() - self._edible
        self.frozen[row, eater] = torch.maximum(self._digestion[colour], self.frozen[row, eater])
        if self.rules.zap_length:
            self._strike()
            self.marks["cooling"] = self.wait("zap") > 0
        if any(self.rules.lifetime):
            self.things.masked_fill_(self.spoils == self._steps.unsqueeze(-1), 0)
        if len(row):
            if self.rules.orange_kills:
                self._kill_reds(row[colour == ORANGE])
            self._sprout(row, colour, free)
        eaten = (under.unsqueeze(-1) == self._kinds + self._edible).float()
        return self._payoffs(eaten), dict(zip(COLOURS, eaten.unbind(-1)))

    def _date(self, where: Tensor) -> None:
        """Let what lies in the environments ``where`` have begun to lie there just now."""
        lifetimes = self._lifetimes[self.things.long()]
        spoils = torch.where(lifetimes > 0, self._steps.unsqueeze(-1) - 1 + lifetimes, NEVER)
        self.spoils = torch.where(where.unsqueeze(-1), spoils, self.spoils)

    def _payoffs(self, eaten: Tensor) -> Tensor:
        """Rewards ``[B, N]`` for what was eaten, by colour, float ``[B, N, 4]``."""
        return eaten @ self._own + (eaten.sum(-2) @ self._shared).unsqueeze(-1)

    def _strike(self) -> None:
        """Let zapping beams destroy mushrooms, freeze agents and, a second time, take them out of the world."""
        rules, reach = self.rules, self.reached("zap").flatten(1)
        if rules.zap_destroys:
            lying = self.things.gather(1, reach)
            self.things.scatter_(1, reach, lying.masked_fill(lying >= self._edible, 0))
        if rules.zap_freeze:
            struck = torch.zeros(*self.batch_size, self.n_agents + 1, dtype=torch.bool, device=self.device)
            struck = struck.scatter_(1, self.seats_at(reach), True)[:, :-1]
            now = self._steps.unsqueeze(-1)
            again = struck & (now <= self.warned)
            once = struck & ~again
            self.freeze(once, self.frozen.clamp(min=rules.zap_freeze))
            self.warned = torch.where(once, now + rules.zap_memory, self.warned.masked_fill(again, NEVER))
            self.freeze(again, 0)
            self.leave(again, rules.zap_removal)

    def _kill_reds(self, rows: Tensor) -> None:
        """Let red mushrooms vanish in the environments ``rows``, which stand there once for each orange one eaten."""
        for_each, meals = rows.unique_consecutive(return_counts=True)
        survives = (1 - self.rules.orange_kills) ** meals.unsqueeze(-1)
        lying = self.things[for_each]
        dies = (lying == self.things_named["red"]) & (self.random(*lying.shape) >= survives)
        self.things[for_each] = lying.masked_fill(dies, 0)

    def _sprout(self, row: Tensor, colour: Tensor, free: Tensor) -> None:
        """Let the spores of what was eaten become mushrooms, each on a cell drawn at random.

        Args:
            row (Tensor): in which environment each mushroom was eaten, ``[E]``, in ascending order.
            colour (Tensor): its colour.
            free (Tensor): where nothing lay there before, boolean ``[E, ground]``.
        """
        rules, ground = self.rules, self.ground
        chances = self._sprouting[colour]
        if rules.spore_limit:
            tried = (chances > 0).flatten(0, 1).cumsum(0).view_as(chances)
            tried_before = F.pad(tried[:, -1], (0, 0, 1, 0))[torch.searchsorted(row, row)].unsqueeze(1)
            chances = chances * (tried - tried_before <= rules.spore_limit)
        if rules.crowd_limit:
            lying = self.things[row, ground].unsqueeze(-1)
            standing = (lying == self._kinds + self._edible).sum(1, keepdim=True)
            chances = chances * (standing <= rules.crowd_limit)
        meal, _, kind = (self.random(*chances.shape) < chances).nonzero(as_tuple=True)
        order, row, kind = free[meal].cumsum(-1), row[meal], kind + self._edible
        count = order[:, -1:]
        fallen = torch.searchsorted(order, (self.random(len(row), 1) * count).long() + 1).squeeze(-1)
        place = row * self.things.shape[1] + fallen.clamp(max=free.shape[-1] - 1) + ground.start
        lives = (count.squeeze(-1) > 0) & (self._standing.take(place) == 0)
        kinds = (kind * lives).to(self.things.dtype)
        # On these cells lies nothing, 0, but what has just fallen.
        self.things.view(-1).scatter_reduce_(0, place, kinds, "amax")
        lifetimes = self._lifetimes[self.things.take(place).clamp(min=0).long()]
        until = torch.where(lifetimes > 0, self._steps[row] + lifetimes, NEVER)
        self.spoils.put_(place, torch.where(lives, until, self.spoils.take(place)))


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of externality mushrooms. Rules that are ``None`` are taken from the variant, see
    :class:`MushroomRules`.
    """

    version: ClassVar[int] = 1

    red_reward: float | None
    green_reward: float | None
    blue_reward: float | None
    orange_cost: float | None
    orange_kills: float | None
    digestion: Any
    spores: Any
    spore_limit: int | None
    crowd_limit: int | None
    lifetime: Any
    zap_destroys: bool | None
    zap_freeze: int | None
    zap_memory: int | None
    zap_removal: int | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> ExternalityMushroomsEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return ExternalityMushroomsEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Mushrooms and peace of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for ``red``, ``green``, ``blue`` and ``orange``,
                mushrooms eaten; ``shared_share`` and ``agent_<i>_shared_share``, the share of green and blue among
                them, and ``blue_share`` and ``agent_<i>_blue_share``, that of blue (``nan`` where none was eaten).
        """
        metrics = grid_metrics(trajectories, valid, COLOURS)
        for prefix in prefixes(self.n_agents):
            red, green, blue, orange = (metrics[f"{prefix}{colour}"] for colour in COLOURS)
            metrics[f"{prefix}shared_share"] = (green + blue) / (red + green + blue + orange)
            metrics[f"{prefix}blue_share"] = blue / (red + green + blue + orange)
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share of mushrooms that pay others, too, among those eaten."""
        return CooperationMeasure("shared_share", "green and blue share")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of :data:`~benchmarl_reciprocator.tasks.grid.mushrooms.players.PLAYERS`, by name."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        zaps = rules.zap_length > 0
        return self.seeing_players(
            PLAYERS,
            rules,
            things=tuple(THINGS),
            beams={"zap": rules.zap_beam(ZAP_COLOUR)} if zaps else {},
            marks=tuple(MARKS) if zaps else ("frozen",),
        )
