"""The influence balance as something that an agent observes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.data import TensorSpec, Unbounded
from torchrl.envs.transforms import Transform

from benchmarl_reciprocator.influence.balance import next_balance

BALANCE_KEY = "influence_balance"
STEP_KEY = "influence_step"


class ObservedBalance(Transform):
    """Keeps the influence balance while an environment is stepped, and shows it to agents.

    The reciprocal reward of an agent depends on what it owes the others. A policy without memory cannot know that
    from the board alone; with the balance as one more observation the reward is a function of what the agent sees.

    The balance goes on by the value influence of every step as it is estimated during collection, and starts from
    zero at every reset. It is the one that counts: the reward for the same steps multiplies this balance by
    the influence of the agent's answer.

    Args:
        influence (callable): value influence ``[*B, N, N]`` of a step, from the environment's tensordict
            ``[*B]`` with observations and actions and the number of steps ``[*B]`` that the episode has had.
        n_agents (int): number of agents ``N``.
        shown_to (mapping): agents by the key under which they see their balance: ``{("agent_0", "balance"):
            slice(0, 1)}``.

    Keyword Args:
        gamma (float): discount of the balance, in ``[0, 1]``.
        debit (str): what is taken off, see :func:`~benchmarl_reciprocator.influence.influence_balance`.
        scale (float): the balance, in the unit of the influence, at which the observation is ``tanh(1)``.

    Keys written, at a reset and under ``"next"``: ``"influence_balance"`` ``[*B, N, N]``, in that unit, where
    ``[..., i, j]`` is what ``i`` owes ``j``; ``"influence_step"`` ``[*B, 1]``; and under every key of ``shown_to``
    ``[*B, n, N - 1]``, ``tanh(balance / scale)`` of the ``n`` agents towards the others, in the order of seats
    after the own.

    Examples:
        >>> def first_helps_second(tensordict, step):
        ...     return torch.tensor([[0.0, 1.0], [0.0, 0.0]])
        >>> from torchrl.envs import TransformedEnv
        >>> from torchrl.testing.mocking_classes import CountingEnv
        >>> transform = ObservedBalance(first_helps_second, 2, {"owed": slice(1, 2)}, gamma=0.5, debit="none")
        >>> env = TransformedEnv(CountingEnv(), transform)
        >>> rollout = env.rollout(3)
        >>> rollout["influence_balance"][:, 1, 0]
        tensor([0.0000, 1.0000, 1.5000])
        >>> rollout["owed"].shape
        torch.Size([3, 1, 1])
    """

    def __init__(
        self,
        influence: Callable[[TensorDictBase, Tensor], Tensor],
        n_agents: int,
        shown_to: Mapping[NestedKey, slice],
        *,
        gamma: float,
        debit: str,
        scale: float = 1.0,
    ) -> None:
        super().__init__(in_keys=[], out_keys=[BALANCE_KEY, STEP_KEY, *shown_to])
        self.influence = influence
        self.n_agents = n_agents
        self.shown_to = dict(shown_to)
        self.gamma = gamma
        self.debit = debit
        self.scale = scale
        seats = torch.arange(n_agents)
        self.register_buffer("others", (seats.unsqueeze(-1) + seats[1:]) % n_agents, persistent=False)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        shape = tensordict_reset.batch_size
        device = tensordict_reset.device or self.others.device
        balance = torch.zeros(*shape, self.n_agents, self.n_agents, device=device)
        step = torch.zeros(*shape, 1, dtype=torch.long, device=device)
        where = tensordict.get("_reset", None) if tensordict is not None else None
        if where is not None and BALANCE_KEY in tensordict.keys():
            where = where.reshape(*shape, 1)
            balance = torch.where(where.unsqueeze(-1), balance, tensordict.get(BALANCE_KEY))
            step = torch.where(where, step, tensordict.get(STEP_KEY))
        return self._write(tensordict_reset, balance, step)

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        balance, step = tensordict.get(BALANCE_KEY), tensordict.get(STEP_KEY)
        influence = self.influence(tensordict, step.squeeze(-1))
        balance = next_balance(balance, influence, self.gamma, debit=self.debit)
        return self._write(next_tensordict, balance, step + 1)

    def _write(self, tensordict: TensorDictBase, balance: Tensor, step: Tensor) -> TensorDictBase:
        tensordict.set(BALANCE_KEY, balance)
        tensordict.set(STEP_KEY, step)
        seen = torch.tanh(balance.gather(-1, self.others.expand(*balance.shape[:-1], -1)) / self.scale)
        for key, agents in self.shown_to.items():
            tensordict.set(key, seen[..., agents, :])
        return tensordict

    def transform_observation_spec(self, observation_spec: TensorSpec) -> TensorSpec:
        batch, device = observation_spec.shape, observation_spec.device
        observation_spec[BALANCE_KEY] = Unbounded((*batch, self.n_agents, self.n_agents), device=device)
        observation_spec[STEP_KEY] = Unbounded((*batch, 1), dtype=torch.long, device=device)
        for key, agents in self.shown_to.items():
            observation_spec[key] = observed_balance_spec(agents.stop - agents.start, self.n_agents, batch, device)
        return observation_spec


def observed_balance_spec(
    n: int, n_agents: int, batch: torch.Size | tuple[int, ...] = (), device: torch.device | str | None = None
) -> TensorSpec:
    """Spec of what ``n`` of ``n_agents`` agents see of their balance: ``[*batch, n, n_agents - 1]``."""
    return Unbounded((*batch, n, n_agents - 1), device=device)
