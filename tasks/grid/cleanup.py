"""Cleanup: apples grow only while somebody leaves the orchard and cleans the river."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import shipped_maps
from benchmarl_reciprocator.tasks.grid.metrics import grid_metrics, mean_over_steps
from benchmarl_reciprocator.tasks.grid.options import GridWorldOptions
from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules, check_probability, check_width
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option

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
        apple_probability (float): probability of an apple on a free orchard cell in a step, if the river is clean.
        depletion (float): share of the river with waste at and above which no apple grows.
        restoration (float): share of the river with waste up to which apples grow at the full rate.
        waste_probability (float): probability of waste on one more river cell in a step.
        waste_limit (float): share of the river with waste at and above which no more appears.
        waste_delay (int): number of steps at the start of an episode in which no waste appears.
    """

    clean_length: int
    clean_width: int
    clean_cooldown: int
    apple_probability: float
    depletion: float
    restoration: float
    waste_probability: float
    waste_limit: float
    waste_delay: int


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
    # time-out. There 0.5 is the probability for each clean cell in turn, until one gets waste.
    "ssdg": CleanupRules(
        **{**_WIDE_VIEW, "view": 15, "view_behind": None},
        **_HUGHES,
        map="ssdg",
        zap_length=5,
        zap_width=3,
        zap_cooldown=0,
        zap_timeout=0,
        zap_penalty=50.0,
        zap_cost=1.0,
        clean_length=5,
        clean_width=3,
        clean_cooldown=0,
        waste_limit=0.4,
        waste_delay=0,
    ),
    # Leibo et al. 2021 (arXiv 2107.06857), clean_up, after Hughes et al. 2018 (arXiv 1803.08884).
    "melting_pot": CleanupRules(
        **_WIDE_VIEW,
        **_HUGHES,
        map="melting_pot",
        zap_length=3,
        zap_width=3,
        zap_cooldown=10,
        zap_timeout=50,
        zap_penalty=0.0,
        zap_cost=0.0,
        clean_length=3,
        clean_width=3,
        clean_cooldown=2,
        waste_limit=1.0,
        waste_delay=50,
    ),
    # Guo et al. 2025 (arXiv 2503.14576), github.com/cooperativex/SocialJax, individual rewards: an agent that is
    # zapped restarts elsewhere. There a beam reaches two cells ahead and one on either side of the first, and moves are
    # in fixed directions.
    "socialjax": CleanupRules(
        **_WIDE_VIEW,
        **_HUGHES,
        map="melting_pot",
        zap_length=2,
        zap_width=3,
        zap_cooldown=0,
        zap_timeout=1,
        zap_penalty=0.0,
        zap_cost=0.0,
        clean_length=2,
        clean_width=3,
        clean_cooldown=0,
        waste_limit=1.0,
        waste_delay=50,
    ),
}


class CleanupEnv(GridWorldEnv):
    """Cleanup of Hughes et al. 2018 (arXiv 1803.08884): +1 for every apple, no matter who cleaned the
    river.

    In a step, once all have moved, agents take the apples on their cells; each ray of a cleaning beam turns the first
    waste in its way into water; apples grow on free orchard cells, faster the less waste there is; and one river cell
    may get waste.

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
            beams={"clean": Beam(rules.clean_length, rules.clean_width, rules.clean_cooldown, CLEAN_COLOUR, "waste")},
            info=("apples", "cleaned", "apples_left", "waste"),
            **kwargs,
        )
        self.orchard, self.river = self.grid.cells("B"), self.grid.cells("HR")
        for name, cells in (("orchard cells 'B'", self.orchard), ("river cells 'H' or 'R'", self.river)):
            check_option(
                f"the number of {name} in task.map", cells.stop - cells.start, cells.stop > cells.start, "at least 1"
            )
        dirty = torch.arange(self.river.stop - self.river.start + 1, device=self.device) / (
            self.river.stop - self.river.start
        )
        # By the number of river cells with waste: their share, and the probabilities of an apple and of more waste.
        self._dirty = dirty
        self._apple_chances = apple_chance(dirty, rules)
        self._waste_chances = rules.waste_probability * (dirty < rules.waste_limit)
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

    version: ClassVar[int] = 1

    clean_length: int | None
    clean_width: int | None
    clean_cooldown: int | None
    apple_probability: float | None
    depletion: float | None
    restoration: float | None
    waste_probability: float | None
    waste_limit: float | None
    waste_delay: int | None

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> CleanupEnv:
        """The environment that these options describe."""
        rules, rows = self.rules_among(VARIANTS, MAPS)
        return CleanupEnv(self.n_agents, rules, rows, **self.shared(num_envs, device, seed))

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
        """River cells that an agent cleans in a step: at most one for each ray of its beam."""
        rules, _ = self.rules_among(VARIANTS, MAPS)
        return CooperationMeasure("cleaning_rate", "cleaning rate", high=float(rules.clean_width))
