"""Value influence, influence balance and reciprocal reward against numbers worked out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarl_reciprocator.influence import (
    DEBITS,
    RECIPROCAL_FORMS,
    influence_balance,
    next_balance,
    reciprocal_reward,
    value_influence,
)

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)

# Two agents, two steps. Read [i][j] as "i towards j".
TWO_AGENTS = torch.tensor([[[0.5, 2.0], [1.0, 0.25]], [[0.0, -1.0], [3.0, 0.5]]])
GOES_ON = torch.tensor([False, False])
# Off-diagonal balance (b01, b10) before the second step and after it, for gamma 0.5:
# none:          b01 = 1               b10 = 2;             b01 = 0.5 * 1 + 3 = 3.5         b10 = 0.5 * 2 - 1 = 0
# given:         b01 = 1 - 2           b10 = 2 - 1;         b01 = -0.5 + 3 + 1 = 3.5        b10 = 0.5 - 1 - 3 = -3.5
# given_and_own: b01 = 1 - 2 - 0.25    b10 = 2 - 1 - 0.5;   b01 = -0.625 + 3 + 1 - 0.5      b10 = 0.25 - 1 - 3 - 0
TWO_AGENTS_BALANCE = {
    "none": ((1.0, 2.0), (3.5, 0.0)),
    "given": ((-1.0, 1.0), (3.5, -3.5)),
    "given_and_own": ((-1.25, 0.5), (2.875, -3.75)),
}


def between_two(balance: Tensor) -> tuple[float, float]:
    return balance[0, 1].item(), balance[1, 0].item()


def off_diagonal(pairwise: Tensor) -> Tensor:
    return pairwise[..., ~torch.eye(pairwise.shape[-1], dtype=torch.bool)]


@st.composite
def influences(draw: st.DrawFn) -> Tensor:
    """Any value influence ``[T, N, N]`` in float64."""
    steps, n_agents = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    size = steps * n_agents**2
    numbers = draw(st.lists(st.floats(-100, 100), min_size=size, max_size=size))
    return torch.tensor(numbers, dtype=torch.float64).reshape(steps, n_agents, n_agents)


@st.composite
def trajectories(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Any value influence, and any ends of episodes ``[T]``."""
    influence = draw(influences())
    steps = len(influence)
    return influence, torch.tensor(draw(st.lists(st.booleans(), min_size=steps, max_size=steps)))


def test_value_influence_of_three_agents() -> None:
    full = torch.tensor([1.0, 2.0, 3.0])
    left_out = torch.tensor([[0.5, 1.0, 3.0], [1.0, 4.0, 1.0], [0.0, 2.0, 3.5]])
    # Row i: 1, 2, 3 less what is predicted without i's action.
    expected = torch.tensor([[0.5, 1.0, 0.0], [0.0, -2.0, 2.0], [1.0, 0.0, -0.5]])
    torch.testing.assert_close(value_influence(full, left_out), expected)
    batched = value_influence(full.expand(4, 5, 3), left_out.expand(4, 5, 3, 3))
    torch.testing.assert_close(batched, expected.expand(4, 5, 3, 3))


@pytest.mark.parametrize("shape", [(2, 2), (3,), (1, 3, 3)])
def test_value_influence_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="left_out"):
        value_influence(torch.zeros(3), torch.zeros(shape))


@pytest.mark.parametrize("debit", DEBITS)
def test_balance_of_two_agents(debit: str) -> None:
    before, after = influence_balance(TWO_AGENTS, GOES_ON, 0.5, debit=debit)
    second, end = TWO_AGENTS_BALANCE[debit]
    assert before.shape == (2, 2, 2)
    assert between_two(before[0]) == (0.0, 0.0)
    assert between_two(before[1]) == pytest.approx(second)
    assert between_two(after) == pytest.approx(end)


@pytest.mark.parametrize(
    ("debit", "expected"),
    [
        # What the others gave: the transposed influence.
        ("none", [[0.0, 3.0, 5.0], [1.0, 0.0, 6.0], [2.0, 4.0, 0.0]]),
        # b01 = 3 - 1, b02 = 5 - 2, b12 = 6 - 4.
        ("given", [[0.0, 2.0, 3.0], [-2.0, 0.0, 2.0], [-3.0, -2.0, 0.0]]),
        # Further less the other's influence on itself: 10 for agent 0, 20 for agent 1, 30 for agent 2.
        ("given_and_own", [[0.0, -18.0, -27.0], [-12.0, 0.0, -28.0], [-13.0, -22.0, 0.0]]),
    ],
)
def test_balance_of_three_agents(debit: str, expected: list[list[float]]) -> None:
    influence = torch.tensor([[[10.0, 1.0, 2.0], [3.0, 20.0, 4.0], [5.0, 6.0, 30.0]]])
    _, after = influence_balance(influence, torch.tensor([False]), 0.9, debit=debit)
    torch.testing.assert_close(off_diagonal(after), off_diagonal(torch.tensor(expected)))


def test_reset_in_the_middle() -> None:
    influence = TWO_AGENTS[:1].expand(3, 2, 2)
    before, after = influence_balance(influence, torch.tensor([False, True, False]), 0.5, debit="none")
    assert between_two(before[1]) == (1.0, 2.0)
    assert between_two(before[2]) == (0.0, 0.0)
    assert between_two(after) == (1.0, 2.0)
    _, ended = influence_balance(influence, torch.tensor([False, False, True]), 0.5)
    assert not ended.any()


@pytest.mark.parametrize("debit", DEBITS)
def test_carried_balance_makes_two_batches_one(debit: str) -> None:
    torch.manual_seed(0)
    influence, done = torch.randn(4, 7, 3, 3), torch.rand(4, 7) < 0.2
    whole, end = influence_balance(influence, done, 0.9, debit=debit)
    for cut in range(1, 7):
        first, carry = influence_balance(influence[:, :cut], done[:, :cut], 0.9, debit=debit)
        second, last = influence_balance(influence[:, cut:], done[:, cut:], 0.9, carry, debit=debit)
        torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
        torch.testing.assert_close(last, end)


@pytest.mark.parametrize("debit", DEBITS)
def test_step_by_step_is_the_batch(debit: str) -> None:
    torch.manual_seed(0)
    influence, done = torch.randn(4, 7, 3, 3), torch.rand(4, 7) < 0.2
    before, after = influence_balance(influence, done, 0.9, debit=debit)
    balance = torch.zeros(4, 3, 3)
    for t in range(7):
        assert torch.equal(before[:, t], balance)
        balance = next_balance(balance, influence[:, t], 0.9, debit=debit)
        balance = torch.where(done[:, t, None, None], 0.0, balance)
    assert torch.equal(after, balance)
    with pytest.raises(ValueError, match="debit must be none, given or given_and_own, but is 'taken'"):
        next_balance(balance, influence[:, 0], 0.9, debit="taken")


def test_initial_is_discounted() -> None:
    owed = torch.tensor([[0.0, 4.0], [-4.0, 0.0]])
    before, after = influence_balance(TWO_AGENTS[:1], torch.tensor([False]), 0.5, owed, debit="none")
    assert between_two(before[0]) == (4.0, -4.0)
    # 0.5 * 4 + 1 and 0.5 * -4 + 2.
    assert between_two(after) == (3.0, 0.0)


@pytest.mark.parametrize("debit", DEBITS)
def test_batched_equals_looped(debit: str) -> None:
    torch.manual_seed(0)
    influence, done, initial = torch.randn(2, 3, 5, 3, 3), torch.rand(2, 3, 5) < 0.3, torch.randn(2, 3, 3, 3)
    before, after = influence_balance(influence, done, 0.9, initial, debit=debit)
    reward = reciprocal_reward(influence, before)
    for at in itertools.product(range(2), range(3)):
        alone, alone_after = influence_balance(influence[at], done[at], 0.9, initial[at], debit=debit)
        torch.testing.assert_close(before[at], alone)
        torch.testing.assert_close(after[at], alone_after)
        torch.testing.assert_close(reward[at], reciprocal_reward(influence[at], alone))


def test_done_may_have_a_trailing_dimension() -> None:
    done = torch.tensor([True, False])
    flat, trailing = (influence_balance(TWO_AGENTS, end, 0.9) for end in (done, done.unsqueeze(-1)))
    assert torch.equal(flat[0], trailing[0])
    assert torch.equal(flat[1], trailing[1])


def test_gamma_zero_remembers_one_step() -> None:
    torch.manual_seed(0)
    influence = torch.randn(5, 2, 2)
    before, _ = influence_balance(influence, torch.zeros(5, dtype=torch.bool), 0.0)
    last_change = influence.transpose(-1, -2) - influence
    torch.testing.assert_close(before[1:], last_change[:-1])


# Influence after the balance of three agents above with the debit "given": b01 = 2, b02 = 3, b12 = 2, b[j,i] = -b[i,j].
@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # (2 * 0.5 + 3 * -1.5) / 2, (-2 * 2 + 2 * 0) / 2, (-3 * 0 - 2 * 0.5) / 2
        ("product", [-1.75, -2.0, -0.5]),
        # (0.5 - 1.5) / 2, (-2 + 0) / 2, (0 - 0.5) / 2
        ("sign_balance", [-0.5, -1.0, -0.25]),
        # (2 - 3) / 2, (-2 + 0) / 2, (0 - 2) / 2
        ("sign_influence", [-0.5, -1.0, -1.0]),
        # tanh 2 = 0.9640, tanh 3 = 0.9951: (0.9640 * 0.5 - 0.9951 * 1.5) / 2, -0.9640 * 2 / 2, -0.9640 * 0.5 / 2
        ("tanh_balance", [-0.50531, -0.96403, -0.24101]),
    ],
)
def test_reciprocal_reward_of_three_agents(form: str, expected: list[float]) -> None:
    balance = torch.tensor([[[7.0, 2.0, 3.0], [-2.0, 7.0, 2.0], [-3.0, -2.0, 7.0]]])
    influence = torch.tensor([[[9.0, 0.5, -1.5], [2.0, 9.0, 0.0], [0.0, 0.5, 9.0]]])
    found = reciprocal_reward(influence, balance, form=form)
    torch.testing.assert_close(found, torch.tensor([expected]), rtol=1e-4, atol=1e-5)


def test_harm_is_paid_back_by_its_weight() -> None:
    balance = torch.tensor([[[7.0, 2.0, 3.0], [-2.0, 7.0, 2.0], [-3.0, -2.0, 7.0]]])
    influence = torch.tensor([[[9.0, 0.5, -1.5], [2.0, 9.0, 0.0], [0.0, 0.5, 9.0]]])
    # As in the case above, with -2 and -3 halved or left out.
    for negative, expected in ((0.5, [-1.75, -1.0, -0.25]), (0.0, [-1.75, 0.0, 0.0])):
        reward = reciprocal_reward(influence, balance, negative=negative)
        torch.testing.assert_close(reward, torch.tensor([expected]))
    total = reciprocal_reward(influence, balance, over_others="sum")
    torch.testing.assert_close(total, torch.tensor([[-3.5, -4.0, -1.0]]))
    with pytest.raises(ValueError, match=r"over_others must be mean or sum, but is 'max'"):
        reciprocal_reward(influence, balance, over_others="max")
    with pytest.raises(ValueError, match=r"negative must be a number from 0 to 1, but is 2"):
        reciprocal_reward(influence, balance, negative=2)


def test_reciprocal_reward_of_two_agents_over_time() -> None:
    before, _ = influence_balance(TWO_AGENTS, GOES_ON, 0.5)
    # First step: nothing owed. Second: b01 VI01 = -1 * -1, b10 VI10 = 1 * 3.
    expected = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    torch.testing.assert_close(reciprocal_reward(TWO_AGENTS, before), expected)


# The meta device computes nothing, but any tensor made on another device raises.
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device_are_kept(dtype: torch.dtype, device: str) -> None:
    influence = torch.zeros(2, 3, 3, 3, dtype=dtype, device=device)
    done = torch.zeros(2, 3, 1, dtype=torch.bool, device=device)
    results = [value_influence(influence[..., 0], influence)]
    for debit, form in itertools.product(DEBITS, RECIPROCAL_FORMS):
        before, after = influence_balance(influence, done, 0.9, debit=debit)
        results += [before, after, reciprocal_reward(influence, before, form=form)]
    assert all(result.dtype == dtype and result.device.type == device for result in results)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"debit": "taken"}, "debit must be none, given or given_and_own, but is 'taken'"),
        ({"gamma": 1.01}, "gamma must be a number from 0 to 1, but is 1.01"),
        ({"gamma": -0.1}, "gamma must be a number from 0 to 1, but is -0.1"),
        ({"gamma": float("nan")}, "gamma must be a number from 0 to 1, but is nan"),
        ({"influence": torch.zeros(2, 2, 3)}, "influence must be of shape"),
        ({"influence": torch.zeros(2, 2)}, "influence must be of shape"),
        ({"done": torch.zeros(3, dtype=torch.bool)}, "done must be of shape"),
        ({"done": torch.zeros(2, 2, dtype=torch.bool)}, "done must be of shape"),
        ({"initial": torch.zeros(3, 3)}, "initial must be of shape"),
        ({"initial": torch.zeros(1, 2, 2)}, "initial must be of shape"),
    ],
)
def test_balance_refuses_bad_arguments(change: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        influence_balance(**{"influence": TWO_AGENTS, "done": GOES_ON, "gamma": 0.9, **change})


def test_reciprocal_reward_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"form must be product, .* or tanh_balance, but is 'sum'"):
        reciprocal_reward(TWO_AGENTS, TWO_AGENTS, form="sum")
    with pytest.raises(ValueError, match="same shape"):
        reciprocal_reward(TWO_AGENTS, TWO_AGENTS[0])
    with pytest.raises(ValueError, match="at least 2 agents"):
        reciprocal_reward(torch.zeros(3, 1, 1), torch.zeros(3, 1, 1))


@PROPERTY
@given(
    trajectory=trajectories(),
    debit=st.sampled_from(["none", "given"]),
    gamma=st.floats(0, 1),
    factors=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_balance_is_linear_in_influence(
    trajectory: tuple[Tensor, Tensor], debit: str, gamma: float, factors: tuple[float, float]
) -> None:
    one, done = trajectory
    other = one.flip(0).roll(1, dims=-1)
    mixed = influence_balance(factors[0] * one + factors[1] * other, done, gamma, debit=debit)
    ones, others = (influence_balance(part, done, gamma, debit=debit) for part in (one, other))
    for mix, x, y in zip(mixed, ones, others, strict=True):
        torch.testing.assert_close(mix, factors[0] * x + factors[1] * y, rtol=1e-9, atol=1e-7)


@PROPERTY
@given(trajectory=trajectories(), gamma=st.floats(0, 1))
def test_balance_of_what_was_given_is_antisymmetric(trajectory: tuple[Tensor, Tensor], gamma: float) -> None:
    for balance in influence_balance(*trajectory, gamma, debit="given"):
        assert torch.equal(off_diagonal(balance), off_diagonal(-balance.transpose(-1, -2)))


@PROPERTY
@given(trajectory=trajectories(), debit=st.sampled_from(DEBITS), gamma=st.floats(0, 1), data=st.data())
def test_nothing_leaks_across_a_reset(
    trajectory: tuple[Tensor, Tensor], debit: str, gamma: float, data: st.DataObject
) -> None:
    influence, done = trajectory
    end = data.draw(st.integers(0, len(done) - 1))
    done[end] = True
    other_past = influence.clone()
    other_past[: end + 1] = other_past[: end + 1] * -2 + 1
    before, after = influence_balance(influence, done, gamma, debit=debit)
    changed, changed_after = influence_balance(other_past, done, gamma, torch.ones_like(influence[0]), debit=debit)
    assert torch.equal(before[end + 1 :], changed[end + 1 :])
    # With an end at the last step, the balance after it is zero in both.
    assert torch.equal(after, changed_after)
