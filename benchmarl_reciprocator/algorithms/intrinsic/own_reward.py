"""Algorithms of BenchMARL that learn from a reward of their own making in place of the task's."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarl.algorithms.ippo import Ippo
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.intrinsic.joint import (
    check_individual_rewards,
    options_of,
)
from benchmarl_reciprocator.algorithms.not_trained import groups_of
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import joint_rewards
from benchmarl_reciprocator.plugin.benchmarl_private import callback_of
from benchmarl_reciprocator.tasks.groups import seats

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

KEY = "own_reward"


class OwnReward(Ippo):
    """:class:`~benchmarl.algorithms.Ippo` on a reward that is made of what all agents get.

    Every such algorithm of an experiment is given the task's rewards, whatever others learn from, and each of its
    groups learns from its own. What is logged of returns stays the task's.

    Args:
        experiment (Experiment): the experiment.
        **options: those of :attr:`options_class` and of :class:`~benchmarl.algorithms.Ippo`.

    Raises:
        ValueError: if an option is not what it must be.
    """

    # The dataclass of the options that are not IPPO's, each declared with what its value must be.
    options_class: ClassVar[type]

    def __init__(self, experiment: Experiment, **options: Any) -> None:
        self.options = options_of(self.options_class, options)
        super().__init__(experiment=experiment, **options)
        OwnRewards.of(experiment).algorithms.append(self)

    @abstractmethod
    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        """What each agent would learn from if it learned by this algorithm.

        Args:
            batch (TensorDictBase): as collected, ``[*B, T]``.
            reward (Tensor): the task's rewards to all agents, ``[*B, T, N]``.
            done (Tensor): boolean, ``[*B, T]``: whether the episode ends with step ``t``.

        Returns:
            Tensor: ``[*B, T, N]``.
        """

    def set_up(self) -> None:
        """Make what the reward needs beside the batch, once the experiment is there."""

    def learned(self) -> dict[str, Any]:
        """What the reward has learned, for checkpoints: tensors, dicts and plain numbers."""
        return {}

    def take_up(self, learned: dict[str, Any]) -> None:
        """Take up what :meth:`learned` gave."""

    def process_batch(self, group: str, batch: TensorDictBase) -> TensorDictBase:
        own = batch.pop(("next", group, KEY), None)
        if own is not None:
            batch.set(("next", group, "reward"), own)
        return super().process_batch(group, batch)


class OwnRewards(Callback):
    """Puts the own rewards of all algorithms of an experiment into the batch, from where ``process_batch`` takes them.

    The rewards of the task stay where they are until then: others read them in turn.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any

    def __init__(self) -> None:
        super().__init__()
        self.algorithms: list[OwnReward] = []

    @classmethod
    def of(cls, experiment: Experiment) -> OwnRewards:
        """The experiment's own, added to it at the first call."""
        # Reciprocators change their groups' rewards in the batch.
        return callback_of(experiment, cls, before=Reciprocity)

    def on_setup(self) -> None:
        check_individual_rewards(self.experiment)
        for algorithm in self.algorithms:
            algorithm.set_up()

    def on_state_dict(self, state_dict: dict[str, Any]) -> None:
        state_dict[KEY] = {place: algorithm.learned() for place, algorithm in enumerate(self.algorithms)}

    def on_load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for place, algorithm in enumerate(self.algorithms):
            algorithm.take_up(state_dict[KEY][place])

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        members = seats(self.experiment.group_map)
        reward = joint_rewards(batch.get("next"), members)
        done = batch.get(("next", "done")).squeeze(-1)
        metrics = {}
        for algorithm in self.algorithms:
            own = algorithm.own_reward(batch, reward, done)
            for group in groups_of(algorithm):
                ours = own[..., members[group]]
                batch.set(("next", group, KEY), ours.unsqueeze(-1))
                added = ours - reward[..., members[group]]
                metrics[f"{group}/own_reward_mean"] = ours.mean().item()
                metrics[f"{group}/own_reward_change"] = added.abs().mean().item()
        self.experiment.logger.log(
            {f"own_reward/{key}": value for key, value in metrics.items()}, step=self.experiment.n_iters_performed
        )
