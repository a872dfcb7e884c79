"""What is to be known of a game so that the influence of actions can be computed exactly."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class KnownModel(Protocol):
    """A game whose rewards and transitions are known. A ``TaskConfig`` that has one gives it as ``known_model()``.

    A situation is what the game's future depends on, ``[*B, K]``, in numbers of the game's own. Actions are joint ones,
    integers ``[*B, N]``.

    Attributes:
        n_agents (int): number of agents ``N``.
        n_actions (int): number of actions ``A`` of every agent.
        n_situations (int): number of situations ``S``, where there is a table of them.
        has_tables (bool): whether there are few enough: :meth:`number`, :meth:`turned`, :meth:`observations`,
            :meth:`values` and :meth:`future` are of such games alone.
        continuation_probability (float): probability that an episode continues after a step.
    """

    n_agents: int
    n_actions: int
    n_situations: int
    has_tables: bool
    continuation_probability: float

    def situation(self, state: Tensor) -> Tensor:
        """Read off the task's ``"state"`` ``[*B, *S]``: ``[*B, K]``."""

    def rewards(self, situation: Tensor, action: Tensor) -> Tensor:
        """Expected rewards of a step, ``[*B, N]``."""

    def number(self, situation: Tensor) -> Tensor:
        """Its number in a table, ``[*B]``."""

    def turned(self, situation: Tensor, by: int) -> Tensor:
        """The same situation with everyone ``by`` seats further, ``[*B, K]``."""

    def observations(self) -> Tensor:
        """What every agent observes in every situation, ``[S, N, *O]``."""

    def values(self, policy: Tensor, gamma: float) -> Tensor:
        """Exact expected discounted returns from every situation, ``[S, N]``, of a policy ``[S, N, A]``."""

    def future(self, values: Tensor, situation: Tensor, action: Tensor, gamma: float) -> Tensor:
        """Expected discounted value ``[*B, N]`` of the situation after a step."""
