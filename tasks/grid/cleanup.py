"""Cleanup: apples grow only while somebody leaves the orchard and cleans the river.

In a step all move at once; then each takes the apple on its cell; all clean at once, or in ssdg one after another;
apples grow and waste appears, by the waste that is left; agents are zapped; and those whose time-out is over come back.

What is left that differs from the sources' code:

=========== ============================================================================================================
variant     in the source
=========== ============================================================================================================
all         maps are others, of the same size and structure
ssdg        beams act in the order of seats in every step (here it begins one seat further each time); apples and waste
            may appear before the first step, too
melting_pot agents move one after another in a random order, and chains only follow who is drawn earlier; chances of
            apples and waste are those of the waste before the step; apples grow under agents too, and are taken at
            once; agents see whether they can zap; an episode ends by chance at steps 1099, 1199, ..., at last 5000
socialjax   apples and waste appear at the start of a step, so that they are first seen a step later; rewards are
            multiplied by the number of agents; an agent that was zapped is seen on its old cell for one step more;
            waste under an agent cannot be cleaned; beams pass walls; nobody starts looking west
=========== ============================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, mean_over_steps
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.players import cleanup_players
from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules, check_probability, check_width
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.players import Player

MAPS = shipped_maps("cleanup")
THINGS = {"apple": "#D0342C", "waste": "#6B4A1E", "water": "#7FB8DE"}
START = {"B": None, "H": "waste", "R": "water", "S": "water"}
FLOORS = {"B": "#B7D98B", "H": "#7FB8DE", "R": "#7FB8DE", "S": "#7FB8DE"}
CLEAN_COLOUR = "#35D0E0"


@dataclass(frozen=True, kw_only=True)
class CleanupRules(GridRules):
    """What makes a variant of Cleanup.

    Args:
        clean_length (int): length of the cleaning beam.
        clean_width (int): number of its rays, odd.
        clean_cooldown (int): steps after a shot in which it cannot be fired.
        clean_through (str): what its rays pass: ``"nothing"``, so that agents and waste stop them; ``"agents"``, so
            that only waste does; or ``"all"``, and then they clean all cells that they pass.
        clean_in_turn (bool): whether agents clean one after another, and a ray passes where an earlier one has cleaned;
            else simultaneously, and rays that meet the same waste clean it together. Either way it counts once.
        apple_probability (float): probability of an apple on a free orchard cell in a step, if the river is clean.
        depletion (float): share of the river with waste at and above which no apple grows.
        restoration (float): share of the river with waste up to which apples grow at the full rate.
        stream_counts (bool): whether water that never gets waste counts as clean river in those two shares.
        waste_probability (float): probability of waste on one more river cell in a step.
        waste_each_cell (bool): whether that is the probability for each clean river cell in turn, until one gets waste.
        waste_limit (float): share of the river with waste at and above which no more appears.
        waste_delay (int): number of steps at the start of an episode in which no waste appears.
    """

    clean_length: int
    clean_width: int
    clean_cooldown: int
    clean_through: str = "nothing"
    clean_in_turn: bool = False
    apple_probability: float
    depletion: float
    restoration: float
    stream_counts: bool = False
    waste_probability: float
    waste_each_cell: bool = False
    waste_limit: float
    waste_delay: int

    def clean_beam(self) -> Beam:
        """The cleaning beam."""
        return Beam(
            self.clean_length,
            self.clean_width,
            self.clean_cooldown,
            CLEAN_COLOUR,
            None if self.clean_through == "all" else "waste",
            self.beam_shape,
            through_agents=self.clean_through != "nothing",
            in_turn=self.clean_in_turn,
        )


CLEAN_THROUGH = ("nothing", "agents", "all")
_HUGHES: dict[str, Any] = {"apple_probability": 0.05, "depletion": 0.4, "restoration": 0.0, "waste_probability": 0.5}
_WIDE_VIEW: dict[str, Any] = {"view": 11, "view_behind": 1, "actions": "turn", "max_steps": 1000}
VARIANTS = {
    # Ours, for quick work on a CPU. Zapping is off. Waste starts below the level that stops all growth, and the beam is
    # wide: random play must find some apples, or there is nothing to learn from.
    "small": CleanupRules(
        map="small",
        max_steps=64,
        view=7,
        actions="compass",
        zap_timeout=10,
        clean_length=2,
        clean_width=3,
        clean_cooldown=0,
        apple_probability=0.1,
        depletion=0.6,
        restoration=0.0,
        waste_probability=0.2,
        waste_limit=1.0,
        waste_delay=0,
    ),
    # Vinitsky et al. 2019, github.com/eugenevinitsky/sequential_social_dilemma_games: being zapped costs 50 and has no
    # time-out.
    "ssdg": CleanupRules(
        **{**_WIDE_VIEW, "view": 15, "view_behind": None},
        **_HUGHES,
        map="ssdg",
        beam_shape="beside",
        zap_length=5,
        zap_width=3,
        zap_cooldown=0,
        zap_timeout=0,
        zap_penalty=50.0,
        zap_cost=1.0,
        clean_length=5,
        clean_width=3,
        clean_cooldown=0,
        clean_in_turn=True,
        waste_each_cell=True,
        waste_limit=0.4,
        waste_delay=0,
    ),
    # Leibo et al. 2021 (arXiv 2107.06857), clean_up, after Hughes et al. 2018 (arXiv 1803.08884). With
    # framesTillRespawn = 50 an agent loses 51 actions. Of the 50 updates without waste (delayStartOfDirtSpawning) the
    # first comes before the first observation.
    "melting_pot": CleanupRules(
        **_WIDE_VIEW,
        **_HUGHES,
        map="melting_pot",
        beam_shape="beside",
        zap_length=3,
        zap_width=3,
        zap_cooldown=10,
        zap_timeout=51,
        zap_penalty=0.0,
        zap_cost=0.0,
        clean_length=3,
        clean_width=3,
        clean_cooldown=2,
        clean_through="agents",
        waste_limit=1.0,
        waste_delay=49,
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, individual rewards. Of 1000 steps the last
    # pays nothing; waste appears from the 52nd step on (inner_t > 50, counted from 0).
    "socialjax": CleanupRules(
        **{**_WIDE_VIEW, "actions": "fixed", "max_steps": 999},
        **_HUGHES,
        map="melting_pot",
        beam_shape="arrow",
        zap_length=2,
        zap_width=3,
        zap_cooldown=0,
        zap_timeout=0,
        zap_restart=True,
        zap_through_agents=True,
        zap_penalty=0.0,
        zap_cost=0.0,
        clean_length=2,
        clean_width=3,
        clean_cooldown=0,
        clean_through="all",
        stream_counts=True,
        waste_limit=1.0,
        waste_delay=51,
    ),
}


class CleanupEnv(GridWorldEnv):
    """Cleanup of Hughes et al. 2018 (arXiv 1803.08884): +1 for every apple, no matter who cleaned the
    river.

    In a step, once all have moved, agents take the apples on their cells; each ray of a cleaning beam turns the first
    waste in its way into water; apples grow on free orchard cells, faster the less waste there is; one river cell may
    get waste; and agents are zapped, who have taken their apples and cleaned by then.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (CleanupRules): the variant.
        rows (sequence of str): the map.

    The other keyword arguments are those of :class:`GridWorldEnv`.
    """

    rules: CleanupRules

    def __init__(self, n_agents: int, rules: CleanupRules, rows: list[str], **kwargs: Any) -> None:
        check_cleanup_rules(rules)
        super().__init__(
            n_agents,
            rules,
            rows,
            things=THINGS,
            start=START,
            floors=FLOORS,
            beams={"clean": rules.clean_beam()},
            info=("apples", "cleaned", "apples_left", "waste"),
            **kwargs,
        )
        self.orchard, self.river = self.grid.cells("B"), self.grid.cells("HR")
        for name, cells in (("orchard cells 'B'", self.orchard), ("river cells 'H' or 'R'", self.river)):
            check_option(
                f"the number of {name} in task.map", cells.stop - cells.start, cells.stop > cells.start, "at least 1"
            )
        size = self.river.stop - self.river.start
        wasted = torch.arange(size + 1, device=self.device)
        dirty = wasted / size
        # By the number of river cells with waste: their share, and the probabilities of an apple and of more waste.
        self._dirty = dirty
        water = self.grid.cells("HRS") if rules.stream_counts else self.river
        self._apple_chances = apple_chance(wasted / (water.stop - water.start), rules)
        chance = (
            1 - (1 - rules.waste_probability) ** (size - wasted) if rules.waste_each_cell else rules.waste_probability
        )
        self._waste_chances = chance * (dirty < rules.waste_limit)
        self._age = torch.zeros(*self.batch_size, 1, dtype=torch.long, device=self.device)

    def start(self, where: Tensor) -> None:
        super().start(where)
        self._age = self._age.masked_fill(where.unsqueeze(-1), 0)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        apples = self.take("apple").float()
        cleaned = self.change(self.reached("clean"), "waste", into="water")
        waste = self.lies(self.river, "waste").sum(-1, keepdim=True).long()
        self.grow(self.orchard, "apple", self._apple_chances.take(waste))
        self._age = self._age + 1
        chance = self._waste_chances.take(waste) * (self._age > self.rules.waste_delay)
        self.spawn_one(self.river, "waste", chance, over="water")
        left = self.lies(self.orchard, "apple").mean(-1, keepdim=True)
        shares = {"apples_left": left.expand_as(apples), "waste": self._dirty.take(waste).expand_as(apples)}
        return apples, {"apples": apples, "cleaned": cleaned, **shares}


def apple_chance(dirty: Tensor, rules: CleanupRules) -> Tensor:
    """Probability of an apple on a free orchard cell, where ``dirty`` is the share of the river with waste.

    Falls linearly from ``apple_probability`` at ``restoration`` to 0 at ``depletion``.
    """
    health = (rules.depletion - dirty) / (rules.depletion - rules.restoration)
    return rules.apple_probability * health.clamp(0, 1)


def check_cleanup_rules(rules: CleanupRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule of Cleanup is invalid."""
    check_option("task.clean_length", rules.clean_length, rules.clean_length >= 1, "an integer >= 1")
    check_width("task.clean_width", rules.clean_width)
    check_option("task.clean_through", rules.clean_through, rules.clean_through in CLEAN_THROUGH, one_of(CLEAN_THROUGH))
    for key in ("clean_cooldown", "waste_delay"):
        check_option(f"task.{key}", getattr(rules, key), getattr(rules, key) >= 0, "an integer >= 0")
    for key in ("apple_probability", "depletion", "restoration", "waste_probability", "waste_limit"):
        check_probability(f"task.{key}", getattr(rules, key))
    check_option(
        "task.restoration",
        rules.restoration,
        rules.restoration < rules.depletion,
        f"below {rules.depletion} (task.depletion)",
    )


@dataclass
class TaskConfig(GridWorldOptions):
    """The options of Cleanup. Rules that are ``None`` are taken from the variant, see :class:`CleanupRules`."""

    # 2: river cells that several clean at once are counted once; all else in small is as it was. The published variants
    # have the shapes of beams, their order, the time-outs and the delays of their sources.
    version: ClassVar[int] = 2

    clean_length: int | None
    clean_width: int | None
    clean_cooldown: int | None
    apple_probability: float | None
    depletion: float | None
    restoration: float | None
    waste_probability: float | None
    waste_limit: float | None
    waste_delay: int | None
    clean_through: str | None = field(default=None, kw_only=True)
    clean_in_turn: bool | None = field(default=None, kw_only=True)
    stream_counts: bool | None = field(default=None, kw_only=True)
    waste_each_cell: bool | None = field(default=None, kw_only=True)

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> CleanupEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return CleanupEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of scripted players, by name: ``cooperate``, ``defect``, ``tit_for_tat`` and ``random``."""
        return cleanup_players(lambda: self.make_env(1, "cpu", 0), THINGS)

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Apples, cleaning and peace of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: what :func:`grid_metrics` returns for ``apples`` and ``cleaned`` (river cells);
                ``cleaning_rate`` and ``agent_<i>_cleaning_rate``, river cells cleaned by an agent in a step;
                ``apples_left`` and ``waste``, mean shares of the orchard with an apple and of the river with waste.
        """
        metrics = grid_metrics(trajectories, valid, ("apples", "cleaned"))
        steps = valid.sum(-1)
        metrics["cleaning_rate"] = metrics["cleaned"] / (steps * self.n_agents)
        for agent in range(self.n_agents):
            metrics[f"agent_{agent}_cleaning_rate"] = metrics[f"agent_{agent}_cleaned"] / steps
        means = {name: mean_over_steps(trajectories, valid, name) for name in ("apples_left", "waste")}
        return {**metrics, **means}

    def cooperation(self) -> CooperationMeasure:
        """River cells that an agent cleans in a step: at most one for each ray, or for each cell if rays pass waste."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        lengths = rules.clean_beam().ray_lengths()
        most = sum(lengths) if rules.clean_through == "all" else sum(length > 0 for length in lengths)
        return CooperationMeasure("cleaning_rate", "cleaning rate", high=float(most))
