"""From BenchMARL's groups to the joint view that the influence parts take."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn.functional import one_hot
from torchrl.data import Categorical, Composite, MultiCategorical, TensorSpec

from benchmarl_reciprocator.tasks.groups import seats


class JointView:
    """Turns a batch with an entry for each group into one with all agents in a row, ordered as in ``group_map``.

    The state is the task's ``state`` entry where there is one, else (or where a row is asked for) all agents'
    observations in a row, and after them the share of the episode that has passed (``"elapsed"``), so that the horizon
    is seen.

    Args:
        group_map (dict): agents' names by group.
        observation_spec (Composite): of all groups, as BenchMARL's tasks give it.
        state_spec (Composite, optional): with the one ``state`` entry.
        action_spec (Composite): of all groups.
        max_steps (int): the horizon, in steps.
        flat (bool): write the state as one vector ``"state"``; else its entries as they are, for an encoder.
        in_a_row (bool): make the state of the agents' observations even if the task has a state of its own.
    """

    def __init__(
        self,
        group_map: dict[str, list[str]],
        observation_spec: Composite,
        state_spec: Composite | None,
        action_spec: Composite,
        max_steps: int,
        flat: bool = True,
        in_a_row: bool = False,
    ) -> None:
        self.members = seats(group_map)
        self.n_agents = sum(map(len, group_map.values()))
        self.max_steps = max_steps
        self.flat = flat
        self.action_specs = {group: action_spec[group, "action"] for group in group_map}
        self.action_features = max(action_width(spec) for spec in self.action_specs.values())
        source = observation_spec if in_a_row or state_spec is None else state_spec
        self.in_a_row = source is observation_spec
        self.state_specs = dict(source.items(True, True))
        self.state_features = 1 + sum(spec.shape.numel() for spec in self.state_specs.values())
        self._keys = {group: [key for key in self.state_specs if key[0] == group] for group in group_map}

    @property
    def alike(self) -> bool:
        """Whether all agents observe and act in the same way, so that one can be put in another's place."""
        seen = [{key[1:]: self.state_specs[key].shape[1:] for key in keys} for keys in self._keys.values()]
        acts = [(type(spec), spec.shape[1:], action_width(spec)) for spec in self.action_specs.values()]
        return self.in_a_row and all(x == seen[0] for x in seen) and all(x == acts[0] for x in acts)

    def __call__(self, batch: TensorDictBase, step: Tensor) -> TensorDictBase:
        """The joint view of a collected batch.

        Args:
            batch (TensorDictBase): ``[*B, T]``, as BenchMARL collects it.
            step (Tensor): ``[*B, T]``, how many steps of its episode came before each step.

        Returns:
            TensorDictBase: ``[*B, T]`` with ``"state"`` ``[*B, T, S]`` (or the entries for an encoder and ``"elapsed"``
            ``[*B, T, 1]``), ``"action"`` ``[*B, T, N, A]``, and under ``"next"`` the same state, ``"reward"``
            ``[*B, T, N]``, ``"done"`` and ``"terminated"`` ``[*B, T, 1]``.
        """
        after = batch.get("next")
        joint = self.inputs(batch, step)
        done = after.get("done")
        joint.set(
            "next",
            TensorDict(
                {
                    **self._state(after, step + 1),
                    "reward": joint_rewards(after, self.members),
                    "done": done,
                    "terminated": after.get("terminated", done),
                },
                batch.shape,
            ),
        )
        return joint

    def inputs(self, batch: TensorDictBase, step: Tensor) -> TensorDictBase:
        """The estimator's inputs alone, of steps that have no outcome yet.

        Args:
            batch (TensorDictBase): ``[*B]``, observations and actions.
            step (Tensor): ``[*B]``, how many steps of its episode came before each step.

        Returns:
            TensorDictBase: ``[*B]`` with the state and ``"action"``, as in :meth:`__call__`.
        """
        return TensorDict({**self._state(batch, step), "action": self._actions(batch)}, batch.shape)

    def _state(self, batch: TensorDictBase, step: Tensor) -> dict:
        elapsed = (step / self.max_steps).clamp(max=1).unsqueeze(-1)
        entries = {key: batch.get(key) for key in self.state_specs}
        if not self.flat:
            return {**entries, "elapsed": elapsed}
        entries = {key: entry.to(elapsed.dtype) for key, entry in entries.items()}
        if not self.in_a_row:
            parts = [entry.flatten(step.ndim) for entry in entries.values()]
        else:
            by_group = [[entries[key].flatten(step.ndim + 1) for key in keys] for keys in self._keys.values()]
            parts = [torch.cat(seen, dim=-1).flatten(step.ndim) for seen in by_group]
        return {"state": torch.cat([*parts, elapsed], dim=-1)}

    def _actions(self, batch: TensorDictBase) -> Tensor:
        encoded = []
        for group, spec in self.action_specs.items():
            features = encode_action(batch.get((group, "action")), spec)
            missing = self.action_features - features.shape[-1]
            encoded.append(torch.nn.functional.pad(features, (0, missing)))
        return torch.cat(encoded, dim=-2)


def joint_rewards(after: TensorDictBase, members: Mapping[str, slice]) -> Tensor:
    """The rewards of all agents in a row, ``[*B, N]``: a reward that all share is everybody's.

    Args:
        after (TensorDictBase): ``[*B]``, what followed: ``"next"`` of a batch as collected.
        members (mapping): which seats each group's agents take.
    """
    rewards = []
    for group, own in members.items():
        reward = after.get((group, "reward"), None)
        if reward is None:
            reward = after.get("reward").unsqueeze(-2)
        rewards.append(reward.squeeze(-1).expand(*after.shape, own.stop - own.start))
    return torch.cat(rewards, dim=-1)


def action_width(spec: TensorSpec) -> int:
    """Number of features of one agent's encoded action."""
    if isinstance(spec, MultiCategorical):
        return int(spec.nvec.reshape(-1, spec.shape[-1])[0].sum())
    if isinstance(spec, Categorical):
        return spec.space.n
    return spec.shape[-1]


def encode_action(action: Tensor, spec: TensorSpec) -> Tensor:
    """Encode the actions of a group's agents, ``[*B, n, A]``: one-hot for nominal ones, raw for continuous ones."""
    if isinstance(spec, MultiCategorical):
        choices = spec.nvec.reshape(-1, spec.shape[-1])[0].tolist()
        parts = [one_hot(part, n) for part, n in zip(action.unbind(-1), choices)]
        return torch.cat(parts, dim=-1).float()
    if isinstance(spec, Categorical):
        return one_hot(action, spec.space.n).float()
    return action.float()


def episode_step(done: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """How many steps of its episode came before each step.

    Args:
        done (Tensor): boolean ``[*B, T]``: whether the episode ends with the step.
        initial (Tensor): integers ``[*B]``: the count at the first step.

    Returns:
        tuple[Tensor, Tensor]: the count ``[*B, T]``, and ``[*B]`` for the step after the last.
    """
    time = torch.arange(done.shape[-1] + 1, device=done.device)
    starts = torch.where(done, time[1:], -initial.unsqueeze(-1))
    starts = torch.cat([-initial.unsqueeze(-1), starts], dim=-1).cummax(-1).values
    steps = time - starts
    return steps[..., :-1], steps[..., -1]


class EpisodeClock:
    """Counts the steps of episodes that go on from one batch to the next, see :func:`episode_step`."""

    def __init__(self) -> None:
        # The count at the first step of the next batch, [*B]
        self.next_step: Tensor | None = None

    def __call__(self, done: Tensor) -> Tensor:
        """How many steps of its episode came before each step, ``[*B, T]``, from where episodes ended, ``[*B, T]``."""
        initial = self.next_step
        if initial is None or initial.shape != done.shape[:-1]:
            initial = torch.zeros(done.shape[:-1], dtype=torch.long, device=done.device)
        step, self.next_step = episode_step(done, initial)
        return step
