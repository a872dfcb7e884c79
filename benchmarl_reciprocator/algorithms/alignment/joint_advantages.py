"""The advantages of all agents of an experiment, each by the critic of its own learner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.objectives import PPOLoss
from torchrl.objectives.value.functional import generalized_advantage_estimate

from benchmarl_reciprocator.algorithms.co_players.seats import REPLACED_KEY
from benchmarl_reciprocator.algorithms.intrinsic.own_reward import KEY as OWN_REWARD
from benchmarl_reciprocator.tasks.groups import seats

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment


@dataclass
class JointAdvantages:
    """Advantages of all agents, and what they are made of; all ``[*B, T, N]`` unless said otherwise.

    Args:
        gamma (float): the discount.
        reward (Tensor): the task's rewards.
        value (Tensor): of the state before each step, by each agent's critic.
        next_value (Tensor): of the state after it.
        advantage (Tensor): by each learner's own GAE.
        done (Tensor): boolean ``[*B, T]``: whether the episode ends with the step.
        terminated (Tensor): boolean ``[*B, T]``: whether it ends for good.
        left_out (Tensor): boolean: samples of a learner in whose seat a co-player sat.
    """

    gamma: float
    reward: Tensor
    value: Tensor
    next_value: Tensor
    advantage: Tensor
    done: Tensor
    terminated: Tensor
    left_out: Tensor

    def by_lambda(self, lmbda: float | None) -> Tensor:
        """The advantages by another lambda of GAE; ``None``: as they are."""
        if lmbda is None:
            return self.advantage
        shape = self.reward.shape
        # TorchRL's vectorised form cannot do with a lambda of 0.
        return generalized_advantage_estimate(
            self.gamma,
            lmbda,
            self.value,
            self.next_value,
            self.reward,
            self.done.unsqueeze(-1).expand(shape),
            self.terminated.unsqueeze(-1).expand(shape),
        )[0]

    def with_critic(self, columns: Tensor, value: Tensor, next_value: Tensor, lmbda: float) -> JointAdvantages:
        """With the values of some agents by another critic.

        Args:
            columns (Tensor): integers ``[K]``: which agents.
            value (Tensor): ``[*B, T, K]``, before each step.
            next_value (Tensor): ``[*B, T, K]``, after it.
            lmbda (float): of their GAE.
        """
        changed = replace(
            self,
            value=self.value.index_copy(-1, columns, value),
            next_value=self.next_value.index_copy(-1, columns, next_value),
        )
        changed.advantage = self.advantage.index_copy(-1, columns, changed.by_lambda(lmbda)[..., columns])
        return changed


def has_critic(experiment: Experiment, group: str) -> bool:
    """Whether a group's learner has a critic of what its agents get."""
    return isinstance(experiment.losses[group], PPOLoss)


def processed_batches(
    experiment: Experiment, batch: TensorDictBase, groups: Iterable[str] | None = None
) -> dict[str, TensorDictBase]:
    """What each group with a critic makes of a batch: with values and advantages, of the task's rewards.

    Args:
        experiment (Experiment): the experiment.
        batch (TensorDictBase): as collected, ``[*B, T]``; stays as it is.
        groups (iterable of str, optional): of which groups. Default: of all.
    """
    processed = {}
    for group in experiment.group_map if groups is None else groups:
        if has_critic(experiment, group):
            others = [other for other in experiment.group_map if other != group]
            # As BenchMARL's loop over the groups has it
            left_out = [*others, *(("next", other) for other in others), ("next", group, OWN_REWARD)]
            own = batch.exclude(*left_out).clone(recurse=False).to(experiment.config.train_device)
            processed[group] = experiment.algorithm.process_batch(group, own)
    return processed


def joint_advantages(
    experiment: Experiment, batch: TensorDictBase, reward: Tensor, processed: dict[str, TensorDictBase]
) -> JointAdvantages:
    """The advantages of all agents; zero, with zero values, of those whose groups have no critic.

    Args:
        experiment (Experiment): the experiment.
        batch (TensorDictBase): as collected, ``[*B, T]``.
        reward (Tensor): the task's, ``[*B, T, N]``.
        processed (dict): of :func:`processed_batches`.
    """
    device = experiment.config.train_device
    after = batch.get("next")
    done = after.get("done").squeeze(-1).to(device)
    parts: dict[str, list[Tensor]] = {"advantage": [], "value": [], "next_value": [], "left_out": []}
    for group, members in seats(experiment.group_map).items():
        shape = (*batch.shape, members.stop - members.start)
        replaced = batch.get((group, REPLACED_KEY), None)
        parts["left_out"].append(
            torch.zeros(shape, dtype=torch.bool, device=device) if replaced is None else replaced.squeeze(-1).to(device)
        )
        if group in processed:
            own = processed[group]
            parts["advantage"].append(own.get((group, "advantage")).squeeze(-1))
            parts["value"].append(_value(own, group).expand(shape))
            parts["next_value"].append(_value(own.get("next"), group).expand(shape))
        else:
            for name in ("advantage", "value", "next_value"):
                parts[name].append(torch.zeros(shape, device=device))
    return JointAdvantages(
        gamma=experiment.config.gamma,
        reward=reward.to(device),
        done=done,
        terminated=after.get("terminated", after.get("done")).squeeze(-1).to(device),
        **{name: torch.cat(values, dim=-1) for name, values in parts.items()},
    )


def _value(tensordict: TensorDictBase, group: str) -> Tensor:
    """A group's values; a centralised critic with shared parameters has one for all, at the root."""
    value = tensordict.get((group, "state_value"), None)
    return value.squeeze(-1) if value is not None else tensordict.get("state_value")
