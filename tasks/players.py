"""Scripted players: agents whose rule is written down, to train against and to measure others by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.extensions import NameTakenError, declared, load, package_of, warn_of
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv


class Player(ABC):
    """A scripted player: what it does next, from what an agent observes and from what it remembers.

    Attributes:
        memory_size (int): number of values ``M`` that it keeps through an episode; zeros at its start.
    """

    memory_size: int = 0

    @abstractmethod
    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Play one step.

        Args:
            observation (Tensor): what one agent sees, from its own point of view: ``[*B, *O]``.
            memory (Tensor): ``[*B, M]``.

        Returns:
            tuple[Tensor, Tensor]: probabilities of its actions ``[*B, A]``, and its memory after this step ``[*B, M]``.
        """


def players_of_packages(options: Any, taken: Collection[str] = ()) -> dict[str, Callable[[], Player]]:
    """Makers of the players that other installed packages have for a task, by name.

    Each declares a function of the task's options, which gives a player, or ``None`` where it cannot play such a task.
    One that fails is left out, with a warning.

    Args:
        options (TaskConfig): of the task.
        taken (collection of str): names of the task's own players.

    Raises:
        NameTakenError: if a player has one of those.
    """
    makers: dict[str, Callable[[], Player]] = {}
    for name, entry in declared("players").items():
        make = load(entry)
        if make is None:
            continue
        try:
            can_play = make(options) is not None
        except Exception as error:  # a function that did not expect such options is no reason to do without the others
            warn_of(entry, error)
            continue
        if not can_play:
            continue
        if name in taken:
            raise NameTakenError(
                f"a player must have a name that its task's own players have not, but {name!r} of "
                f"{package_of(entry)} is one of {', '.join(taken)}"
            )
        makers[name] = partial(make, options)
    return makers


def play(env: SocialDilemmaEnv, players: Sequence[Player], seed: int = 0) -> TensorDictBase:
    """One episode of full length in every environment of ``env``, every seat played by a script.

    Args:
        env (SocialDilemmaEnv): ``B`` environments of ``N`` agents and ``T`` steps.
        players (sequence of Player): of every seat, ``N``.
        seed (int): of the players' random choices.

    Returns:
        TensorDictBase: ``[B, T]`` with ``"reward"`` ``[B, T, N]`` and what the game reports of every step
        (``"cooperate"`` ``[B, T, N, 1]`` in matrix games, ``"coins_taken"`` ``[B, T, N, N]`` in Coins).
    """
    generator = torch.Generator(env.device).manual_seed(seed)
    memories = [torch.zeros(*env.batch_size, player.memory_size, device=env.device) for player in players]
    env.begin(torch.ones(env.batch_size, dtype=torch.bool, device=env.device))
    steps = []
    for _ in range(env.max_steps):
        seen, actions = env.observations(), []
        for seat, player in enumerate(players):
            probabilities, memories[seat] = player(seen[:, seat], memories[seat])
            actions.append(torch.multinomial(probabilities, 1, generator=generator))
        reward, info = env.advance(torch.cat(actions, -1))
        steps.append(TensorDict({"reward": reward, **info}, env.batch_size))
    return torch.stack(steps, 1)
