"""Agents of BenchMARL checkpoints."""

from __future__ import annotations

import io
import tempfile
import warnings
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from benchmarl.experiment import Experiment
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Composite

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.agents.devices import on_device
from benchmarl_reciprocator.agents.setup import CO_PLAYERS, Setup, algorithms_by_group, read_setup
from benchmarl_reciprocator.influence import ObservedBalance
from benchmarl_reciprocator.plugin.benchmarl_private import hidden_state_spec
from benchmarl_reciprocator.tasks.groups import seats
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

IS_INIT = "is_init"


class TrainedAgent(Agent):
    """An agent of a checkpoint, with all that its policy needs: hidden states, and what it owes the others.

    Args:
        team (Team): what it shares with the others of its checkpoint.
        place (int): its place among them.
    """

    def __init__(self, team: Team, place: int) -> None:
        self.team = team
        self.place = place
        self.looks_back = bool(team.balances)
        self.device = team.device
        self.group = next(group for group, members in team.members.items() if members.start <= place < members.stop)

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that trained it."""
        return self.team.algorithms[self.group]

    def start(self, n_envs: int, device: torch.device | str = "cpu") -> TensorDictBase:
        memory = self.team.hidden.to(device).expand(n_envs).clone()
        memory.set(IS_INIT, torch.ones(n_envs, 1, dtype=torch.bool, device=device))
        for balance in self.team.balances:
            balance._reset(None, memory)
        return memory

    @torch.no_grad()
    def act(self, observations: Tensor, memory: TensorDictBase) -> tuple[Tensor, TensorDictBase]:
        team, group = self.team, self.group
        world = self._world(observations, memory)
        world = team.policies[group](world)
        action = world.get((group, "action"))[:, self.place - team.members[group].start]
        memory = memory.clone(recurse=False)
        memory.set(IS_INIT, torch.zeros_like(memory.get(IS_INIT)))
        for key in team.hidden.keys(True, True):
            # Policies of other groups are not asked, and keep what they had.
            memory.set(key, world.get(("next", *key), memory.get(key)))
        return action, memory

    @torch.no_grad()
    def look_back(self, observations: Tensor, state: Tensor, actions: Tensor, memory: TensorDictBase) -> TensorDictBase:
        world = self._world(observations, memory).set("state", state)
        for group, members in self.team.members.items():
            world.set((group, "action"), actions[:, members])
        after = memory.clone(recurse=False)
        for balance in self.team.balances:
            balance._step(world, after)
        return after

    def _world(self, observations: Tensor, memory: TensorDictBase) -> TensorDictBase:
        """All that is known in the layout of the checkpoint's own environment, ``[B]``."""
        world = memory.clone()
        for group, members in self.team.members.items():
            world.set((group, "observation"), observations[:, members])
        return world


class Team:
    """What the agents of one experiment act by, and nothing else of the experiment.

    Args:
        experiment (Experiment): with the networks as they are to be played.
        device (torch.device, optional): where they play; default: where the experiment samples. Networks that are
            elsewhere are copied.

    Raises:
        ValueError: if the game is not one in which agents can change seats, or actions are continuous.
    """

    def __init__(self, experiment: Experiment, device: torch.device | str | None = None) -> None:
        env = experiment.test_env
        if not isinstance(experiment.task, SocialDilemmaClass):
            raise ValueError(
                "task must be one of social_dilemmas/..., whose agents can be seated, but is "
                f"{experiment.environment_name}/{experiment.task_name}"
            )
        if experiment.continuous_actions:
            raise ValueError("agents must act by discrete actions, but these act continuously")
        self.members = seats(experiment.group_map)
        group = next(iter(self.members))
        self.observation_shape = experiment.observation_spec[group, "observation"].shape[1:]
        # By a tensor, which knows its number where there are several.
        self.device = torch.empty(0, device=device or experiment.config.sampling_device).device
        self.policies = {group: _on(policy, self.device) for group, policy in experiment.group_policies.items()}
        self.algorithms = algorithms_by_group(experiment.algorithm_config, experiment.group_map)
        self.hidden = _hidden_states(experiment).to(self.device)
        transforms = env.transform.transforms if hasattr(env.transform, "transforms") else [env.transform]
        balances = [transform for transform in transforms if isinstance(transform, ObservedBalance)]
        self.balances = [balance.clone().to(self.device) for balance in balances]

    def __deepcopy__(self, memo: dict[int, Any]) -> Team:
        """Itself: nothing of it changes when it plays, and it holds on to all of its experiment's estimator. TorchRL's
        collector copies the policies that it is given where they are trained on another device.
        """
        return self

    def agents(self) -> list[TrainedAgent]:
        """Its agents, in the order of the seats that they were trained in."""
        return [TrainedAgent(self, place) for place in range(sum(m.stop - m.start for m in self.members.values()))]


def load_agents(checkpoint: Path, device: torch.device | str = "cpu") -> list[TrainedAgent]:
    """All agents of a checkpoint of BenchMARL, in the order of the seats that they were trained in.

    Args:
        checkpoint (Path): file that an experiment saved, on whatever device.
        device (torch.device): where they play.

    Raises:
        ValueError: if it cannot be loaded, or its task is none of this package's.
    """
    return Team(load_checkpoint(checkpoint, device=device)).agents()


def agents_for_seats(experiment: Experiment, key: str, checkpoint: Path, agent: int | None) -> list[TrainedAgent]:
    """Agents of a checkpoint for every seat of an experiment's task, on the device where it samples.

    Args:
        experiment (Experiment): of the task that they are to play, with its specs made.
        key (str): the config key that names the checkpoint, for errors.
        checkpoint (Path): file that an experiment saved.
        agent (int, optional): which of its agents plays, by the seat that it was trained in; ``None``: in every seat
            the agent of that seat.

    Raises:
        ValueError: if the checkpoint cannot be loaded, has no such agent, or its agents cannot play this task.
    """
    # Where they act. What is learned against them may be trained elsewhere.
    trained = load_agents(checkpoint, experiment.config.sampling_device)
    members = seats(experiment.group_map)
    n_agents = sum(map(len, experiment.group_map.values()))
    if len(trained) != n_agents:
        raise ValueError(
            f"{key}.checkpoint must be of as many agents as the task has ({n_agents}), but {str(checkpoint)!r} is of "
            f"{len(trained)}"
        )
    if agent is not None and not 0 <= agent < n_agents:
        raise ValueError(f"{key}.agent must be null or 0 to {n_agents - 1}, but is {agent!r}")
    agents = trained if agent is None else [trained[agent]] * n_agents
    for group, own_seats in members.items():
        observation = experiment.observation_spec[group, "observation"].shape[1:]
        own = agents[own_seats.start].team.observation_shape
        if observation != own:
            raise ValueError(
                f"{key}.checkpoint must be of agents that observe {list(observation)}, as those of the task do, but "
                f"{str(checkpoint)!r} is of agents that observe {list(own)}"
            )
    return agents


def load_checkpoint(
    checkpoint: Path, with_buffers: bool = False, device: torch.device | str = "cpu", **options: Any
) -> Experiment:
    """The experiment of a checkpoint, as it was when it was saved. Its folder is left as it is.

    Args:
        checkpoint (Path): file that an experiment saved, on whatever device.
        with_buffers (bool): whether what it had stored of its experience is loaded too: to go on with training.
        device (torch.device): where all of it is.
        **options: of the experiment's configuration, in place of the saved ones.

    Raises:
        ValueError: if it cannot be loaded.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        torch.random.fork_rng(devices=[]),
    ):
        # What is to be said of the run was said when it was trained.
        warnings.simplefilter("ignore")
        patch = {
            # Loaded below, without the buffers: they are far larger than all the rest.
            "restore_file": None,
            "save_folder": folder,
            "loggers": [],
            "create_json": False,
            "render": False,
            "evaluation_episodes": 1,
            **on_device(device),
            **options,
        }
        try:
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
            if not with_buffers:
                _leave_out_buffers(saved)
            experiment = _rebuilt(read_setup(checkpoint), patch)
            experiment.load_state_dict(saved)
        except ValueError as error:
            raise ValueError(f"{checkpoint} cannot be loaded: {error}") from error
        except Exception as error:  # what a foreign or half-written file does to unpickling is anything
            raise ValueError(f"{checkpoint} cannot be loaded: {error!r}") from error
        experiment.close()
    return experiment


def _on(policy: Any, device: torch.device) -> Any:
    """A policy on ``device``, a copy where it is elsewhere."""
    weights = TensorDict.from_module(policy)
    if all(value.device == device for value in weights.values(True, True)):
        return policy
    copied = deepcopy(policy)
    # Not by the module's own ``to``, which networks of several agents may take in only in part.
    weights.data.to(device).to_module(copied)
    return copied


def _rebuilt(setup: Setup, patch: dict[str, Any]) -> Experiment:
    """An experiment made of the same parts, but for the callbacks of whoever made it: they saw to its training, and
    need not be there any more.

    Args:
        setup (Setup): the parts.
        patch (dict): options of the experiment, in place of its own.

    Raises:
        ValueError: if there is no such option.
    """
    setup.task.config = setup.options
    # Whom it met in training is not asked for, and need not be there any more either.
    vars(setup.experiment).pop(CO_PLAYERS, None)
    for key, value in patch.items():
        if not hasattr(setup.experiment, key):
            raise ValueError(f"experiment must have the options {', '.join(vars(setup.experiment))}, but not {key!r}")
        setattr(setup.experiment, key, value)
    return Experiment(
        task=setup.task,
        algorithm_config=setup.algorithm,
        model_config=setup.model,
        critic_model_config=setup.critic_model,
        seed=setup.seed,
        config=setup.experiment,
    )


def _leave_out_buffers(saved: dict[str, Any]) -> None:
    """Set every replay buffer to ``None``: BenchMARL's, by group, and those that callbacks keep as ``"buffer"``."""
    for key, value in saved.items():
        if isinstance(key, str) and (key == "buffer" or key.startswith("buffer_")):
            saved[key] = None
        elif type(value) is dict:
            _leave_out_buffers(value)


def _hidden_states(experiment: Experiment) -> TensorDict:
    """Zeros in the form of the policies' hidden states of one environment, by group; empty without memory."""
    hidden = Composite()
    if experiment.model_config.is_rnn:
        for group, agents in experiment.group_map.items():
            spec = hidden_state_spec(experiment.model_config, group)
            hidden[group] = spec.expand(len(agents), *spec.shape)
    # Groups as plain levels: what is set beside the states has dimensions of its own.
    zeros = hidden.zero().flatten_keys(".")
    return TensorDict({tuple(key.split(".")): value for key, value in zeros.items()})
