"""Advantage Alignment: the pure functions by hand, at their limits, and as LOQA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

from benchmarl_reciprocator import alignment_term, centred_advantage, past_contributions, past_weights

# [T, N]
ADVANTAGE = torch.tensor([[1.0, -1.0, 0.5, 2.0], [-0.5, 2.0, 1.0, -1.0]]).T
RUNS_ON = torch.zeros(4, dtype=torch.bool)
STEP = torch.arange(4)


def assert_close(actual: Tensor, expected: list) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), atol=1e-6, rtol=0)


def weights(form: str, gamma: float = 1.0, done: Tensor = RUNS_ON, step: Tensor = STEP, **options) -> Tensor:
    """``[T, N]``: towards the one other agent."""
    past, _ = past_weights(past_contributions(ADVANTAGE), done, step, gamma, form=form, **options)
    return torch.stack([past[:, 0, 1], past[:, 1, 0]], -1)


def test_mean_form_by_hand() -> None:
    assert_close(weights("mean").T, [[0, 1, 0, 0.166667], [0, -0.5, 0.75, 0.833333]])
    past, _ = past_weights(past_contributions(ADVANTAGE), RUNS_ON, STEP, 1.0, form="mean")
    aligned = ADVANTAGE + 2 * alignment_term(past, ADVANTAGE)
    assert_close(aligned.T, [[1, 3, 0.5, 1.666667], [-0.5, 3, 1.75, 2.333333]])


def test_discounted_and_absolute_form_by_hand() -> None:
    assert_close(weights("discounted", 0.5).T, [[0, 0.5, -0.25, 0.125], [0, -0.25, 0.875, 0.9375]])
    assert_close(weights("absolute", 0.5).T, [[0, 0.5, 0, 0.0625], [0, -0.25, 0.375, 0.3125]])
    past, _ = past_weights(past_contributions(ADVANTAGE), RUNS_ON, STEP, 0.5)
    aligned = ADVANTAGE + 2 * 0.5 * alignment_term(past, ADVANTAGE)
    assert_close(aligned.T, [[1, 0, 0.25, 1.875], [-0.5, 2.25, 1.4375, 0.875]])


def test_carry_and_end_by_hand() -> None:
    done, step = torch.tensor([False, True, False, False]), torch.tensor([2, 3, 0, 1])

    def carried(value: float) -> Tensor:
        return torch.tensor([[0, value], [0, 0]])

    assert_close(weights("mean", done=done, step=step, initial=carried(3.0))[:, 0], [1.5, 1.333333, 0, 0.5])
    assert_close(weights("discounted", 0.5, done, step, initial=carried(1.0))[:, 0], [1, 1, 0, 0.25])


@pytest.mark.parametrize("form", ["mean", "discounted", "absolute", "trace"])
def test_the_past_is_the_same_in_one_batch_and_in_two(form: str) -> None:
    torch.manual_seed(0)
    contribution, done = torch.randn(3, 8, 2, 2), torch.zeros(3, 8, dtype=torch.bool)
    done[1, 3] = done[2, 5] = True
    step = torch.stack([torch.arange(8), torch.arange(8) - 4 * (torch.arange(8) > 3), torch.arange(8)])
    step[2, 6:] -= 6
    whole, last = past_weights(contribution, done, step, 0.9, form=form)
    first, carried = past_weights(contribution[:, :5], done[:, :5], step[:, :5], 0.9, form=form)
    second, after = past_weights(contribution[:, 5:], done[:, 5:], step[:, 5:], 0.9, form=form, initial=carried)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(after, last)


def test_weights_of_what_the_other_could_have_done_by_hand() -> None:
    probability = torch.stack([torch.full((4,), 0.3), torch.tensor([0.5, 0.4, 0.75, 0.2])], -1)
    past, _ = past_weights(past_contributions(ADVANTAGE, probability=probability), RUNS_ON, STEP, 0.5)
    assert_close(past[:, 0, 1], [0, 0.25, -0.175, -0.025])


def test_three_agents_by_hand() -> None:
    advantage = torch.tensor([[1.0, 3.0, -2.0], [2.0, -1.0, 4.0]])
    past, _ = past_weights(past_contributions(advantage), RUNS_ON[:2], STEP[:2], 1.0, form="mean")
    assert_close(alignment_term(past, advantage)[1], [3, 18, -2])


def test_influence_takes_the_place_of_ones_own_advantage() -> None:
    influence = torch.tensor([[9.0, 2.0], [3.0, 9.0]])
    past, _ = past_weights(past_contributions(ADVANTAGE[:2], influence.expand(2, 2, 2)), RUNS_ON[:2], STEP[:2], 0.5)
    # What the other did to me
    assert past[1, 0, 1] == 0.5 * 3 and past[1, 1, 0] == 0.5 * 2


@pytest.mark.parametrize(
    ("probability", "ended", "expected"),
    [
        ([0.6, 0.3, 0.5], None, [0, -0.14976, 0.747821]),
        # Nobody who does the same whatever happens can be shaped.
        ([1.0, 1.0, 1.0], None, [0, 0, 0]),
        ([0.6, 0.3, 0.5], 0, [0, 0, 0.897120]),
    ],
)
def test_loqa_by_hand(probability: list, ended: int | None, expected: list) -> None:
    gamma, reward = 0.9, torch.tensor([[0.0, 1, -1], [1, 0, 2]]).T
    values = torch.tensor([[0.5, 0.2, 0.1, 0.3], [1, 0.5, 0.4, 0.2]]).T
    value, next_value = values[:-1], values[1:]
    done, never = torch.zeros(3, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)
    own = reward + gamma * next_value - value
    assert_close(own[:, 0], [-0.32, 0.89, -0.83])
    done[-1] = True
    # By hand, returns do not bootstrap.
    other, _ = generalized_advantage_estimate(gamma, 1.0, value, next_value, reward, done, done)
    assert_close((other + value)[:, 1], [2.62, 1.8, 2])
    done = never.clone()[:, 0]
    if ended is not None:
        done[ended] = True
    probability = torch.tensor(probability).unsqueeze(-1).expand(3, 2)
    past, _ = past_weights(
        past_contributions(own, probability=probability), done, torch.arange(3), 0.9 * gamma, form="trace"
    )
    assert_close((gamma * alignment_term(past, other))[:, 0], expected)


def test_discount_0_and_weight_1() -> None:
    past, _ = past_weights(past_contributions(ADVANTAGE), RUNS_ON, STEP, 0.0)
    assert (alignment_term(past, ADVANTAGE) == 0).all()
    # With every weight at 1 it is a team: GAE is linear in rewards and values.
    torch.manual_seed(0)
    reward, value, done = torch.randn(6, 3), torch.randn(7, 3), torch.zeros(6, 3, dtype=torch.bool)

    def gae(reward: Tensor, value: Tensor) -> Tensor:
        done_too = done[:, : reward.shape[-1]]
        return generalized_advantage_estimate(0.9, 0.8, value[:-1], value[1:], reward, done_too, done_too)[0]

    advantage = gae(reward, value)
    together = advantage + alignment_term(torch.ones(6, 3, 3), advantage)
    team = gae(reward.sum(-1, keepdim=True), value.sum(-1, keepdim=True))
    torch.testing.assert_close(together, team.expand(6, 3), atol=1e-6, rtol=1e-6)


def test_centring_by_step() -> None:
    torch.manual_seed(0)
    step = torch.arange(5).expand(16, 5)
    noise = torch.randn(16, 5, 2)
    noise -= noise.mean(0)
    # A critic that starts at 0: what it lacks depends on the step.
    advantage = noise + torch.tensor([-5.0, -4, -3, -2, -1]).unsqueeze(-1)
    centred, scale = centred_advantage(advantage, step)
    torch.testing.assert_close(centred, noise)
    torch.testing.assert_close(scale, noise.square().mean().sqrt())
    by_batch, _ = centred_advantage(advantage, step, "batch")
    assert by_batch[:, 0].mean() < -1
    assert centred_advantage(advantage, step, "none") == (advantage, 1)
    # Few share a step: the mean of the batch is taken off.
    few, _ = centred_advantage(advantage[:4], step[:4])
    torch.testing.assert_close(few, centred_advantage(advantage[:4], step[:4], "batch")[0])


def test_what_is_left_out_counts_neither_in_means_nor_in_the_deviation() -> None:
    torch.manual_seed(0)
    step, advantage = torch.arange(3).expand(24, 3), torch.randn(24, 3, 2)
    left_out = torch.zeros(24, 3, 2, dtype=torch.bool)
    left_out[16:] = True
    wrong = advantage.clone()
    wrong[16:] = 1e3
    for centre in ("step", "batch"):
        alone, scale = centred_advantage(advantage[:16], step[:16], centre)
        among, same = centred_advantage(wrong, step, centre, left_out)
        torch.testing.assert_close(among[:16], alone)
        torch.testing.assert_close(same, scale)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weights("sum"), "form must be one of mean, discounted, absolute, trace, but is 'sum'"),
        (lambda: weights("mean", 2.0), r"gamma must be a number from 0 to 1, but is 2\.0"),
        (lambda: weights("mean", done=RUNS_ON[:3]), r"done must be of shape \[\*B, T\] = \(4,\)"),
        (lambda: weights("mean", initial=torch.zeros(2)), r"initial must be of shape \[\*B, N, N\] = \(2, 2\)"),
        (lambda: centred_advantage(ADVANTAGE, STEP, "mean"), "centre must be one of step, batch, none, but is 'mean'"),
        (lambda: alignment_term(torch.ones(1, 1), torch.ones(1)), "of at least 2 agents, but is of 1"),
    ],
)
def test_bad_input_of_the_functions(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
