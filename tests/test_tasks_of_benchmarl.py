"""The Reciprocator on tasks that are not this package's, as BenchMARL ships them."""

from __future__ import annotations

import pytest
import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity


class Rewards(Callback):
    """Keeps the rewards of every group as the task gives them, and as they are optimised."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[dict[str, torch.Tensor]] = []
        self.optimised: list[dict[str, torch.Tensor]] = []

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        groups = self.experiment.group_map
        self.collected.append({group: batch["next", group, "reward"].clone() for group in groups})

    def on_train_step(self, batch: TensorDictBase, group: str) -> None:
        self.optimised.append({group: batch["next", group, "reward"].clone()})


def trains_by_reciprocity(small_experiment, task: str, continuous: bool, *overrides: str) -> Rewards:
    rewards = Rewards()
    experiment = small_experiment(
        "algorithm=reciprocator",
        f"task={task}",
        f"experiment.prefer_continuous_actions={continuous}",
        "algorithm.warmup=0",
        "experiment.evaluation=False",
        *overrides,
        preset=None,
        callbacks=[rewards],
    )
    assert experiment.continuous_actions == continuous
    estimator = Reciprocity.of(experiment).learner.loss
    before = [parameter.clone() for parameter in estimator.parameters()]
    experiment.run()
    assert all(not torch.equal(old, new) for old, new in zip(before, estimator.parameters()))
    assert all(value.isfinite().all() for rewards_of in rewards.optimised for value in rewards_of.values())
    return rewards


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("task", ["navigation", "sampling"])
def test_vmas_tasks_with_individual_rewards(task: str, continuous: bool, small_experiment) -> None:
    rewards = trains_by_reciprocity(small_experiment, f"vmas/{task}", continuous, "task.max_steps=32")
    agents = rewards.collected[0]["agents"]
    assert (agents != agents[..., :1, :]).any()
    # In the second iteration the weight counts: what is optimised is more than what was collected.
    assert not torch.isin(rewards.optimised[-1]["agents"], rewards.collected[-1]["agents"]).all()


@pytest.mark.parametrize("continuous", [True, False])
def test_pettingzoo(continuous: bool, small_experiment) -> None:
    # Adversaries share their rewards; of the other group every agent has its own.
    pytest.importorskip("pettingzoo.mpe", exc_type=ImportError)
    rewards = trains_by_reciprocity(
        small_experiment,
        "pettingzoo/simple_tag",
        continuous,
        "experiment.on_policy_n_envs_per_worker=2",
        "experiment.on_policy_collected_frames_per_batch=128",
        "experiment.evaluation_interval=128",
        "experiment.evaluation_episodes=1",
    )
    assert rewards.collected[0].keys() == {"adversary", "agent"}
    agents = rewards.collected[0]["agent"]
    assert (agents != agents[..., :1, :]).any()
