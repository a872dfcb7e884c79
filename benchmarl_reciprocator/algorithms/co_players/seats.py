"""Co-players inside the environment: who sits where in which episode, and what they do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite
from torchrl.envs import EnvBase, Transform, TransformedEnv

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.groups import seats

# Whether a co-player sits in an agent's seat, by group, and which entry of the pool it is, -1 without one
REPLACED_KEY = "co_player"
ENTRY_KEY = "co_player_entry"


class Pool(Protocol):
    """Who there is to be met."""

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Integers ``[n]``, independent draws of entries; -1 for one that has nobody yet."""

    def agent(self, entry: int, seat: int, generator: torch.Generator) -> Agent:
        """Who plays an entry in a seat from the next episode on."""


@dataclass
class _Table:
    """The environments ``[b]`` in which one agent plays one seat, with what it remembers there."""

    agent: Agent
    seat: int
    environments: Tensor
    memory: TensorDictBase

    def keep(self, kept: Tensor) -> None:
        self.environments, self.memory = self.environments[kept], self.memory[kept]

    def add(self, environments: Tensor, memory: TensorDictBase) -> None:
        self.environments = torch.cat([self.environments, environments])
        self.memory = torch.cat([self.memory, memory])


class CoPlayerSeats(Transform):
    """Draws at every reset in which environments a co-player sits, and in which seat, and acts for it.

    Of ``k`` environments that begin an episode together, ``k * share`` have a co-player, rounded up or down at random
    so that the share is right on the mean. Which ones, the entry of the pool, and the seat are independent of each
    other and uniform, but for the entries' weights.

    Args:
        pool (Pool): who there is to be met.
        group_map (dict): agents' names by group.
        open_seats (sequence of int): which seats co-players may take.
        share (float): share of the environments with a co-player.
        seed (int): of the draws.

    Keys written, at a reset and under ``"next"``: by group ``"co_player"``, boolean ``[*B, n, 1]``, whether a co-player
    sits in an agent's seat; and ``"co_player_entry"``, integers ``[*B, 1]``, which entry of the pool it is, -1 without
    one. All are on the environment's device. What is drawn is drawn on the CPU, so that seeds give the same everywhere.
    """

    def __init__(
        self, pool: Pool, group_map: Mapping[str, list[str]], open_seats: Sequence[int], share: float, seed: int
    ) -> None:
        self.members = seats(dict(group_map))
        super().__init__(in_keys=[], out_keys=[*((group, REPLACED_KEY) for group in self.members), ENTRY_KEY])
        self.pool = pool
        self.n_agents = sum(map(len, group_map.values()))
        self.open_seats = torch.tensor(open_seats)
        self.share = share
        self.generator = torch.Generator().manual_seed(seed)
        self.entry = torch.empty(0, dtype=torch.long)
        self.seat = torch.empty(0, dtype=torch.long)
        self.tables: dict[tuple[int, int], _Table] = {}

    def take_seats(self, tensordict: TensorDictBase) -> None:
        """Put what co-players do in place of what the learners chose whose seats they have.

        Args:
            tensordict (TensorDictBase): ``[*B]``, of a step that is to be taken, with the actions that were chosen.
        """
        if not self.tables:
            return
        shape = tensordict.batch_size
        flat = tensordict.reshape(-1)
        observations = self._joint(flat, "observation")
        actions = self._joint(flat, "action").clone()
        for table in self.tables.values():
            first = table.agent.first_seat(table.seat, self.n_agents)
            seen = observations[table.environments].roll(-first, 1)
            action, table.memory = table.agent.act(seen, table.memory)
            actions[table.environments, table.seat] = action.to(actions.dtype)
        for table in self.tables.values():
            if table.agent.looks_back:
                self._look_back(table, observations, actions)
        for group, members in self.members.items():
            tensordict.set((group, "action"), actions[:, members].reshape(*shape, *actions[:, members].shape[1:]))

    def _look_back(self, table: _Table, observations: Tensor, actions: Tensor) -> None:
        """Before the environment is stepped: the state in which they acted has gone after it."""
        first, rows = table.agent.first_seat(table.seat, self.n_agents), table.environments
        game = self._game()
        state = (game.state(first) if first else game.state())[rows]
        seen, done = observations[rows].roll(-first, 1), actions[rows].roll(-first, 1)
        table.memory = table.agent.look_back(seen, state, done, table.memory)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        n = tensordict_reset.batch_size.numel()
        where = tensordict.get("_reset", None) if tensordict is not None else None
        if where is None or len(self.entry) != n:
            where = torch.ones(n, dtype=torch.bool)
            self.entry, self.seat = torch.full((n,), -1), torch.zeros(n, dtype=torch.long)
            self.tables = {}
        self._draw(where.reshape(-1).cpu())
        return self._write(tensordict_reset)

    def _draw(self, where: Tensor) -> None:
        for key, table in list(self.tables.items()):
            kept = ~where[table.environments.cpu()]
            table.keep(kept.to(table.environments.device))
            if not len(table.environments):
                del self.tables[key]
        begun = where.nonzero().squeeze(-1)
        self.entry[begun] = -1
        wanted = int(len(begun) * self.share + torch.rand((), generator=self.generator).item())
        chosen = begun[torch.randperm(len(begun), generator=self.generator)[:wanted]]
        entries = self.pool.draw(wanted, self.generator)
        drawn = self.open_seats[torch.randint(len(self.open_seats), (wanted,), generator=self.generator)]
        self.entry[chosen], self.seat[chosen] = entries, drawn
        for entry, seat in torch.stack([entries, drawn], -1).unique(dim=0).tolist():
            if entry >= 0:
                environments = chosen[(entries == entry) & (drawn == seat)]
                self._seat(self.pool.agent(entry, seat, self.generator), seat, environments)

    def _seat(self, agent: Agent, seat: int, environments: Tensor) -> None:
        environments = environments.to(self._game().device)
        memory = agent.start(len(environments), environments.device)
        key = (id(agent), seat)
        if key in self.tables:
            self.tables[key].add(environments, memory)
        else:
            self.tables[key] = _Table(agent, seat, environments, memory)

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self._write(next_tensordict)

    def _write(self, tensordict: TensorDictBase) -> TensorDictBase:
        shape, device = tensordict.batch_size, self._game().device
        there = (torch.arange(self.n_agents) == self.seat.unsqueeze(-1)) & (self.entry >= 0).unsqueeze(-1)
        for group, members in self.members.items():
            replaced = there[:, members].reshape(*shape, -1, 1)
            tensordict.set((group, REPLACED_KEY), replaced.to(device))
        return tensordict.set(ENTRY_KEY, self.entry.clone().reshape(*shape, 1).to(device))

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        batch, device = observation_spec.shape, observation_spec.device
        for group, members in self.members.items():
            shape = (*batch, members.stop - members.start, 1)
            observation_spec[group, REPLACED_KEY] = Categorical(2, shape=shape, dtype=torch.bool, device=device)
        observation_spec[ENTRY_KEY] = Bounded(
            low=-1, high=torch.iinfo(torch.long).max, shape=(*batch, 1), dtype=torch.long, device=device
        )
        return observation_spec

    def _joint(self, tensordict: TensorDictBase, key: str) -> Tensor:
        return torch.cat([tensordict.get((group, key)) for group in self.members], 1)

    def _game(self) -> SocialDilemmaEnv:
        env = self.parent
        while isinstance(env, TransformedEnv):
            env = env.base_env
        return env


class EnvWithCoPlayers(TransformedEnv):
    """An environment in which co-players have some seats: what a step takes of their actions, and what a batch says of
    them, is what was done, not what the learners chose.

    It must be the outermost environment: only there is a step given the tensordict that the collector keeps. TorchRL
    leaves it so, since it takes apart nested environments of its own class alone.

    Args:
        env (EnvBase): with all other transforms.
        co_players (CoPlayerSeats): who sits where.
    """

    def __init__(self, env: EnvBase, co_players: CoPlayerSeats) -> None:
        super().__init__(env, co_players)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        self.transform.take_seats(tensordict)
        return super()._step(tensordict)
