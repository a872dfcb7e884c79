"""Coins (the Coin Game): agents on a torus take coins; whoever takes the coin of another costs its owner a penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.coins.game import VARIANTS, CoinRules, CoinsEnv, coin_metrics
from benchmarl_reciprocator.tasks.coins.model import CoinsModel
from benchmarl_reciprocator.tasks.coins.players import PLAYERS, scripted_bounds
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.players import Player


@dataclass
class TaskConfig(NoiseOptions):
    """The options of Coins, see :class:`CoinsEnv`. Rules that are ``None`` are taken from the variant.

    Args:
        variant (str): one of :data:`~benchmarl_reciprocator.tasks.coins.game.VARIANTS`.
        view (int or str, optional): as for :class:`CoinsEnv`, or ``"centred"`` for the whole board around the agent.
    """

    # 2: an episode of mfos and jaxmarl has as many steps as the source pays, 15 and 9 (16 and 10 before); the coin of
    # loqa passes to the next agent (to one drawn at random before). The other variants are as they were.
    version: ClassVar[int] = 2

    n_agents: int
    variant: str
    coins: str | None
    owner: str | None
    grid_size: int | None
    n_actions: int | None
    max_steps: int | None
    penalty: float | None
    continuation_probability: float
    view: Any
    observation: str
    grouping: str
    # Tasks of earlier checkpoints do without it.
    penalty_once: bool | None = None

    def rules(self) -> CoinRules:
        """The variant's rules, overridden by those that are set."""
        check_option("task.variant", self.variant, self.variant in VARIANTS, one_of(VARIANTS))
        own = {field.name: getattr(self, field.name) for field in fields(CoinRules)}
        return replace(VARIANTS[self.variant], **{key: value for key, value in own.items() if value is not None})

    def cells_in_view(self) -> int | None:
        """The ``view`` of :class:`CoinsEnv`."""
        size = self.rules().grid_size
        valid = self.view is None or self.view == "centred" or type(self.view) is int
        check_option("task.view", self.view, valid, f"null, centred or an integer from 1 to {size} (task.grid_size)")
        return size if self.view == "centred" else self.view

    def make_env(self, num_envs: int, device: torch.device | str, seed: int | None) -> CoinsEnv:
        """The environment that these options describe."""
        return CoinsEnv(
            self.n_agents,
            self.rules(),
            penalty=self.penalty,
            view=self.cells_in_view(),
            observation=self.observation,
            num_envs=num_envs,
            continuation_probability=self.continuation_probability,
            grouping=self.grouping,
            device=device,
            seed=seed,
            **self.noise(),
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Coins by taker and owner of trajectories ``[E, T]``, see :func:`coin_metrics`."""
        taken = joint_entry(trajectories, "next", "info", "coins_taken")
        return coin_metrics(taken.unflatten(-1, (self.n_agents, self.n_agents)), valid)

    def cooperation(self) -> CooperationMeasure:
        """The share of own coins among all that agents take."""
        return CooperationMeasure("own_coin_share", "own-coin share")

    def known_model(self) -> CoinsModel:
        """The rewards and transitions of these rules."""
        return CoinsModel(self)

    def bounds(self) -> dict[str, float]:
        """Returns and own-coin shares of scripted play under these rules, see
        :func:`~benchmarl_reciprocator.tasks.coins.players.scripted_bounds`.
        """
        return scripted_bounds(self.n_agents, self.rules(), self.penalty, self.continuation_probability)

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.coins.players.PLAYERS`, by name."""
        options = (self.n_agents, self.rules(), self.cells_in_view(), self.observation)
        return {name: partial(make, *options) for name, make in PLAYERS.items()}
