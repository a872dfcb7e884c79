"""What all first-order rivals have in common: without their own part they are IPPO, whatever the grouping."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from benchmarl.experiment import Experiment
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import Transform

from benchmarl_reciprocator.algorithms.intrinsic.joint import check_individual_rewards
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

SHARED = (
    "algorithm.entropy_coef=0.02",
    "algorithm.share_param_critic=False",
    "experiment.evaluation=False",
    "experiment.max_n_iters=2",
)
# Each by itself, and Advantage Alignment through all that it computes
AT_STRENGTH_0 = {
    "per_agent": (
        ("prosocial", "self_interest=1"),
        ("inequity_aversion", "guilt=0"),
        ("social_value_orientation", "svo_angle=0"),
        ("advantage_alignment", "alignment_weight=0"),
        ("advantage_alignment", "alignment_lambda=0"),
        ("mate", "mate_token=0"),
        ("social_influence", "social_influence_weight=0"),
    ),
    "one_group": (("inequity_aversion", "guilt=0"), ("advantage_alignment", "alignment_lambda=0")),
}


def trained(make: Callable[..., Experiment], *overrides: str) -> dict[str, Tensor]:
    experiment = make(*overrides, *SHARED)
    experiment.run()
    losses = experiment.losses.items()
    return {f"{group}.{key}": value for group, loss in losses for key, value in loss.named_parameters()}


@pytest.mark.parametrize("grouping", AT_STRENGTH_0)
def test_at_strength_0_all_learn_what_ippo_learns(grouping: str, small_experiment) -> None:
    ippo = trained(small_experiment, "algorithm=ippo", f"task.grouping={grouping}")
    for algorithm, option in AT_STRENGTH_0[grouping]:
        chosen = (f"algorithm={algorithm}", f"algorithm.{option}", f"task.grouping={grouping}")
        ours = trained(small_experiment, *chosen)
        assert all(torch.equal(value, ours[key]) for key, value in ippo.items()), algorithm
    other = trained(small_experiment, "algorithm=advantage_alignment", f"task.grouping={grouping}")
    assert not all(torch.equal(value, other[key]) for key, value in ippo.items())


class GroupMean(Transform):
    """Gives every agent of a group the mean of the group's rewards."""

    def __init__(self) -> None:
        super().__init__(in_keys=[("agents", "reward")], out_keys=[("agents", "reward")])

    def _apply_transform(self, reward: Tensor) -> Tensor:
        return reward.mean(-2, keepdim=True).expand_as(reward)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        return tensordict_reset


def test_a_prosocial_learner_is_a_learner_of_the_group_s_mean_reward(small_experiment, monkeypatch) -> None:
    """Halves of two rewards are exact in floating point: they learn the same, bit for bit."""
    ours = trained(small_experiment, "algorithm=prosocial", "task.grouping=one_group")
    selfish = trained(small_experiment, "algorithm=ippo", "task.grouping=one_group")
    with monkeypatch.context() as patch:
        patch.setattr(SocialDilemmaClass, "get_env_transforms", lambda task, env: [GroupMean()])
        of_the_mean = trained(small_experiment, "algorithm=ippo", "task.grouping=one_group")
    assert all(torch.equal(value, ours[key]) for key, value in of_the_mean.items())
    assert not all(torch.equal(value, ours[key]) for key, value in selfish.items())


def test_a_reward_that_a_group_shares_is_refused() -> None:
    shared = SimpleNamespace(
        group_map={"agents": ["agent_0", "agent_1"]},
        task_name="team",
        algorithm_name="prosocial",
        test_env=SimpleNamespace(reward_keys=["reward"]),
    )
    with pytest.raises(
        ValueError,
        match=r"task of algorithm=prosocial must be one with a reward for each agent, at \('agents', 'reward'\), but "
        r"is \"team with rewards \['reward'\]\"",
    ):
        check_individual_rewards(shared)
