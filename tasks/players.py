"""Scripted players: agents whose rule is written down, to train against and to measure others by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

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
    env.start(torch.ones(env.batch_size, dtype=torch.bool, device=env.device))
    steps = []
    for _ in range(env.max_steps):
        seen, actions = env.observations(), []
        for seat, player in enumerate(players):
            probabilities, memories[seat] = player(seen[:, seat], memories[seat])
            actions.append(torch.multinomial(probabilities, 1, generator=generator))
        reward, info = env.transition(torch.cat(actions, -1))
        steps.append(TensorDict({"reward": reward, **info}, env.batch_size))
    return torch.stack(steps, 1)
