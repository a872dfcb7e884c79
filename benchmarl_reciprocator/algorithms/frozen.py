"""Trained agents as the algorithm of a group: somebody to learn against who goes on as in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path

import torch
from benchmarl.algorithms.common import Algorithm
from benchmarl.models.common import ModelConfig
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.data import Composite, Unbounded
from torchrl.envs import EnvBase, Transform

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.agents.play import check_seating
from benchmarl_reciprocator.agents.trained import agents_for_seats
from benchmarl_reciprocator.algorithms.not_trained import NotTrained, NotTrainedConfig, groups_of, with_transform
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.groups import seats

MEMORY = "memory"
STATE = "seen_state"


class Frozen(NotTrained):
    """Plays agents of a checkpoint as they were, whatever the models and groups that they were trained with.

    Args:
        experiment (Experiment): on one of this package's tasks.
        checkpoint (str): file that an experiment saved.
        agent (int, optional): which of its agents plays, by the seat that it was trained in; ``None``: in every seat
            the agent of that seat.

    Raises:
        ValueError: if the checkpoint cannot be loaded, has no such agent, or its agents cannot play this task.
    """

    def __init__(self, experiment, checkpoint: str | None, agent: int | None) -> None:
        super().__init__(experiment=experiment)
        if checkpoint is None or not Path(checkpoint).is_file():
            raise ValueError(f"algorithm.checkpoint must be a file that an experiment saved, but is {checkpoint!r}")
        self.agents = agents_for_seats(experiment, "algorithm", Path(checkpoint), agent)

    def process_env_fun(self, env_fun: Callable[[], EnvBase]) -> Callable[[], EnvBase]:
        env_fun = super().process_env_fun(env_fun)
        return lambda: with_transform(env_fun(), FrozenMemory(self.agents, self.group_map, groups_of(self)))

    def _get_policy_for_loss(self, group: str, model_config: ModelConfig, continuous: bool) -> TensorDictModuleBase:
        return FrozenPolicy(self.agents, self.group_map, group).to(self.device)


class FrozenPolicy(TensorDictModuleBase):
    """The actions of a group of agents that are not trained.

    Args:
        agents (sequence of Agent): of every seat. They stay where they are: what they see is brought to them, since
            BenchMARL evaluates where it trains, and collects where it samples.
        group_map (dict): agents' names by group.
        group (str): whose actions are chosen.

    Keys read: every group's ``"observation"``, and ``(group, "memory")``. Keys written: ``(group, "action")`` and
    ``("next", group, "memory")``.
    """

    def __init__(self, agents: Sequence[Agent], group_map: dict[str, list[str]], group: str) -> None:
        super().__init__()
        self.agents = agents
        self.groups = list(group_map)
        self.group = group
        self.members = seats(group_map)[group]
        self.in_keys = [*((other, "observation") for other in self.groups), (group, MEMORY)]
        self.out_keys = [(group, "action"), ("next", group, MEMORY)]
        # Without anything on a device TorchRL's collector warns of the policy.
        self.register_buffer("device", torch.zeros(()), persistent=False)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        observations = _joint(tensordict, self.groups, "observation")
        here, memories = observations.device, tensordict.get((self.group, MEMORY))
        actions, after = [], []
        for index, seat in enumerate(range(self.members.start, self.members.stop)):
            agent = self.agents[seat]
            view = observations.roll(-agent.first_seat(seat, observations.shape[1]), 1)
            there = agent.device or here
            action, memory = agent.act(view.to(there), memories[:, index].to(there))
            actions.append(action.to(here))
            after.append(memory.to(here))
        tensordict.set((self.group, "action"), torch.stack(actions, 1))
        return tensordict.set(("next", self.group, MEMORY), torch.stack(after, 1))


class FrozenMemory(Transform):
    """What agents that are not trained keep through an episode, at ``(group, "memory")`` ``[*B, n]``.

    Args:
        agents (sequence of Agent): of every seat.
        group_map (dict): agents' names by group.
        groups (list of str): whose agents' memories are kept.
    """

    def __init__(self, agents: Sequence[Agent], group_map: dict[str, list[str]], groups: list[str]) -> None:
        members = seats(group_map)
        super().__init__(in_keys=[], out_keys=[(group, MEMORY) for group in groups])
        self.agents = agents
        self.all_groups = list(group_map)
        self.seats = {group: range(members[group].start, members[group].stop) for group in groups}

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        env = self._game()
        check_seating(env, self.agents)
        n_envs = tensordict_reset.batch_size.numel()
        where = tensordict.get("_reset", None) if tensordict is not None else None
        for group, own in self.seats.items():
            memories = [self.agents[seat].start(n_envs, env.device) for seat in own]
            starts = torch.stack([self._with_state(one, seat, env) for seat, one in zip(own, memories)], 1)
            if where is not None and (group, MEMORY) in tensordict.keys(True):
                chosen = where.reshape(n_envs, 1)
                before = tensordict.get((group, MEMORY))
                starts = starts.apply(lambda new, old: torch.where(_as_wide(chosen, new), new, old), before)  # noqa: B023
            tensordict_reset.set((group, MEMORY), starts)
        return tensordict_reset

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        env = self._game()
        observations = _joint(tensordict, self.all_groups, "observation")
        actions = _joint(tensordict, self.all_groups, "action")
        for group, own in self.seats.items():
            memories = []
            for index, seat in enumerate(own):
                agent, memory = self.agents[seat], next_tensordict.get((group, MEMORY))[:, index]
                first = agent.first_seat(seat, env.n_agents)
                if agent.looks_back:
                    state = memory.get(STATE)
                    memory = agent.look_back(observations.roll(-first, 1), state, actions.roll(-first, 1), memory)
                memories.append(self._with_state(memory, seat, env))
            next_tensordict.set((group, MEMORY), torch.stack(memories, 1))
        return next_tensordict

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        env = self._game()
        batch = observation_spec.shape
        for group, own in self.seats.items():
            starts = [self._with_state(self.agents[seat].start(batch.numel(), env.device), seat, env) for seat in own]
            observation_spec[group, MEMORY] = _spec(torch.stack(starts, 1).reshape(*batch, len(own)))
        return observation_spec

    def _with_state(self, memory: TensorDictBase, seat: int, env: SocialDilemmaEnv) -> TensorDictBase:
        """``memory`` with the state as it is now, which has gone once the environment has been stepped."""
        agent = self.agents[seat]
        if not agent.looks_back:
            return memory
        first = agent.first_seat(seat, env.n_agents)
        return memory.clone(recurse=False).set(STATE, env.state(first) if first else env.state())

    def _game(self) -> SocialDilemmaEnv:
        return self.parent.base_env


def _joint(tensordict: TensorDictBase, groups: list[str], key: str) -> Tensor:
    return torch.cat([tensordict.get((group, key)) for group in groups], tensordict.ndim)


def _as_wide(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(*mask.shape, *[1] * (value.ndim - mask.ndim))


def _spec(memory: TensorDict) -> Composite:
    entries = {
        key: _spec(value) if isinstance(value, TensorDictBase) else _leaf(value) for key, value in memory.items()
    }
    return Composite(entries, shape=memory.shape)


def _leaf(value: Tensor) -> Unbounded:
    return Unbounded(value.shape, dtype=value.dtype, device=value.device)


@dataclass
class FrozenConfig(NotTrainedConfig):
    """Configuration dataclass for :class:`Frozen`.

    Args:
        checkpoint (str): file that an experiment saved.
        agent (int, optional): which of its agents plays, by the seat that it was trained in; null: in every seat the
            agent of that seat.
    """

    checkpoint: str | None = MISSING
    agent: int | None = MISSING

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Frozen
