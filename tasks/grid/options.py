"""Options that the tasks of all grid worlds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch

from benchmarl_reciprocator.tasks.grid.rules import GridRules
from benchmarl_reciprocator.tasks.grid.sight import Scene
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.players import Player


@dataclass
class GridWorldOptions(NoiseOptions):
    """Options that all grid worlds have, see :class:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv`.

    Rules that are ``None`` are taken from the variant.

    Args:
        variant (str): one of the game's published sets of rules.
        map (str or list of str, optional): the name of one of the game's maps, or the rows of a map.
    """

    n_agents: int
    variant: str
    map: Any
    max_steps: int | None
    view: int | None
    view_behind: int | None
    actions: str | None
    zap_length: int | None
    zap_width: int | None
    zap_cooldown: int | None
    zap_timeout: int | None
    zap_penalty: float | None
    zap_cost: float | None
    observation: str
    continuation_probability: float
    grouping: str
    # With defaults, so that experiments from before there were these can be loaded.
    beam_shape: str | None = field(default=None, kw_only=True)
    zap_restart: bool | None = field(default=None, kw_only=True)
    zap_through_agents: bool | None = field(default=None, kw_only=True)
    min_steps: int | None = field(default=None, kw_only=True)
    end_interval: int | None = field(default=None, kw_only=True)
    end_chance: float | None = field(default=None, kw_only=True)

    def rules_among(self, variants: Mapping[str, Any], maps: Mapping[str, list[str]]) -> tuple[Any, list[str]]:
        """The variant's rules, overridden by those that are set, and the rows of the map."""
        check_option("task.variant", self.variant, self.variant in variants, one_of(variants))
        rules = variants[self.variant]
        own = {rule.name: getattr(self, rule.name) for rule in fields(rules)}
        rules = type(rules)(**{**vars(rules), **{key: value for key, value in own.items() if value is not None}})
        if not isinstance(rules.map, str):
            return rules, rules.map
        check_option("task.map", rules.map, rules.map in maps, one_of([*maps, "a list of rows"]))
        return rules, maps[rules.map]

    def shared(self, num_envs: int, device: torch.device | str, seed: int | None) -> dict[str, Any]:
        """The environment's keyword arguments that are not rules."""
        return {
            "observation": self.observation,
            "continuation_probability": self.continuation_probability,
            "grouping": self.grouping,
            "num_envs": num_envs,
            "device": device,
            "seed": seed,
            **self.noise(),
        }

    def seeing_players(
        self, makers: Mapping[str, Callable[[Scene], Player]], rules: GridRules, **sight: Any
    ) -> dict[str, Callable[[], Player]]:
        """Makers of players that see what an agent sees.

        Args:
            makers (mapping): what makes each of them of a :class:`Scene`, by name.
            rules (GridRules): the variant.
            **sight: what else the scene is told: things, beams, marks and numbers.
        """
        scene = Scene(n_agents=self.n_agents, rules=rules, observation=self.observation, **sight)
        return {name: partial(make, scene) for name, make in makers.items()}
