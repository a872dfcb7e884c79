"""Acknowledgment tokens: the pure functions by hand and at their limits, and the algorithm on them."""

from __future__ import annotations

import pytest
import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator import acknowledged_reward, mean_reward_so_far
from benchmarl_reciprocator.tasks.groups import joint_entry


def tokens(reward: list, value: float, gamma: float = 0.95, token: float = 1.0, **options) -> list:
    rewards = torch.tensor(reward, dtype=torch.float64)
    return acknowledged_reward(rewards, rewards + gamma * value - value, token, **options).tolist()


def test_three_agents_by_hand() -> None:
    assert tokens([1.0, -0.5, -3.0], 0.0) == [0.0, 0.5, -2.0]


@pytest.mark.parametrize(
    ("reward", "value", "expected"),
    [
        ([-1.0, -1.0], -20.0, [1.0, 1.0]),
        ([0.0, -3.0], -20.0, [-1.0, -2.0]),
        ([-2.0, -2.0], -20.0, [-2.0, -2.0]),
        # All as expected is a tie, and a tie is an improvement.
        ([-2.0, -2.0], -40.0, [0.0, 0.0]),
    ],
)
def test_prisoners_dilemma_by_hand(reward: list, value: float, expected: list) -> None:
    assert tokens(reward, value) == expected


def test_limits() -> None:
    torch.manual_seed(0)
    reward, improvement = torch.randn(2, 5, 3)
    assert torch.equal(acknowledged_reward(reward, improvement, 0.0), reward)
    nobody = torch.zeros(3, 3, dtype=torch.bool)
    assert torch.equal(acknowledged_reward(reward, improvement, 1.0, neighbours=nobody), reward)
    alone = torch.tensor([True, False, False])
    assert torch.equal(acknowledged_reward(reward, improvement, 1.0, takes_part=alone), reward)
    two = torch.tensor([True, True, False])
    among = acknowledged_reward(reward, improvement, 1.0, takes_part=two)
    assert torch.equal(among[:, :2], acknowledged_reward(reward[:, :2], improvement[:, :2], 1.0))
    assert torch.equal(among[:, 2], reward[:, 2])


def test_mean_reward_in_the_episode_so_far() -> None:
    reward = torch.tensor([[3.0, 1.0, 2.0, 6.0]]).unsqueeze(-1)
    done = torch.tensor([[False, False, True, False]])
    step = torch.tensor([[0, 1, 2, 0]])
    mean, total = mean_reward_so_far(reward, done, step)
    assert mean.squeeze().tolist() == [3.0, 2.0, 2.0, 6.0]
    assert total.item() == 6.0
    first, carried = mean_reward_so_far(reward[:, :2], done[:, :2], step[:, :2])
    second, _ = mean_reward_so_far(reward[:, 2:], done[:, 2:], step[:, 2:], carried)
    assert torch.equal(torch.cat([first, second], 1), mean)


def test_bad_input() -> None:
    reward = torch.ones(4, 2)
    with pytest.raises(ValueError, match="token must be a number >= 0, but is -1"):
        acknowledged_reward(reward, reward, -1)
    with pytest.raises(ValueError, match=r"improvement must be of shape \(4, 2\), but is \(2,\)"):
        acknowledged_reward(reward, reward[0], 1.0)


class Learned(Callback):
    """Keeps the task's rewards, values, and what each group's advantages are computed from."""

    def on_setup(self) -> None:
        process = self.experiment.algorithm.process_batch
        self.batches: dict[str, list[TensorDictBase]] = {}

        def spied(group: str, batch: TensorDictBase) -> TensorDictBase:
            done = process(group, batch)
            self.batches.setdefault(group, []).append(done.clone())
            return done

        self.experiment.algorithm.process_batch = spied

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.reward = joint_entry(batch, "next", "reward").clone()


@pytest.mark.parametrize("improvement", ["value", "reward"])
def test_agents_learn_from_the_rewards_that_the_functions_give(improvement: str, small_experiment) -> None:
    spy = Learned()
    small_experiment(
        "algorithm=mate", f"algorithm.mate_improvement={improvement}", "experiment.max_n_iters=1", callbacks=[spy]
    ).run()
    last = {group: batches[-1] for group, batches in spy.batches.items()}
    learned = torch.cat([batch["next", group, "reward"].squeeze(-1) for group, batch in last.items()], -1)
    if improvement == "value":
        value = torch.cat([batch[group, "state_value"].squeeze(-1) for group, batch in last.items()], -1)
        after = torch.cat([batch["next", group, "state_value"].squeeze(-1) for group, batch in last.items()], -1)
        better = spy.reward + 0.96 * after - value
    else:
        step = torch.arange(32).expand(8, 32)
        better = spy.reward - mean_reward_so_far(spy.reward, torch.zeros(8, 32, dtype=torch.bool), step)[0]
    torch.testing.assert_close(learned, acknowledged_reward(spy.reward, better, 1.0))
    assert not torch.allclose(learned, spy.reward)


def test_bad_options_are_named(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.mate_token must be a number >= 0, but is -1"):
        small_experiment("algorithm=mate", "algorithm.mate_token=-1")
    with pytest.raises(ValueError, match=r"algorithm\.mate_improvement must be value or reward, but is 'luck'"):
        small_experiment("algorithm=mate", "algorithm.mate_improvement=luck")
