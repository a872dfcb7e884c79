"""Scripted players: agents whose rule is written down, to train against and to measure others by."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


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
