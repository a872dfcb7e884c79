"""What all social dilemmas share: a batch of simultaneous-move games as one TorchRL environment."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase, TransformedEnv

from benchmarl_reciprocator.tasks.groups import seats
from benchmarl_reciprocator.tasks.noise import NOISE
from benchmarl_reciprocator.tasks.options import check_option, one_of

GROUPINGS = ("per_agent", "one_group")


class ActionRange(NamedTuple):
    """Continuous actions: vectors whose numbers are all from one interval.

    Args:
        low (float): the least that a number can be.
        high (float): the most.
        size (int): how many numbers ``D`` an action has.
    """

    low: float
    high: float
    size: int = 1


class SocialDilemmaEnv(EnvBase):
    """Base class of the social dilemmas: ``N`` agents act simultaneously in a batch of ``num_envs`` environments.

    A game states its rules in four methods on plain tensors: :meth:`start`, :meth:`transition`, :meth:`observations`
    and :meth:`state`. Grouping, horizon, stochastic episode length, partial resets, specs and seeds are handled here.

    Args:
        n_actions (sequence of int): number of actions of each agent; its length is the number of agents ``N``. With
            continuous actions, of those that agents would have without, for which scripted players are written.
        observation_shape (sequence of int): shape ``*O`` of one agent's observation.
        state_shape (sequence of int): shape ``*S`` of the global state.
        info (mapping, optional): what :meth:`transition` reports for each agent, as the number of values by name.

    Keyword Args:
        num_envs (int): number of environments ``B``.
        max_steps (int): an episode is truncated after this many steps.
        continuation_probability (float): probability, in ``(0, 1]``, that the episode continues after a step; it
            terminates otherwise.
        grouping (str): ``"per_agent"``, one group for each agent (self-interested learners), or ``"one_group"``,
            all agents in one group (centralised critics and mixers work within a group).
        action_range (ActionRange, optional): where all agents act by vectors of numbers in place of choices, from
            what. What an agent does beyond it counts as the nearest that is in it.
        reward_noise (float): standard deviation of normal noise on every reward of a step, in units of reward, drawn
            for each agent. :meth:`transition` gives rewards without it.
        observation_noise (float): how wrong agents see, see :meth:`misread`. The state is as it is.
        device (torch.device): device of all tensors.
        seed (int, optional): seed of the environments' own random numbers.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
    """

    def __init__(
        self,
        n_actions: Sequence[int],
        observation_shape: Sequence[int],
        state_shape: Sequence[int],
        info: Mapping[str, int] | None = None,
        *,
        num_envs: int,
        max_steps: int,
        continuation_probability: float = 1.0,
        grouping: str = "per_agent",
        action_range: ActionRange | None = None,
        reward_noise: float = 0.0,
        observation_noise: float = 0.0,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        check_option("task.max_steps", max_steps, max_steps >= 1, "an integer >= 1")
        check_option(
            "task.continuation_probability",
            continuation_probability,
            0 < continuation_probability <= 1,
            "a probability above 0",
        )
        check_option("task.grouping", grouping, grouping in GROUPINGS, one_of(GROUPINGS))
        check_option(
            "task.grouping",
            grouping,
            grouping == "per_agent" or len(set(n_actions)) == 1,
            f"per_agent where agents have different numbers of actions ({list(n_actions)})",
        )
        check_option("task.reward_noise", reward_noise, 0 <= reward_noise < math.inf, NOISE)
        check_option("task.observation_noise", observation_noise, 0 <= observation_noise < math.inf, NOISE)
        super().__init__(device=device, batch_size=[num_envs])
        self.n_agents = len(n_actions)
        self.n_actions = list(n_actions)
        self.max_steps = max_steps
        self.continuation_probability = continuation_probability
        self.grouping = grouping
        self.action_range = action_range
        self.reward_noise = reward_noise
        self.observation_noise = observation_noise
        self.info = dict(info or {})
        names = [f"agent_{i}" for i in range(self.n_agents)]
        self.group_map = {name: [name] for name in names} if grouping == "per_agent" else {"agents": names}
        self._group_slices = seats(self.group_map)
        self._make_specs(tuple(observation_shape), tuple(state_shape))
        self._generator = torch.Generator(device=self.device)
        self._steps = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self.set_seed(seed if seed is not None else torch.initial_seed() % 2**31)

    @abstractmethod
    def start(self, where: Tensor) -> None:
        """Start an episode in the environments selected by the boolean mask ``where`` ``[B]``."""

    @abstractmethod
    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Play one step.

        Args:
            actions (Tensor): ``[B, N]``, integers; with continuous actions ``[B, N, D]``, floats in ``action_range``.

        Returns:
            tuple[Tensor, dict[str, Tensor]]: rewards ``[B, N]``, and for each name in ``info`` a tensor ``[B, N, K]``
            of its ``K`` values.
        """

    @abstractmethod
    def observations(self) -> Tensor:
        """What each agent sees now, from its own point of view: ``[B, N, *O]``, float."""

    @abstractmethod
    def state(self, first_seat: int = 0) -> Tensor:
        """The global state now: ``[B, *S]``, float.

        Args:
            first_seat (int): the seat from which seats are counted. Other than 0 only where
                :attr:`interchangeable_seats` holds; other games need not accept it.
        """

    def misread(self, observations: Tensor) -> Tensor:
        """What agents take their observations for where there is ``observation_noise``, which is the standard
        deviation of normal noise on every number that they see. A game may have its own way of seeing wrong.

        Args:
            observations (Tensor): as they are, ``[B, N, *O]``.

        Returns:
            Tensor: ``[B, N, *O]``.
        """
        return observations + self.observation_noise * self.random_normal(*observations.shape)

    def begin(self, where: Tensor) -> None:
        """:meth:`start` episodes, and count their steps from 0."""
        self._steps = self._steps.masked_fill(where, 0)
        self.start(where)

    def advance(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Play one step by :meth:`transition`, and count it."""
        outcome = self.transition(actions)
        self._steps = self._steps + 1
        return outcome

    @property
    def interchangeable_seats(self) -> bool:
        """Whether the game is the same from every seat, so that an agent trained in one can play in any other. Such a
        game gives its :meth:`state` from any seat.
        """
        return False

    def ends(self) -> Tensor:
        """Which episodes end by chance with the step that was just played, boolean ``[B, 1]``."""
        if self.continuation_probability < 1:
            return self.random(*self.batch_size, 1) >= self.continuation_probability
        return torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=self.device)

    def random(self, *shape: int) -> Tensor:
        """Uniform random numbers ``[*shape]`` in ``[0, 1)`` from the environments' own generator."""
        return torch.rand(*shape, generator=self._generator, device=self.device)

    def random_normal(self, *shape: int) -> Tensor:
        """Standard normal random numbers ``[*shape]`` from the environments' own generator."""
        return torch.randn(*shape, generator=self._generator, device=self.device)

    def action_spec_of(self, seat: int, shape: tuple[int, ...]) -> TensorSpec:
        """How the agent of a seat acts.

        Args:
            seat (int): whose spec it is, and that of all other agents in its group.
            shape (tuple of int): ``[B, n]``, for a group of ``n`` agents.
        """
        if self.action_range is None:
            return Categorical(self.n_actions[seat], shape=shape, device=self.device)
        low, high, size = self.action_range
        return Bounded(low, high, shape=(*shape, size), device=self.device)

    def _make_specs(self, observation_shape: tuple[int, ...], state_shape: tuple[int, ...]) -> None:
        batch = self.batch_size
        observation, action, reward = Composite(shape=batch), Composite(shape=batch), {}
        for group, agents in self.group_map.items():
            shape = (*batch, len(agents))
            first = self._group_slices[group].start
            observation[group] = Composite(
                observation=Unbounded((*shape, *observation_shape), device=self.device),
                shape=shape,
                device=self.device,
            )
            if self.info:
                observation[group, "info"] = Composite(
                    {key: Unbounded((*shape, size), device=self.device) for key, size in self.info.items()},
                    shape=shape,
                    device=self.device,
                )
            action[group] = Composite(
                action=self.action_spec_of(first, shape),
                shape=shape,
                device=self.device,
            )
            reward[group] = Composite(
                reward=Unbounded((*shape, 1), device=self.device), shape=shape, device=self.device
            )
        observation["state"] = Unbounded((*batch, *state_shape), device=self.device)
        flag = Categorical(2, shape=(*batch, 1), dtype=torch.bool, device=self.device)
        self.observation_spec = observation
        self.action_spec = action
        self.reward_spec = Composite(reward, shape=batch, device=self.device)
        self.done_spec = Composite(
            done=flag,
            terminated=flag.clone(),
            truncated=flag.clone(),
            shape=batch,
            device=self.device,
        )

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        if tensordict is not None and "_reset" in tensordict.keys():
            where = tensordict.get("_reset").reshape(self.batch_size)
        else:
            where = torch.ones(self.batch_size, dtype=torch.bool, device=self.device)
        self.begin(where)
        false = torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=self.device)
        agents = (*self.batch_size, self.n_agents)
        return self._assemble(
            None,
            {key: torch.zeros(*agents, size, device=self.device) for key, size in self.info.items()},
            {"done": false, "terminated": false.clone(), "truncated": false.clone()},
        )

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        actions = torch.cat([tensordict.get((group, "action")) for group in self.group_map], dim=1)
        if self.action_range is not None:
            actions = actions.clamp(self.action_range.low, self.action_range.high)
        rewards, info = self.advance(actions)
        if self.reward_noise:
            rewards = rewards + self.reward_noise * self.random_normal(*rewards.shape)
        truncated = (self._steps >= self.max_steps).unsqueeze(-1)
        terminated = self.ends()
        flags = {"done": truncated | terminated, "terminated": terminated, "truncated": truncated}
        return self._assemble(rewards, info, flags)

    def _assemble(self, rewards: Tensor | None, info: dict[str, Tensor], flags: dict[str, Tensor]) -> TensorDictBase:
        observations = self.observations()
        if self.observation_noise:
            observations = self.misread(observations)
        out = {**flags, "state": self.state()}
        for group, members in self._group_slices.items():
            entries = {"observation": observations[:, members]}
            size = [*self.batch_size, members.stop - members.start]
            if rewards is not None:
                entries["reward"] = rewards[:, members].unsqueeze(-1)
            if info:
                entries["info"] = TensorDict(
                    {key: value[:, members] for key, value in info.items()},
                    size,
                    device=self.device,
                )
            out[group] = TensorDict(entries, size, device=self.device)
        return TensorDict(out, self.batch_size, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._generator.manual_seed(seed)


def game_in(env: EnvBase) -> SocialDilemmaEnv | None:
    """The game within all transforms of an environment, ``None`` where it is none of :class:`SocialDilemmaEnv`."""
    while isinstance(env, TransformedEnv):
        env = env.base_env
    return env if isinstance(env, SocialDilemmaEnv) else None


@contextmanager
def paying_without_noise(env: EnvBase) -> Iterator[None]:
    """Let an environment pay without ``reward_noise``, as where agents are scored in it."""
    game = game_in(env)
    noise = game.reward_noise if game is not None else 0.0
    try:
        if game is not None:
            game.reward_noise = 0.0
        yield
    finally:
        if game is not None:
            game.reward_noise = noise
