"""Social outcome metrics against values worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarl_reciprocator.tasks.social_outcome import equality, social_outcome, sustainability


def test_equality_of_hand_worked_returns() -> None:
    returns = torch.tensor([[4.0, 4.0, 4.0], [6.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    # Gini of (6, 0, 0) is (N - 1) / N; of (3, 1, 0): (2 * (2 + 3 + 1)) / (2 * 3 * 4) = 1/2.
    assert torch.allclose(equality(returns), torch.tensor([1.0, 1 / 3, 0.5, 1.0]))


def test_equality_of_negative_returns_is_by_absolute_values() -> None:
    # The prisoner's dilemma's exploited pair: 0 and -3 are as unequal as two agents can be.
    assert torch.allclose(equality(torch.tensor([[-1.0, -1.0], [0.0, -3.0]])), torch.tensor([1.0, 0.5]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=6), st.floats(0.1, 10))
def test_equality_is_bounded_and_free_of_scale_and_order(returns: list[float], scale: float) -> None:
    value = equality(torch.tensor(returns, dtype=torch.float64))
    assert -1e-9 <= value <= 1 + 1e-9
    assert value.item() == pytest.approx(equality(scale * torch.tensor(returns[::-1], dtype=torch.float64)).item())


def test_sustainability_is_the_mean_time_of_positive_rewards() -> None:
    rewards = torch.zeros(2, 4, 2)
    rewards[0, 0, 0] = rewards[0, 2, 0] = 1
    rewards[0, 3, 1] = 5
    rewards[0, 1, 1] = -2
    # Agent 0 at steps 0 and 2, agent 1 at step 3: (1 + 3) / 2. Nothing was collected in the second episode.
    value = sustainability(rewards)
    assert value[0] == 2
    assert value[1].isnan()


def test_social_outcome_of_episodes() -> None:
    rewards = torch.tensor([[[1.0, 0.0], [1.0, 2.0]]])
    outcome = {name: value.tolist() for name, value in social_outcome(rewards).items()}
    assert outcome == {"utilitarian": [2.0], "equality": [1.0], "sustainability": [0.75]}
