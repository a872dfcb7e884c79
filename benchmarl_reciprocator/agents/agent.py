"""What it takes to sit in a seat of a game."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.distributions import Categorical
from torchrl.envs.utils import ExplorationType, exploration_type


class Agent(ABC):
    """Somebody who plays a game, in any seat of it.

    Everything an agent is shown is in the order of seats from that one on which is the first to *it*: a trained agent
    finds itself where it was trained, whatever seat it has taken. What it has to keep through an episode is its memory,
    which is handed around, so that an agent can play in several places at once.

    Attributes:
        place (int, optional): which place in that order is its own; ``None`` for one that belongs in no seat more than
            in another, and is itself the first.
        looks_back (bool): whether it takes in what all did, see :meth:`look_back`.
        device (torch.device, optional): where its networks are; ``None`` for one that plays anywhere.
    """

    place: int | None = None
    looks_back: bool = False
    device: torch.device | None = None

    @abstractmethod
    def start(self, n_envs: int, device: torch.device | str = "cpu") -> TensorDictBase:
        """Its memory at the start of an episode.

        Args:
            n_envs (int): number of environments ``B``.
            device (torch.device): where it plays; a trained agent is there already, see
                :func:`~benchmarl_reciprocator.agents.trained.load_agents`.

        Returns:
            TensorDictBase: ``[B]``, on ``device``.
        """

    @abstractmethod
    def act(self, observations: Tensor, memory: TensorDictBase) -> tuple[Tensor, TensorDictBase]:
        """Choose an action: drawn, or the most likely where TorchRL's exploration type is deterministic.

        Args:
            observations (Tensor): ``[B, N, *O]``, of all agents.
            memory (TensorDictBase): ``[B]``.

        Returns:
            tuple[Tensor, TensorDictBase]: its actions ``[B]``, integers, and its memory after them.
        """

    def look_back(self, observations: Tensor, state: Tensor, actions: Tensor, memory: TensorDictBase) -> TensorDictBase:
        """Take in what all did.

        Args:
            observations (Tensor): ``[B, N, *O]`` before the step.
            state (Tensor): ``[B, *S]``, the global state before it.
            actions (Tensor): ``[B, N]``, of all agents.
            memory (TensorDictBase): ``[B]``, after :meth:`act`.

        Returns:
            TensorDictBase: ``[B]``, its memory for the next step.
        """
        return memory

    def first_seat(self, seat: int, n_agents: int) -> int:
        """The seat that is the first to it when it sits in ``seat``."""
        return (seat - (self.place or 0)) % n_agents


class ScriptedAgent(Agent):
    """A scripted player as an agent.

    Args:
        player (Player): of the task's ``players()``.
    """

    def __init__(self, player: Any) -> None:
        self.player = player

    def start(self, n_envs: int, device: torch.device | str = "cpu") -> TensorDictBase:
        return TensorDict({"memory": torch.zeros(n_envs, self.player.memory_size, device=device)}, [n_envs])

    def act(self, observations: Tensor, memory: TensorDictBase) -> tuple[Tensor, TensorDictBase]:
        probabilities, after = self.player(observations[:, 0], memory.get("memory"))
        memory = memory.clone(recurse=False).set("memory", after)
        if exploration_type() == ExplorationType.DETERMINISTIC:
            return probabilities.argmax(-1), memory
        return Categorical(probs=probabilities).sample(), memory
