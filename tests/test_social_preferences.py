"""Social preferences: the pure functions by hand and at their limits, and the algorithms on them."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator import (
    inequity_aversion,
    reward_transfer,
    smoothed_rewards,
    social_value_orientation,
)
from benchmarl_reciprocator.tasks.groups import joint_entry

GROUPINGS = ["per_agent", "one_group"]


class Rewards(Callback):
    """Keeps the task's rewards, and what each group's advantages are computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.task: list[Tensor] = []
        self.learned: dict[str, list[Tensor]] = {}

    def on_setup(self) -> None:
        process = self.experiment.algorithm.process_batch

        def spied(group: str, batch: TensorDictBase) -> TensorDictBase:
            done = process(group, batch)
            self.learned.setdefault(group, []).append(done["next", group, "reward"].squeeze(-1).clone())
            return done

        self.experiment.algorithm.process_batch = spied

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.task.append(joint_entry(batch, "next", "reward").clone())

    def learned_jointly(self, iteration: int) -> Tensor:
        return torch.cat([rewards[iteration] for rewards in self.learned.values()], -1)


def assert_close(actual: Tensor, expected: list) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("self_interest", "expected"), [(0.4, [0.5, 0.3, 0.2]), (1 / 3, [1 / 3, 1 / 3, 1 / 3]), (1.0, [2.0, 0.0, -1.0])]
)
def test_transfer_by_hand(self_interest: float, expected: list) -> None:
    assert_close(reward_transfer(torch.tensor([2.0, 0.0, -1.0]), self_interest), expected)


def test_inequity_by_hand() -> None:
    reward = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    done = torch.zeros(3, dtype=torch.bool)
    smoothed, after = smoothed_rewards(reward, done, 0.99 * 0.975)
    assert_close(smoothed, [[1, 0, 0], [0.96525, 2, 0], [0.931708, 1.9305, 0]])
    torch.testing.assert_close(after, smoothed[-1])
    own = inequity_aversion(reward, smoothed, envy=5, guilt=0.05)
    assert_close(own, [[0.95, -2.5, -2.5], [-2.611006, 1.924131, -7.413125], [-2.520274, -0.073232, -7.155519]])
    ended, _ = smoothed_rewards(reward, torch.tensor([True, False, False]), 0.99 * 0.975)
    assert_close(ended[1], [0.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("reward", "angle", "expected"),
    [
        ([1.0, 1.0], 45, 1.0),
        ([1.0, 1.0], 0, 0.842920),
        ([1.0, 1.0], 90, 0.842920),
        ([0.0, 1.0], 45, -0.157080),
        ([0.0, 1.0], 90, 0.0),
        ([-1.0, 1.0], 45, -1.314159),
        # Nothing has no angle.
        ([0.0, 0.0], 45, 0.0),
    ],
)
def test_orientation_by_hand(reward: list, angle: float, expected: float) -> None:
    own = social_value_orientation(torch.tensor(reward), angle, form="angle", weight=0.2)
    assert own[0].item() == pytest.approx(expected, abs=1e-6)


def test_limits() -> None:
    torch.manual_seed(0)
    reward = torch.randn(4, 5, 2)
    done = torch.rand(4, 5) < 0.3
    smoothed, _ = smoothed_rewards(reward, done, 0.9)
    assert torch.equal(reward_transfer(reward, 1.0), reward)
    assert torch.equal(inequity_aversion(reward, smoothed, envy=0, guilt=0), reward)
    assert torch.equal(social_value_orientation(reward, 0), reward)
    assert torch.equal(social_value_orientation(reward, 45, form="angle", weight=0), reward)
    assert torch.equal(smoothed_rewards(reward, done, 0.0)[0], reward)
    team = reward.sum(-1, keepdim=True).expand_as(reward) * math.sqrt(0.5)
    torch.testing.assert_close(social_value_orientation(reward, 45), team)
    torch.testing.assert_close(reward_transfer(reward, 0.5), team * math.sqrt(0.5))


def test_smoothing_is_the_same_in_one_batch_and_in_two() -> None:
    torch.manual_seed(0)
    reward, done = torch.randn(3, 8, 2), torch.rand(3, 8) < 0.3
    whole, last = smoothed_rewards(reward, done, 0.9)
    first, carried = smoothed_rewards(reward[:, :5], done[:, :5], 0.9)
    second, after = smoothed_rewards(reward[:, 5:], done[:, 5:], 0.9, carried)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(after, last)
    assert (last[done[:, -1]] == 0).all()


def test_steady_rewards_are_smoothed_to_a_multiple() -> None:
    smoothed, _ = smoothed_rewards(torch.ones(1000, 2), torch.zeros(1000, dtype=torch.bool), 0.99 * 0.975)
    assert smoothed[-1, 0].item() == pytest.approx(28.78, abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: reward_transfer(r, 1.5), r"self_interest must be a number from 0 to 1, but is 1\.5"),
        (lambda r: reward_transfer(r[..., :1], 0.5), "of at least 2 agents, but is of 1"),
        (lambda r: inequity_aversion(r, r, envy=-1, guilt=0), "envy must be a number >= 0, but is -1"),
        (lambda r: inequity_aversion(r, r[:1], envy=1, guilt=0), r"smoothed must be of shape \(4, 2\)"),
        (lambda r: inequity_aversion(r[:, :1], r[:, :1], envy=1, guilt=0), "of at least 2 agents, but is of 1"),
        (lambda r: social_value_orientation(r, 45, form="disc"), "form must be angle or linear, but is 'disc'"),
        (lambda r: social_value_orientation(r, 45, weight=-1), "weight must be a number >= 0, but is -1"),
        (lambda r: smoothed_rewards(r, r[:, 0] > 0, 2.0), "decay must be a number from 0 to 1"),
        (lambda r: smoothed_rewards(r, r > 0, 0.5), r"done must be of shape \[\*B, T\] = \(4,\)"),
        (lambda r: smoothed_rewards(r, r[:, 0] > 0, 0.5, r), r"initial must be of shape \[\*B, N\] = \(2,\)"),
    ],
)
def test_bad_input_of_the_functions(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.ones(4, 2))


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_agents_learn_from_the_rewards_that_the_functions_give(grouping: str, small_experiment) -> None:
    spy = Rewards()
    experiment = small_experiment(
        "algorithm=inequity_aversion", f"task.grouping={grouping}", "task.max_steps=48", callbacks=[spy]
    )
    experiment.run()
    reward = torch.cat(spy.task, 1)
    done = torch.zeros(reward.shape[:-1], dtype=torch.bool)
    # Two batches of 32 steps: the episode that ends after step 48 began in the first.
    done[:, 47] = True
    smoothed, _ = smoothed_rewards(reward, done, 0.96 * 0.975)
    expected = inequity_aversion(reward, smoothed, envy=0, guilt=0.05)
    torch.testing.assert_close(torch.cat([spy.learned_jointly(0), spy.learned_jointly(1)], 1), expected)
    # What is logged stays the task's.
    assert -96 <= experiment.mean_return <= 0


def test_everybody_is_given_the_tasks_rewards_in_a_mixed_population(small_experiment) -> None:
    spy = Rewards()
    small_experiment(
        "algorithm=mixed",
        "algorithm.groups={agent_0: reciprocator, agent_1: prosocial, agent_2: social_value_orientation}",
        "algorithm.overrides={reciprocator: {warmup: 0}, social_value_orientation: {svo_angle: 90}}",
        preset="public_goods",
        callbacks=[spy],
    ).run()
    for iteration, reward in enumerate(spy.task):
        learned = spy.learned_jointly(iteration)
        torch.testing.assert_close(learned[..., 1], reward.mean(-1))
        torch.testing.assert_close(learned[..., 2], reward[..., :2].mean(-1))
        assert not torch.allclose(learned[..., 0], reward[..., 0])


def test_the_angle_is_of_smoothed_rewards_where_they_are_never_negative(small_experiment) -> None:
    spy = Rewards()
    small_experiment(
        "algorithm=social_value_orientation",
        "algorithm.svo_form=angle",
        "algorithm.svo_smoothing=0.5",
        "task.variant=leibo",
        "experiment.max_n_iters=1",
        callbacks=[spy],
    ).run()
    reward = spy.task[0]
    seen, _ = smoothed_rewards(reward, torch.zeros(reward.shape[:-1], dtype=torch.bool), 0.5)
    expected = social_value_orientation(reward, 45, form="angle", weight=0.2, seen=seen)
    torch.testing.assert_close(spy.learned_jointly(0), expected)


def test_the_angle_is_refused_where_a_reward_is_negative(small_experiment) -> None:
    experiment = small_experiment("algorithm=social_value_orientation", "algorithm.svo_form=angle")
    with pytest.raises(
        ValueError,
        match=r"algorithm\.svo_form must be linear where rewards are negative, but is 'angle on "
        r"task=prisoners_dilemma with a reward of -3'",
    ):
        experiment.run()


@pytest.mark.parametrize(
    ("algorithm", "option", "must_be"),
    [
        ("prosocial", "self_interest=1.5", r"null or a number >= 0 and <= 1, but is 1\.5"),
        ("inequity_aversion", "envy=-1", r"a number >= 0, but is -1"),
        ("inequity_aversion", "inequity_lambda=2", r"a number >= 0 and <= 1, but is 2"),
        ("social_value_orientation", "svo_form=round", "angle or linear, but is 'round'"),
        ("social_value_orientation", "svo_angle=270", r"a number >= -90 and <= 180, but is 270"),
    ],
)
def test_bad_options_are_named(algorithm: str, option: str, must_be: str, small_experiment) -> None:
    with pytest.raises(ValueError, match=rf"algorithm\.{option.partition('=')[0]} must be {must_be}"):
        small_experiment(f"algorithm={algorithm}", f"algorithm.{option}")


def test_one_agent_alone_is_refused(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"task .* must be one with at least 2 agents, but is 'navigation with 1'"):
        small_experiment("algorithm=prosocial", "task=vmas/navigation", "task.n_agents=1", preset=None)
