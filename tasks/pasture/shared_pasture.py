"""Shared pasture: grazers in the plane share patches of grass, which grow back the faster the nearer to half full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import MarlGroupMapType
from torchrl.envs.libs.vmas import VmasEnv

from benchmarl_reciprocator.tasks.environment import GROUPINGS
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.options import check_option, one_of
from benchmarl_reciprocator.tasks.pasture.players import PLAYERS
from benchmarl_reciprocator.tasks.pasture.rules import PastureRules
from benchmarl_reciprocator.tasks.players import Player


class SharedPastureEnv(VmasEnv):
    """:class:`SharedPasture` in TorchRL's wrapper for VMAS, with what all social dilemmas have: a global ``"state"``,
    groups by ``grouping``, and the horizon as truncation, which ``VmasEnv`` reports as termination.

    Args:
        rules (PastureRules): the rules.

    Keyword Args:
        num_envs (int): number of environments ``B``.
        max_steps (int): an episode is truncated after this many steps.
        continuous_actions (bool): whether an action is a force in the plane, rather than one of nine: none or one of
            eight directions.
        grouping (str): ``"per_agent"`` or ``"one_group"``.
        device (torch.device): device of all tensors.
        seed (int, optional): seed of the environments' random numbers.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
    """

    def __init__(
        self,
        rules: PastureRules,
        *,
        num_envs: int,
        max_steps: int,
        continuous_actions: bool = False,
        grouping: str = "per_agent",
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        check_option("task.max_steps", max_steps, max_steps >= 1, "an integer >= 1")
        check_option("task.grouping", grouping, grouping in GROUPINGS, one_of(GROUPINGS))
        # VMAS takes a while to load, and most tasks do without.
        from benchmarl_reciprocator.tasks.pasture.scenario import SharedPasture

        names = [f"agent_{seat}" for seat in range(rules.n_agents)]
        per_agent = MarlGroupMapType.ONE_GROUP_PER_AGENT
        super().__init__(
            scenario=SharedPasture(),
            num_envs=num_envs,
            max_steps=max_steps,
            continuous_actions=continuous_actions,
            clamp_actions=True,
            group_map=per_agent if grouping == "per_agent" else {"agents": names},
            device=device,
            seed=seed,
            **vars(rules),
        )

    @property
    def n_actions(self) -> list[int]:
        """Number of actions of each agent, where they are discrete."""
        return [9] * self.n_agents

    @property
    def interchangeable_seats(self) -> bool:
        """The game is the same from every seat."""
        return True

    def state(self, first_seat: int = 0) -> Tensor:
        """See :meth:`SharedPasture.state`."""
        return self.scenario.state(first_seat)

    def _make_specs(self, env: Any) -> None:
        super()._make_specs(env)
        flag = Categorical(2, shape=(1,), dtype=torch.bool, device=self.device)
        flags = {name: flag.clone() for name in ("done", "terminated", "truncated")}
        self.full_done_spec_unbatched = Composite(flags, device=self.device)
        spec = self.full_observation_spec_unbatched  # type: ignore[has-type]
        spec["state"] = Unbounded(self.state().shape[1:], device=self.device)
        self.full_observation_spec_unbatched = spec

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        return self._completed(super()._reset(tensordict, **kwargs))

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        return self._completed(super()._step(tensordict))

    def _completed(self, tensordict: TensorDictBase) -> TensorDictBase:
        done = tensordict.get("done")
        tensordict.update({"state": self.state(), "truncated": done.clone(), "terminated": torch.zeros_like(done)})
        return tensordict


@dataclass
class TaskConfig:
    """The options of the shared pasture, see :class:`PastureRules` and :class:`SharedPastureEnv`."""

    version: ClassVar[int] = 1
    continuous: ClassVar[bool] = True

    n_agents: int
    n_patches: int
    patch_radius: float
    capacity: float
    growth: float
    appetite: float
    extinction: float
    max_steps: int
    grouping: str

    def rules(self) -> PastureRules:
        """The rules among the options."""
        return PastureRules(**{field.name: getattr(self, field.name) for field in fields(PastureRules)})

    def make_env(
        self, num_envs: int, device: torch.device | str, seed: int | None, continuous_actions: bool = False
    ) -> SharedPastureEnv:
        """The environment that these options describe."""
        return SharedPastureEnv(
            self.rules(),
            num_envs=num_envs,
            max_steps=self.max_steps,
            continuous_actions=continuous_actions,
            grouping=self.grouping,
            device=device,
            seed=seed,
        )

    def metrics(self, trajectories: TensorDictBase, valid: Tensor) -> dict[str, Tensor]:
        """Grass and grazing of trajectories ``[E, T]``.

        Returns:
            dict[str, Tensor]: each ``[E]``: ``eaten`` and ``agent_<i>_eaten``, in the episode; ``restraint`` and
                ``agent_<i>_restraint``, the share of it from patches at least half full (``nan`` where none was);
                ``grass_left`` and ``patches_left``, mean shares of grass and of patches that are left.
        """
        steps = valid.unsqueeze(-1)
        eaten, spared = (
            (joint_entry(trajectories, "next", "info", name) * steps).sum(-2) for name in ("eaten", "spared")
        )
        metrics = {"eaten": eaten.sum(-1), "restraint": spared.sum(-1) / eaten.sum(-1)}
        for seat in range(self.n_agents):
            metrics[f"agent_{seat}_eaten"] = eaten[:, seat]
            metrics[f"agent_{seat}_restraint"] = spared[:, seat] / eaten[:, seat]
        for name in ("grass_left", "patches_left"):
            shares = joint_entry(trajectories, "next", "info", name).mean(-1) * valid
            metrics[name] = shares.sum(-1) / valid.sum(-1)
        return metrics

    def cooperation(self) -> CooperationMeasure:
        """The share of what agents eat that comes from patches at least half full."""
        return CooperationMeasure("restraint", "restraint")

    def players(self) -> dict[str, Callable[[], Player]]:
        """Constructors of :data:`~benchmarl_reciprocator.tasks.pasture.players.PLAYERS`, by name."""
        return {name: partial(make, self.n_patches, self.patch_radius) for name, make in PLAYERS.items()}
