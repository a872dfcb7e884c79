"""Plays agents against each other, many episodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv, paying_without_noise
from benchmarl_reciprocator.tasks.groups import joint_entry, seats
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass


class Outcome(NamedTuple):
    """What came out when agents played, means over episodes.

    Args:
        returns (Tensor): of the agent in each seat, ``[N]``, double.
        steps (float): length of an episode.
        by_seat (dict): what the task measures of each agent alone, ``N`` numbers by name; ``nan`` where undefined.
        of_all (tuple of str): which of these it measures for all together too.
    """

    returns: Tensor
    steps: float
    by_seat: dict[str, list[float]]
    of_all: tuple[str, ...]


def play(env: SocialDilemmaEnv, agents: Sequence[Agent], deterministic: bool = False) -> tuple[TensorDictBase, Tensor]:
    """One episode in every environment, paid without ``reward_noise``.

    Args:
        env (SocialDilemmaEnv): ``B`` environments.
        agents (sequence of Agent): who sits in each seat, on the device of ``env``.
        deterministic (bool): whether everybody takes the likeliest action, in place of one that is drawn.

    Returns:
        tuple[TensorDictBase, Tensor]: ``[B, T]`` as BenchMARL collects it, and boolean ``[B, T]``, whether a step
        belongs to the episode (or comes after its end).

    Raises:
        ValueError: if there is not an agent for each seat, or one is to take another seat than its own in a game whose
            seats are not interchangeable.
    """
    check_seating(env, agents)
    firsts = [agent.first_seat(seat, env.n_agents) for seat, agent in enumerate(agents)]
    memories = [agent.start(env.batch_size.numel(), env.device) for agent in agents]
    steps: list[TensorDictBase] = []
    valid: list[Tensor] = []
    running = torch.ones(env.batch_size, dtype=torch.bool, device=env.device)
    tensordict = env.reset()
    exploration = ExplorationType.DETERMINISTIC if deterministic else ExplorationType.RANDOM
    with paying_without_noise(env), set_exploration_type(exploration):
        while running.any() and len(steps) < env.max_steps:
            observations = joint_observations(env, tensordict)
            views = [observations.roll(-first, 1) for first in firsts]
            # Before the step: the environment holds no state but the present one.
            turned = [(seat, first) for seat, first in enumerate(firsts) if first and agents[seat].looks_back]
            states = {seat: env.state(first) for seat, first in turned}
            chosen = [agent.act(view, memory) for agent, view, memory in zip(agents, views, memories)]
            actions = torch.stack([action for action, _ in chosen], -1)
            for group, members in seats(env.group_map).items():
                tensordict.set((group, "action"), actions[:, members])
            tensordict = env.step(tensordict)
            memories = [memory for _, memory in chosen]
            for seat, (agent, first) in enumerate(zip(agents, firsts)):
                if agent.looks_back:
                    state = states[seat] if seat in states else tensordict.get("state")
                    rolled = actions.roll(-first, 1)
                    memories[seat] = agent.look_back(views[seat], state, rolled, memories[seat])
            steps.append(tensordict)
            valid.append(running)
            running = running & ~tensordict.get(("next", "done")).squeeze(-1)
            tensordict = env.step_mdp(tensordict)
    return torch.stack(steps, 1), torch.stack(valid, 1)


def check_seating(env: SocialDilemmaEnv, agents: Sequence[Agent]) -> None:
    """Raise one ``ValueError`` if the agents cannot sit where they are to, see :func:`play`."""
    if len(agents) != env.n_agents:
        raise ValueError(f"there must be one agent for each of {env.n_agents} seats, but there are {len(agents)}")
    if env.interchangeable_seats:
        return
    for seat, agent in enumerate(agents):
        if agent.place not in (None, seat):
            raise ValueError(
                f"the agent of seat {agent.place} must sit in its own seat, but is to take seat {seat}: the game is "
                "another one from there"
            )


def joint_observations(env: SocialDilemmaEnv, tensordict: TensorDictBase) -> Tensor:
    """What every agent observes, ``[B, N, *O]``, whatever the grouping."""
    return torch.cat([tensordict.get((group, "observation")) for group in env.group_map], 1)


def returns(trajectories: TensorDictBase, valid: Tensor) -> Tensor:
    """Every agent's return in every episode.

    Args:
        trajectories (TensorDictBase): ``[B, T]``, as :func:`play` gives them.
        valid (Tensor): boolean ``[B, T]``.

    Returns:
        Tensor: ``[B, N]``.
    """
    return (joint_entry(trajectories, "next", "reward") * valid.unsqueeze(-1)).sum(1)


def outcome(env: SocialDilemmaEnv, task: SocialDilemmaClass, agents: Sequence[Agent], seed: int) -> Outcome:
    """What comes out when agents play.

    Args:
        env (SocialDilemmaEnv): as many environments as episodes are to be played.
        task (SocialDilemmaClass): whose measures are taken.
        agents (sequence of Agent): who sits in each seat.
        seed (int): of the environments and the actions.

    Raises:
        ValueError: as :func:`play`.
    """
    with seeded(seed):
        env.set_seed(seed)
        trajectories, valid = play(env, agents)
    scores = returns(trajectories, valid).double()
    measured = task.options.metrics(trajectories, valid)
    named = [name.removeprefix("agent_0_") for name in measured if name.startswith("agent_0_")]
    keys_of = {name: [f"agent_{seat}_{name}" for seat in range(len(agents))] for name in named}
    by_seat = {
        name: [measured[key].double().nanmean().item() for key in keys]
        for name, keys in keys_of.items()
        if all(key in measured for key in keys)
    }
    steps = valid.sum().item() / len(scores)
    return Outcome(scores.mean(0), steps, by_seat, tuple(name for name in measured if name in by_seat))
