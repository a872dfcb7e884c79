"""Checks of scripted players."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarl_reciprocator.agents.play import joint_observations
from benchmarl_reciprocator.tasks.players import Player
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass
from benchmarl_reciprocator.testing.experiments import act, require, telling

N_ENVS, STEPS = 6, 48


def check_player(player: str | Callable[[], Player], task: SocialDilemmaClass) -> None:
    """Check that a scripted player can play a task in every seat.

    Args:
        player (str or callable): name of one of ``task.players()``, or what makes a player.
        task (SocialDilemmaClass): the task, such as
            ``task_config_registry["social_dilemmas/my_game"].get_from_yaml()`` of BenchMARL.

    Raises:
        AssertionError: if it plays no distribution over the actions of its seat, its memory has not the size that it
            says, it keeps something besides its memory, or it cannot play many episodes at once.
    """
    if isinstance(player, str):
        makers = task.players()
        require(player in makers, f"{player} must be a player of {task.name.lower()} ({', '.join(makers)})")
        name, make = player, makers[player]
    else:
        name, make = getattr(player, "__name__", repr(player)), player
    with telling(f"player {name} in task {task.name.lower()}"):
        made = make()
        require(isinstance(made, Player), f"what makes it must give a tasks.players.Player, but gives {type(made)}")
        size = made.memory_size
        require(isinstance(size, int) and size >= 0, f"memory_size must be an integer >= 0, but is {size!r}")
        env = task.for_algorithm(needs_joint_group=False).options.make_env(num_envs=N_ENVS, device="cpu", seed=0)
        for seat in range(env.n_agents):
            _play_in(env, seat, make())
        if len(set(env.n_actions)) == 1:
            _play_in_a_group(env, make())


def _play_in(env: Any, seat: int, player: Player) -> None:
    """Play an episode from ``seat`` while all others act at random, and look at every step."""
    generator = torch.Generator().manual_seed(seat)
    memory = torch.zeros(N_ENVS, player.memory_size)
    tensordict = env.reset()
    for _ in range(min(env.max_steps, STEPS)):
        seen = joint_observations(env, tensordict)[:, seat]
        kept = memory.clone(), seen.clone()
        before = torch.get_rng_state()
        probabilities, after = player(seen, memory)
        _check_distribution(probabilities, (N_ENVS, env.n_actions[seat]))
        require(
            after.shape == memory.shape,
            f"its memory must stay of shape {list(memory.shape)} (memory_size={player.memory_size}), but is "
            f"{list(after.shape)} after a step",
        )
        require(after.isfinite().all(), "its memory must be finite numbers")
        require(
            torch.equal(memory, kept[0]) and torch.equal(seen, kept[1]),
            "it must leave the observation and the memory that it is given as they are, and give a new memory",
        )
        with torch.random.fork_rng(devices=[]):
            # A player may draw what it remembers, by PyTorch's own random numbers.
            torch.set_rng_state(before)
            again, after_again = player(seen, memory)
        require(
            torch.equal(again, probabilities) and torch.equal(after_again, after),
            "it must give the same for the same observation and memory: what it is to remember belongs in its memory",
        )
        actions = torch.stack(
            [torch.randint(n_actions, (N_ENVS,), generator=generator) for n_actions in env.n_actions], -1
        )
        actions[:, seat] = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
        tensordict = env.step_mdp(env.step(act(tensordict, actions, env)))
        memory = after


def _play_in_a_group(env: Any, player: Player) -> None:
    """All seats at once must come to the same as each by itself: in training a group of agents is played at once."""
    seen = joint_observations(env, env.reset())
    memory = torch.zeros(N_ENVS, env.n_agents, player.memory_size)
    probabilities, after = player(seen, memory)
    _check_distribution(probabilities, (N_ENVS, env.n_agents, env.n_actions[0]))
    if not torch.equal(player(seen, memory)[1], after):
        # What it remembers is drawn: one agent's draws are others than those of several.
        return
    for seat in range(env.n_agents):
        alone, after_alone = player(seen[:, seat], memory[:, seat])
        require(
            torch.allclose(alone, probabilities[:, seat]) and torch.allclose(after_alone, after[:, seat]),
            "it must play observations [B, n, ...] of several agents as it plays each agent's [B, ...]",
        )


def _check_distribution(probabilities: Tensor, shape: tuple[int, ...]) -> None:
    require(
        probabilities.shape == shape,
        f"it must give probabilities of shape {list(shape)}, one for each action, but gives "
        f"{list(probabilities.shape)}",
    )
    require(probabilities.is_floating_point(), f"probabilities must be floats, but are {probabilities.dtype}")
    require(probabilities.isfinite().all() and (probabilities >= 0).all(), "probabilities must be finite and >= 0")
    sums = probabilities.sum(-1)
    require(
        torch.allclose(sums, torch.ones_like(sums), atol=1e-4),
        f"probabilities must sum to 1, but sum to {sums.min().item():.4f} to {sums.max().item():.4f}",
    )
