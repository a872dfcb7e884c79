"""The meta-game of a prisoner's dilemma: a step is a whole game, played by policies, after which the opponent learns.

A learner of this task is a meta-learner: BenchMARL's IPPO on it is M-FOS (Lu et al. 2022, arXiv 2205.01447) with a
policy-gradient meta-learner.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from benchmarl_reciprocator.tasks.environment import GROUPINGS
from benchmarl_reciprocator.tasks.groups import joint_entry, seats
from benchmarl_reciprocator.tasks.matrix.learners import exact_values, in_own_view, learning_steps
from benchmarl_reciprocator.tasks.matrix.matrix_game import symmetric_table
from benchmarl_reciprocator.tasks.matrix.prisoners_dilemma import VARIANTS
from benchmarl_reciprocator.tasks.options import check_option, one_of

LEARNER = "learner"
OPPONENTS = (LEARNER, "naive", "lola", "reciprocal")
# After CC, CD, DC, DD and in the first step, one's own action first
N_STATES = 5


@dataclass(frozen=True)
class InnerGame:
    """The game that is played in every step, and how an opponent in the environment learns from it.

    Args:
        opponent (str): ``"learner"``, a second agent of the task; or an opponent in the environment, which changes its
            policy after every step: ``"naive"``, by the gradient of its value; ``"lola"``, which anticipates such steps
            (with both factors differentiated, as in the source); ``"reciprocal"``, which is paid besides what it owes,
            see :func:`~benchmarl_reciprocator.tasks.matrix.learners.learning_steps`.
        inner_gamma (float): discount of the game.
        inner_lr (float): size of the opponent's steps.
        inner_eta (float): size of the steps that ``"lola"`` anticipates.
        reciprocal_weight (float): of what ``"reciprocal"`` is paid besides, in 1 / reward.
        learns_at_reset (bool): whether it learns once from the random policies that an episode begins with, before
            anything is seen or paid (as in the source).
        logit_bound (float): the largest absolute logit of a policy that an agent can choose.
    """

    opponent: str
    inner_gamma: float
    inner_lr: float
    inner_eta: float
    reciprocal_weight: float
    learns_at_reset: bool
    logit_bound: float

    def check(self) -> None:
        """Raise one ``ValueError`` that names the key if an option is invalid."""
        check_option("task.opponent", self.opponent, self.opponent in OPPONENTS, one_of(OPPONENTS))
        check_option("task.inner_gamma", self.inner_gamma, 0 <= self.inner_gamma < 1, "at least 0 and below 1")
        for name in ("inner_lr", "inner_eta", "reciprocal_weight"):
            check_option(f"task.{name}", getattr(self, name), getattr(self, name) >= 0, "a number >= 0")
        learns = self.learns_at_reset
        check_option("task.learns_at_reset", learns, isinstance(learns, bool), "true or false")
        check_option("task.logit_bound", self.logit_bound, self.logit_bound > 0, "a number > 0")


class MatrixMetaGameEnv(EnvBase):
    """The meta-game of a symmetric game of two players and two actions.

    An action is a memory-one policy: its logits of cooperation after CC, CD, DC, DD (own action first) and in the first
    step; with discrete actions, one of the 32 that are as sure as the bound allows, bit by bit, the last state's bit
    least. The reward is the exact one per step of the infinite game between both policies. Then the opponent learns.

    Agents see probabilities: of their own last policy and of the one that the opponent played against it, before it
    learned from that, ``[10]``. An episode begins with policies drawn from a normal distribution of their logits. Its
    end is one for good: there is nothing after it.

    Args:
        payoffs (Tensor): ``[2, 2, 2]``, action 0 cooperates.
        inner (InnerGame): see there.

    Keyword Args:
        num_envs (int): number of environments ``B``.
        max_steps (int): an episode ends after this many steps.
        continuous_actions (bool): whether actions are logits.
        grouping (str): ``"per_agent"`` or ``"one_group"``.
        device (torch.device): device of all tensors.
        seed (int, optional): seed of the environments' random numbers.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
    """

    def __init__(
        self,
        payoffs: Tensor,
        inner: InnerGame,
        *,
        num_envs: int,
        max_steps: int,
        continuous_actions: bool = False,
        grouping: str = "per_agent",
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        inner.check()
        check_option("task.max_steps", max_steps, max_steps >= 1, "an integer >= 1")
        check_option("task.grouping", grouping, grouping in GROUPINGS, one_of(GROUPINGS))
        super().__init__(device=device, batch_size=[num_envs])
        self.payoffs = payoffs.double().to(self.device)
        self.inner = inner
        self.max_steps = max_steps
        self.continuous_actions = continuous_actions
        self.n_agents = 2 if inner.opponent == LEARNER else 1
        self.n_actions = [2**N_STATES] * self.n_agents
        names = [f"agent_{seat}" for seat in range(self.n_agents)]
        self.group_map = {name: [name] for name in names} if grouping == "per_agent" else {"agents": names}
        self._make_specs()
        self._generator = torch.Generator(device=self.device)
        self._steps = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        # Logits in the view of whose they are, [B, 2, 5]: as they were played last, and the opponent's next, [B, 5]
        self._played = torch.zeros(num_envs, 2, N_STATES, dtype=torch.double, device=self.device)
        self._next = self._played[:, 1]
        self.set_seed(seed if seed is not None else torch.initial_seed() % 2**31)

    @property
    def interchangeable_seats(self) -> bool:
        """Whether there are two, of agents: the game is symmetric."""
        return self.n_agents == 2

    def state(self, first_seat: int = 0) -> Tensor:
        """Probabilities of cooperation of both policies, seats counted from ``first_seat``: ``[B, 10]``, float."""
        return self._played.roll(-first_seat, 1).sigmoid().flatten(1).float()

    def observations(self) -> Tensor:
        """What each agent sees, ``[B, N, 10]``."""
        return torch.stack([self.state(seat) for seat in range(self.n_agents)], 1)

    def place(self, logits: Tensor) -> None:
        """Let the opponent in the environment play a policy next, ``[B, 5]`` in its own view, instead of its own."""
        self._next = logits

    def _policies(self, action: Tensor) -> Tensor:
        """Logits ``[B, N, 5]`` of actions ``[B, N]`` or ``[B, N, 5]``."""
        if self.continuous_actions:
            return action.double()
        bits = action.unsqueeze(-1) >> torch.arange(N_STATES - 1, -1, -1, device=self.device) & 1
        return self.inner.logit_bound * (2.0 * bits.double() - 1)

    def _learned(self, played: Tensor) -> Tensor:
        """The opponent's policy after it has learned from policies ``[B, 2, 5]`` of both: ``[B, 5]``."""
        opponent = self.inner.opponent
        rule = "surrogate" if opponent == "lola" else opponent
        with torch.enable_grad():
            steps = learning_steps(
                in_own_view(played.unsqueeze(-1), 2),
                self.payoffs,
                self.inner.inner_gamma,
                ["naive", rule],
                eta=self.inner.inner_eta,
                reciprocal_weight=self.inner.reciprocal_weight,
            )
        # Two exchanges of views are none.
        return played[:, 1] + self.inner.inner_lr * in_own_view(steps, 2)[:, 1, :, 0]

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        where = torch.ones(self.batch_size, dtype=torch.bool, device=self.device)
        if tensordict is not None and "_reset" in tensordict.keys():
            where = tensordict.get("_reset").reshape(self.batch_size)
        drawn = torch.randn(self._played.shape, generator=self._generator, device=self.device, dtype=torch.double)
        self._steps = self._steps.masked_fill(where, 0)
        self._played = torch.where(where[:, None, None], drawn, self._played)
        if self.n_agents == 1:
            begins = self._learned(drawn) if self.inner.learns_at_reset else drawn[:, 1]
            self._next = torch.where(where.unsqueeze(-1), begins, self._next)
        end = torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=self.device)
        return self._assemble(end, None)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        chosen = self._policies(torch.cat([tensordict.get((group, "action")) for group in self.group_map], dim=1))
        played = chosen if self.n_agents == 2 else torch.cat([chosen, self._next.unsqueeze(1)], dim=1)
        with torch.no_grad():
            values = exact_values(in_own_view(played.unsqueeze(-1), 2), self.payoffs, self.inner.inner_gamma)
        self._played = played
        if self.n_agents == 1:
            self._next = self._learned(played)
        self._steps = self._steps + 1
        end = (self._steps >= self.max_steps).unsqueeze(-1)
        return self._assemble(end, (1 - self.inner.inner_gamma) * values.float())

    def _assemble(self, end: Tensor, rewards: Tensor | None) -> TensorDictBase:
        """A tensordict of the step, from rewards ``[B, 2]`` of both players."""
        observations = self.observations()
        others = torch.zeros(*self.batch_size, 2, device=self.device) if rewards is None else rewards.flip(-1)
        out: dict[str, Any] = {"state": self.state(), "done": end, "terminated": end.clone()}
        out["truncated"] = torch.zeros_like(end)
        for group, members in seats(self.group_map).items():
            size = [*self.batch_size, members.stop - members.start]
            entries: dict[str, Any] = {"observation": observations[:, members]}
            entries["info"] = TensorDict({"opponent": others[:, members].unsqueeze(-1)}, size, device=self.device)
            if rewards is not None:
                entries["reward"] = rewards[:, members].unsqueeze(-1)
            out[group] = TensorDict(entries, size, device=self.device)
        return TensorDict(out, self.batch_size, device=self.device)

    def _make_specs(self) -> None:
        batch, bound = self.batch_size, self.inner.logit_bound
        observation, action, reward = Composite(shape=batch), Composite(shape=batch), {}
        for group, agents in self.group_map.items():
            shape = (*batch, len(agents))
            own: dict[str, Any] = {"shape": shape, "device": self.device}
            seen = Unbounded((*shape, 2 * N_STATES), device=self.device)
            info = Composite(opponent=Unbounded((*shape, 1), device=self.device), **own)
            observation[group] = Composite(observation=seen, info=info, **own)
            logits = Bounded(-bound, bound, shape=(*shape, N_STATES), device=self.device, dtype=torch.float32)
            number = Categorical(2**N_STATES, shape=shape, device=self.device)
            action[group] = Composite(action=logits if self.continuous_actions else number, **own)
            reward[group] = Composite(reward=Unbounded((*shape, 1), device=self.device), **own)
        observation["state"] = Unbounded((*batch, 2 * N_STATES), device=self.device)
        flag = Categorical(2, shape=(*batch, 1), dtype=torch.bool, device=self.device)
        flags: dict[str, Any] = {name: flag.clone() for name in ("done", "terminated", "truncated")}
        self.observation_spec = observation
        self.action_spec = action
        self.reward_spec = Composite(reward, shape=batch, device=self.device)
        self.done_spec = Composite(flags, shape=batch, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._generator.manual_seed(seed)


@dataclass
class TaskConfig:
    """The options of the meta-game, see :class:`InnerGame` and :class:`MatrixMetaGameEnv`.

    Args:
        variant (str): the payoffs, as those of the prisoner's dilemma.
    """

    version: ClassVar[int] = 1
    continuous: ClassVar[bool] = True

    variant: str
    opponent: str
    inner_gamma: float
    inner_lr: float
    inner_eta: float
    reciprocal_weight: float
    learns_at_reset: bool
    logit_bound: float
    max_steps: int
    grouping: str

    def make_env(
        self, num_envs: int, device: torch.device | str, seed: int | None, continuous_actions: bool = False
    ) -> MatrixMetaGameEnv:
        """The environment that these options describe."""
        check_option("task.variant", self.variant, self.variant in VARIANTS, one_of(VARIANTS))
        inner = InnerGame(**{option.name: getattr(self, option.name) for option in fields(InnerGame)})
        return MatrixMetaGameEnv(
            symmetric_table(VARIANTS[self.variant]),
            inner,
            num_envs=num_envs,
            max_steps=self.max_steps,
            continuous_actions=continuous_actions,
            grouping=self.grouping,
            device=device,
            seed=seed,
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """What the opponents of the agents of trajectories ``[E, T]`` came to, as their rewards.

        Returns:
            dict[str, Tensor]: each ``[E]``: ``opponent_per_step``, mean over agents and steps, and
                ``own_per_step``, the agents' own.
        """
        parts = {
            "own_per_step": joint_entry(trajectories, "next", "reward"),
            "opponent_per_step": joint_entry(trajectories, "next", "info", "opponent"),
        }
        return {name: (value.mean(-1) * valid).sum(-1) / valid.sum(-1) for name, value in parts.items()}

    def bounds(self) -> dict[str, float]:
        """Return of an agent when both always cooperate, and when both always defect."""
        together, _, _, apart = VARIANTS[self.variant]
        return {"all_cooperate_return": together * self.max_steps, "all_defect_return": apart * self.max_steps}
