"""The shared pasture as a VMAS scenario: grazers that move in the plane, and patches of grass that they share."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from vmas.simulator.core import Agent, Sphere, World
from vmas.simulator.scenario import BaseScenario

from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.palette import COLOURS, rgb
from benchmarl_reciprocator.tasks.pasture.rules import PATCH_RING, PastureRules

# As the patches, on a ring around the middle of the world
START_RING = 0.25
AGENT_RADIUS = 0.05
BARE_COLOUR, GRASS_COLOUR = "#C9B48A", "#3F8F3A"


class SharedPasture(BaseScenario):
    """A commons in continuous space, as a VMAS scenario: ``vmas.make_env(SharedPasture(), num_envs=32, n_agents=3)``.

    A grazer whose centre is on a patch eats there, and to hold back it has to leave. It keeps what it eats, and what
    does not grow back is everybody's loss: the tragedy of the commons (Hardin 1968,
    doi:10.1126/science.162.3859.1243) with logistic regrowth (Gordon 1954, doi:10.1086/257497). Grazers are solid and
    push each other away.

    The keyword arguments of :meth:`make_world` are :class:`PastureRules`. Observations are egocentric, ``4 + 3 P +
    4 (N - 1)`` numbers: own position and velocity, displacement to each patch, grass of each patch, displacement to
    each other agent in the order of seats after it, and their velocities.
    """

    def make_world(self, batch_dim: int, device: torch.device, **kwargs: Any) -> World:
        names = [field.name for field in fields(PastureRules)]
        for key in kwargs:
            check_option("an option of the pasture", key, key in names, one_of(names))
        self.rules = PastureRules(**kwargs)
        self.rules.check()
        self.viewer_zoom = 1.1
        world = World(batch_dim, device, x_semidim=1.0, y_semidim=1.0)
        for seat in range(self.rules.n_agents):
            colour = tuple(rgb(COLOURS[seat]).tolist())
            world.add_agent(Agent(f"agent_{seat}", shape=Sphere(AGENT_RADIUS), u_multiplier=2.0, color=colour))
        n_agents, n_patches = self.rules.n_agents, self.rules.n_patches
        # Of patches: centre, [B, P, 2], and share of grass, [B, P]. Of agents in the last step: what they ate, in
        # shares of a patch, and how much of it came from patches at least half full, [B, N].
        self.patches = torch.zeros(batch_dim, n_patches, 2, device=device)
        self.grass = torch.ones(batch_dim, n_patches, device=device)
        self.eaten = torch.zeros(batch_dim, n_agents, device=device)
        self.spared = torch.zeros(batch_dim, n_agents, device=device)
        return world

    def reset_world_at(self, env_index: int | None = None) -> None:
        rows = slice(None) if env_index is None else slice(env_index, env_index + 1)
        self.patches[rows] = turned_ring(len(self.grass[rows]), self.rules.n_patches, PATCH_RING, self.world.device)
        starts = turned_ring(len(self.grass[rows]), self.rules.n_agents, START_RING, self.world.device)
        for agent, start in zip(self.world.agents, starts.unbind(1)):
            agent.set_pos(start, batch_index=env_index)
        self.grass[rows] = 1.0
        self.eaten[rows] = 0.0
        self.spared[rows] = 0.0

    def post_step(self) -> None:
        on = torch.cdist(self.positions(), self.patches) <= self.rules.patch_radius
        bites = graze(self.grass, on, self.rules.appetite)
        self.eaten = bites.sum(-1)
        self.spared = (bites * (self.grass >= 0.5).unsqueeze(1)).sum(-1)
        self.grass = regrow(self.grass - bites.sum(1), self.rules.growth, self.rules.extinction)

    def reward(self, agent: Agent) -> Tensor:
        return self.rules.capacity * self.eaten[:, self.world.agents.index(agent)]

    def observation(self, agent: Agent) -> Tensor:
        seat = self.world.agents.index(agent)
        position = agent.state.pos.unsqueeze(1)
        positions, velocities = (x.roll(-seat, 1)[:, 1:] for x in (self.positions(), self.velocities()))
        return torch.cat(
            [
                agent.state.pos,
                agent.state.vel,
                (self.patches - position).flatten(1),
                self.grass,
                (positions - position).flatten(1),
                velocities.flatten(1),
            ],
            -1,
        )

    def state(self, first_seat: int = 0) -> Tensor:
        """The full state, seats counted from ``first_seat``: ``[B, 4 N + 2 N P + P]``, positions and velocities of
        agents, displacement from each to each patch, grass of patches.
        """
        positions, velocities = (x.roll(-first_seat, 1) for x in (self.positions(), self.velocities()))
        ways = self.patches.unsqueeze(1) - positions.unsqueeze(2)
        return torch.cat([positions.flatten(1), velocities.flatten(1), ways.flatten(1), self.grass], -1)

    def done(self) -> Tensor:
        return torch.zeros(self.world.batch_dim, dtype=torch.bool, device=self.world.device)

    def info(self, agent: Agent) -> dict[str, Tensor]:
        seat = self.world.agents.index(agent)
        return {
            "eaten": self.rules.capacity * self.eaten[:, seat],
            "spared": self.rules.capacity * self.spared[:, seat],
            "grass_left": self.grass.mean(-1),
            "patches_left": (self.grass > 0).float().mean(-1),
        }

    def extra_render(self, env_index: int = 0) -> list[Any]:
        """Patches below the agents, coloured from bare to green by how much grass is left."""
        from vmas.simulator import rendering

        geometries = []
        for centre, grass in zip(self.patches[env_index].tolist(), self.grass[env_index].tolist()):
            patch = rendering.make_circle(self.rules.patch_radius, res=60)
            patch.set_color(*torch.lerp(rgb(BARE_COLOUR), rgb(GRASS_COLOUR), grass).tolist())
            move = rendering.Transform()
            move.set_translation(*centre)
            patch.add_attr(move)
            geometries.append(patch)
        return geometries

    def positions(self) -> Tensor:
        """Positions of all agents, ``[B, N, 2]``."""
        return torch.stack([agent.state.pos for agent in self.world.agents], 1)

    def velocities(self) -> Tensor:
        """Velocities of all agents, ``[B, N, 2]``."""
        return torch.stack([agent.state.vel for agent in self.world.agents], 1)


def turned_ring(n_rings: int, n_points: int, radius: float, device: torch.device | str) -> Tensor:
    """Evenly spaced points on a ring, each ring rotated at random: ``[n_rings, n_points, 2]``."""
    angle = torch.arange(n_points, device=device) / n_points + torch.rand(n_rings, 1, device=device)
    angle = 2 * math.pi * angle
    return radius * torch.stack([angle.cos(), angle.sin()], -1)


def graze(grass: Tensor, on: Tensor, appetite: float) -> Tensor:
    """What agents eat: as much as if each in turn took the share ``appetite`` of what is left, split equally.

    Args:
        grass (Tensor): of patches, ``[*B, P]``.
        on (Tensor): whether an agent is on a patch, boolean ``[*B, N, P]``.
        appetite (float): the share, in ``(0, 1]``.

    Returns:
        Tensor: ``[*B, N, P]``.
    """
    grazers = on.sum(-2, keepdim=True)
    return on * (grass.unsqueeze(-2) * (1 - (1 - appetite) ** grazers) / grazers.clamp(min=1))


def regrow(grass: Tensor, growth: float, extinction: float) -> Tensor:
    """Grass ``[*B, P]`` after a step of logistic growth; 0 where less than ``extinction`` is left."""
    return torch.where(grass < extinction, 0.0, grass + growth * grass * (1 - grass))
