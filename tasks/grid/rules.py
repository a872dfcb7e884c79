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
# it went or, with "fixed", turns on its own.
ACTIONS = {
    "turn": ("stay", "forward", "right", "backward", "left", "turn_left", "turn_right"),
    "compass": ("stay", "north", "east", "south", "west"),
    "fixed": ("stay", "north", "east", "south", "west", "turn_left", "turn_right"),
    "steer": ("stay", "forward", "turn_left", "turn_right"),
}
SHAPES = ("block", "beside", "arrow")


class Beam(NamedTuple):
    """A beam that agents fire: parallel rays, each stopped by walls, agents, and things of the kinds ``stopped_by``.

    Args:
        length (int): number of cells ``L`` of the middle ray, which begins in front of the agent.
        width (int): number of rays, odd.
        cooldown (int): steps after a shot in which it cannot be fired. Those of a time-out do not count.
        colour (str): its colour.
        stopped_by (str or tuple of str, optional): the kind of things that stop it, or several.
        shape (str): what the rays ``r`` columns to a side look like. ``"block"``: like the middle ray. ``"beside"``:
            they begin beside the agent and have ``L - r + 1`` cells. ``"arrow"``: they begin in the row in front of
            the agent and have ``L - r`` cells.
        through_agents (bool): whether its rays pass through agents.
        in_turn (bool): whether beams act one after another, for one that turns what stops it into something else: then
            a ray passes where an earlier one has been. The order is that of
            :meth:`~benchmarl_reciprocator.tasks.grid.world.GridWorldEnv.order`.
    """

    length: int
    width: int
    cooldown: int
    colour: str
    stopped_by: str | tuple[str, ...] | None = None
    shape: str = "block"
    through_agents: bool = False
    in_turn: bool = False

    def stoppers(self) -> tuple[str, ...]:
        """The kinds of things that stop it."""
        if self.stopped_by is None:
            return ()
        return (self.stopped_by,) if isinstance(self.stopped_by, str) else self.stopped_by

    def ray_lengths(self) -> list[int]:
        """Number of cells of each ray."""
        sides = [abs(ray - self.width // 2) for ray in range(self.width)]
        if self.shape == "block":
            return [self.length for _ in sides]
        spare = 1 if self.shape == "beside" else 0
        return [max(self.length - side + spare * (side > 0), 0) for side in sides]


@dataclass(frozen=True, kw_only=True)
class GridRules:
    """Rules that all grid worlds have. Scores under different rules are not comparable.

    Args:
        map (str): name of the map, for a game with several.
        max_steps (int): length of an episode, in steps.
        min_steps (int): the first step at which an episode may end by chance.
        end_interval (int): steps from one such step to the next.
        end_chance (float): probability that it does; 0: it has its full length.
        view (int): side of the square window that an agent sees.
        view_behind (int, optional): how many of its rows are behind the agent; ``None``: as many as ahead.
        actions (str): ``"turn"``: stay, four moves relative to where the agent looks, two turns, and its view turns
            with it; ``"compass"``: stay and four moves in fixed directions, the agent looks where it last moved,
            and north is at the top of its view; ``"fixed"``: stay, four moves in fixed directions, two turns, and its
            view turns with it; ``"steer"``: stay, one step ahead, two turns, and its view turns with it. Beams come
            after these, zapping first.
        beam_shape (str): shape of all beams, one of :data:`SHAPES`, see :class:`Beam`.
        zap_length (int): length of the zapping beam; 0: there is no zapping.
        zap_width (int): number of its rays, odd.
        zap_cooldown (int): steps after a shot in which it cannot be fired.
        zap_timeout (int): number of steps for which an agent that was hit is out of the world; 0: it stays.
        zap_restart (bool): whether an agent that was hit is put on a random start cell at the end of the step. Else it
            comes back on one after its time-out.
        zap_through_agents (bool): whether a zapping beam hits all agents in its way, not just the first of each ray.
        zap_penalty (float): what being hit costs, for each beam that hits.
        zap_cost (float): what a shot costs.
    """

    map: str = "own"
    max_steps: int
    min_steps: int = 0
    end_interval: int = 1
    end_chance: float = 0.0
    view: int
    view_behind: int | None = None
    actions: str = "turn"
    beam_shape: str = "block"
    zap_length: int = 0
    zap_width: int = 1
    zap_cooldown: int = 0
    zap_timeout: int = 0
    zap_restart: bool = False
    zap_through_agents: bool = False
    zap_penalty: float = 0.0
    zap_cost: float = 0.0

    def zap_beam(self, colour: str) -> Beam:
        """The zapping beam."""
        return Beam(
            self.zap_length,
            self.zap_width,
            self.zap_cooldown,
            colour,
            shape=self.beam_shape,
            through_agents=self.zap_through_agents,
        )


def check_rules(n_agents: int, rules: GridRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a shared rule is invalid."""
    check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
    for key, least in (("min_steps", 0), ("end_interval", 1)):
        value = getattr(rules, key)
        check_option(f"task.{key}", value, type(value) is int and value >= least, f"an integer >= {least}")
    check_probability("task.end_chance", rules.end_chance)
    check_option("task.actions", rules.actions, rules.actions in ACTIONS, one_of(ACTIONS))
    check_option("task.view", rules.view, type(rules.view) is int and rules.view >= 1, "an integer >= 1")
    check_option(
        "task.view_behind",
        rules.view_behind,
        rules.view_behind is None or 0 <= rules.view_behind < rules.view,
        f"an integer from 0 to {rules.view - 1} (task.view - 1)",
    )
    check_option("task.beam_shape", rules.beam_shape, rules.beam_shape in SHAPES, one_of(SHAPES))
    check_option(
        "task.zap_restart",
        rules.zap_restart,
        not (rules.zap_restart and rules.zap_timeout),
        f"false with a time-out ({rules.zap_timeout}, task.zap_timeout)",
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
