"""Rules that all grid worlds share, and the checks that tell a user which one is invalid."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import NamedTuple

import torch

from benchmarl_reciprocator.tasks.options import PROBABILITY, check_option, one_of
from benchmarl_reciprocator.tasks.palette import COLOURS

MAX_AGENTS = len(COLOURS)
# Names of actions, by number. Moves are relative to where the agent looks, or to the compass, and then it looks where
# it went.
ACTIONS = {
    "turn": ("stay", "forward", "right", "backward", "left", "turn_left", "turn_right"),
    "compass": ("stay", "north", "east", "south", "west"),
}


class Beam(NamedTuple):
    """A beam that agents fire: ``width`` parallel rays of ``length`` cells, each stopped by walls, agents, and things
    of the kind ``stopped_by``. After a shot it cannot be fired for ``cooldown`` steps.
    """

    length: int
    width: int
    cooldown: int
    colour: str
    stopped_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class GridRules:
    """Rules that all grid worlds have. Scores under different rules are not comparable.

    Args:
        map (str): name of the map, for a game with several.
        max_steps (int): length of an episode, in steps.
        view (int): side of the square window that an agent sees.
        view_behind (int, optional): how many of its rows are behind the agent; ``None``: as many as ahead.
        actions (str): ``"turn"``: stay, four moves relative to where the agent looks, two turns, and its view turns
            with it; ``"compass"``: stay and four moves in fixed directions, the agent looks where it last moved,
            and north is at the top of its view. Beams come after these, zapping first.
        zap_length (int): length of the zapping beam; 0: there is no zapping.
        zap_width (int): number of its rays, odd.
        zap_cooldown (int): steps after a shot in which it cannot be fired.
        zap_timeout (int): number of steps for which an agent that was hit is out of the world; 0: it stays.
        zap_penalty (float): what being hit costs.
        zap_cost (float): what a shot costs.
    """

    map: str = "own"
    max_steps: int
    view: int
    view_behind: int | None = None
    actions: str = "turn"
    zap_length: int = 0
    zap_width: int = 1
    zap_cooldown: int = 0
    zap_timeout: int = 0
    zap_penalty: float = 0.0
    zap_cost: float = 0.0


def check_rules(n_agents: int, rules: GridRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a shared rule is invalid."""
    check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
    check_option("task.actions", rules.actions, rules.actions in ACTIONS, one_of(ACTIONS))
    check_option("task.view", rules.view, type(rules.view) is int and rules.view >= 1, "an integer >= 1")
    check_option(
        "task.view_behind",
        rules.view_behind,
        rules.view_behind is None or 0 <= rules.view_behind < rules.view,
        f"an integer from 0 to {rules.view - 1} (task.view - 1)",
    )
    for key in ("zap_length", "zap_cooldown", "zap_timeout"):
        check_option(f"task.{key}", getattr(rules, key), getattr(rules, key) >= 0, "an integer >= 0")
    check_width("task.zap_width", rules.zap_width)
    for key in ("zap_penalty", "zap_cost"):
        check_option(f"task.{key}", getattr(rules, key), 0 <= getattr(rules, key) < math.inf, "a finite number >= 0")


def check_memory(view: int, channels: int, num_envs: int, device: torch.device | str) -> None:
    """Raise a ``ValueError`` if the observations of one step, with ``channels`` of all agents together, exceed the
    device's memory.
    """
    size = 4 * num_envs * channels * view**2
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else size
    check_option(
        "task.view",
        view,
        size <= memory,
        f"so small that what agents see fits in memory ({num_envs} environments take {size / 2**30:,.0f} GiB a step, "
        f"there are {memory / 2**30:,.0f} GiB)",
    )


def check_width(key: str, width: int) -> None:
    """Raise a ``ValueError`` unless ``width`` is a valid width of a beam."""
    check_option(key, width, width >= 1 and width % 2 == 1, "an odd integer >= 1")


def check_probability(key: str, value: float) -> None:
    """Raise a ``ValueError`` unless ``value`` is a probability."""
    check_option(key, value, 0 <= value <= 1, PROBABILITY)
