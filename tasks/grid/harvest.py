"""Harvest: apples grow back faster the more are left near them, and a patch that is eaten up is lost.

In a step all move at once; then each takes the apple on its cell; apples grow, by those that are left; agents are
zapped; and those whose time-out is over come back.

What is left that differs from the sources' code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         maps are others, of the same size and structure
ssdg        apples grow after zapping, which makes no difference, and may grow before the first step, too
melting_pot agents move one after another in a random order, and chains only follow who is drawn earlier; seats 0 and 1
            start and come back on cells of their own in open, too; chances of apples are those of the apples before the
            step, and they grow under agents too, and are taken at once; agents see whether they can zap; an episode
            ends by chance at steps 1099, 1199, ..., at last 5000 (here after 1000; task.max_steps=5000
            task.min_steps=1000 task.end_interval=100 task.end_chance=0.15 comes near it)
socialjax   two agents start on cells of their own in every map, and come back outside; apples grow at the start of a
            step, so that they are first seen a step later; one diagonal neighbour is not counted in the last column;
            rewards are multiplied by the number of agents; an agent that was zapped is seen on its old cell for one
            step more; beams pass walls; nobody starts looking west
=========== ============================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import GridMap, shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, mean_over_steps, prefixes
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.players import harvest_players
from benchmarl_reciprocator.tasks.grid.rules import GridRules, check_probability
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("harvest")
THINGS = {"apple": "#D0342C"}
START = {"A": "apple", "Q": None}
# Seats that start, and come back, on cells of their own, where the map has any.
OWN_STARTS = {"Q": (0, 1)}
INFO = ("apples", "last_apples", "apples_left")
FLOORS = {"A": "#B7D98B"}


@dataclass(frozen=True, kw_only=True)
class HarvestRules(GridRules):
    """What makes a variant of Harvest.

    Args:
        regrowth (sequence of float): probability of an apple on a free cell where apples grow, in a step, by how
            many apples there are near it: none, one, two, ...; the last holds for all larger numbers.
        radius (float): largest distance between the centres of cells that are near.
    """

    regrowth: tuple[float, ...]
    radius: float


_WIDE_VIEW: dict[str, Any] = {"view": 11, "view_behind": 1, "actions": "turn", "max_steps": 1000}
VARIANTS = {
    # Ours, for quick work on a CPU. Zapping is off.
    "small": HarvestRules(
        map="small_open",
        max_steps=64,
        view=7,
        actions="compass",
        zap_timeout=10,
        regrowth=(0.0, 0.01, 0.03, 0.06),
        radius=2.0,
    ),
    # Vinitsky et al. 2019, github.com/eugenevinitsky/sequential_social_dilemma_games: being zapped costs 50 and has no
    # time-out. In its code, near is at most the square root of 2 away.
    "ssdg": HarvestRules(
        **{**_WIDE_VIEW, "view": 15, "view_behind": None},
        map="ssdg",
        beam_shape="beside",
        zap_length=5,
        zap_width=3,
        zap_penalty=50.0,
        zap_cost=1.0,
        regrowth=(0.0, 0.005, 0.02, 0.05),
        radius=math.sqrt(2),
    ),
    # Leibo et al. 2021 (arXiv 2107.06857), commons_harvest__open, after Perolat et al. 2017 (arXiv 1707.06600). With
    # framesTillRespawn = 4 an agent loses 5 actions.
    "melting_pot": HarvestRules(
        **_WIDE_VIEW,
        map="open",
        beam_shape="beside",
        zap_length=3,
        zap_width=3,
        zap_cooldown=2,
        zap_timeout=5,
        regrowth=(0.0, 0.0025, 0.005, 0.025),
        radius=2.0,
    ),
    # Agapiou et al. 2022 (arXiv 2211.13746), commons_harvest__closed and __partnership: seats 0 and 1 start inside,
    # behind doors that their beams cover. With framesTillRespawn = 100 an agent loses 101 actions.
    **{
        f"melting_pot_{name}": HarvestRules(
            **_WIDE_VIEW,
            map=name,
            beam_shape="beside",
            zap_length=4,
            zap_width=3,
            zap_cooldown=1,
            zap_timeout=101,
            regrowth=(0.0, 0.001, 0.005, 0.025),
            radius=2.0,
        )
        for name in ("closed", "partnership")
    },
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, individual rewards. Of 1000 steps the last
    # pays nothing.
    "socialjax": HarvestRules(
        **{**_WIDE_VIEW, "actions": "fixed", "max_steps": 999},
        map="open",
        beam_shape="arrow",
        zap_length=2,
        zap_width=3,
        zap_restart=True,
        zap_through_agents=True,
        regrowth=(0.0, 0.001, 0.005, 0.025),
        radius=2.0,
    ),
}


class HarvestEnv(GridWorldEnv):
    """Harvest (the commons) of Perolat et al. 2017 (arXiv 1707.06600) and Hughes et al. 2018: +1 for every apple.

    In a step, once all have moved, agents take the apples on their cells; apples grow back on free cells, faster the
    more are left near them; and agents are zapped, who have taken their apples by then.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (HarvestRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`GridWorldEnv`.
    """

    rules: HarvestRules

    def __init__(self, n_agents: int, rules: HarvestRules, rows: list[str], **kwargs: Any) -> None:
        check_harvest_rules(rules)
        super().__init__(
            n_agents, rules, rows, things=THINGS, start=START, floors=FLOORS, own_starts=OWN_STARTS, info=INFO, **kwargs
        )
        self.orchard = self.grid.cells("A")
        size = self.orchard.stop - self.orchard.start
        check_option("the number of apple cells 'A' in task.map", size, size >= 1, "at least 1")
        self.near = near_cells(self.grid, self.orchard, rules.radius).to(self.device)
        self.regrowth = torch.tensor(rules.regrowth, device=self.device)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        apples = self.take("apple")
        lying = self.lies(self.orchard, "apple")
        neighbours = lying @ self.near
        cell = (self.cells - self.orchard.start).clamp(0, lying.shape[1] - 1)
        last = apples & (neighbours.gather(1, cell) == 0)
        self.grow(self.orchard, "apple", self.regrowth.take(neighbours.long().clamp(max=len(self.regrowth) - 1)))
        left = self.lies(self.orchard, "apple").mean(-1, keepdim=True)
        apples = apples.float()
        return apples, {"apples": apples, "last_apples": last, "apples_left": left.expand_as(apples)}


def near_cells(grid: GridMap, cells: slice, radius: float) -> Tensor:
    """1 where two of ``cells``, not the same, are at most ``radius`` apart, walls or not: ``[A, A]``."""
    places = grid.places[cells].float()
    return ((torch.cdist(places, places) <= radius + 1e-4) & ~torch.eye(len(places), dtype=torch.bool)).float()


def check_harvest_rules(rules: HarvestRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule of Harvest is invalid."""
    check_option("task.radius", rules.radius, 0 < rules.radius < math.inf, "a finite number > 0")
    is_list = isinstance(rules.regrowth, Sequence) and len(rules.regrowth) >= 1
    check_option("task.regrowth", rules.regrowth, is_list, "a list of one probability or more")
    for number, chance in enumerate(rules.regrowth):
        check_probability(f"task.regrowth for {number} apples near", chance)


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of Harvest. Rules that are ``None`` are taken from the variant, see :class:`HarvestRules`."""

    # 2: the published variants have the shapes of beams and time-outs of their sources; small is as it was.
    version: ClassVar[int] = 2

    regrowth: Any
    radius: float | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> HarvestEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return HarvestEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of scripted players, by name: ``cooperate``, ``defect``, ``tit_for_tat`` and ``random``."""
        return harvest_players(lambda: self.make_env(1, "cpu", 0), THINGS)

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Apples, restraint and peace of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for ``apples``; ``restraint`` and
                ``agent_<i>_restraint``, the share of the apples taken that left another near them (``nan`` where none
                was taken); ``apples_left``, mean share of the cells where apples grow that have one.
        """
        metrics = grid_metrics(trajectories, valid, ("apples", "last_apples"))
        for prefix in prefixes(self.n_agents):
            metrics[f"{prefix}restraint"] = 1 - metrics.pop(f"{prefix}last_apples") / metrics[f"{prefix}apples"]
        return {**metrics, "apples_left": mean_over_steps(trajectories, valid, "apples_left")}

    def cooperation(self) -> CooperationMeasure:
        """The share of the apples taken that left another near them."""
        return CooperationMeasure("restraint", "restraint")
