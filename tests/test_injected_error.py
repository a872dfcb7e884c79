"""Error put into the estimate of influence, by hand and in an experiment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from conftest import Batches
from torch import Tensor

from benchmarl_reciprocator.algorithms.reciprocity.diagnostics import FailureSignatures
from benchmarl_reciprocator.algorithms.reciprocity.injected_error import InjectedError, influence_deviation, with_error
from benchmarl_reciprocator.influence import influence_balance, reciprocal_reward
from benchmarl_reciprocator.tasks.groups import joint_entry


def injected(bias: float = 0.0, noise: float = 0.0, flips: float = 0.0) -> InjectedError:
    return InjectedError(SimpleNamespace(estimate_bias=bias, estimate_noise=noise, estimate_sign_flips=flips))


def influence_of(n_samples: int) -> Tensor:
    """Of agent 0 on 1 always 3, of 1 on 0 always -1: the deviation of these is 2."""
    return torch.tensor([[7.0, 3.0], [-1.0, 7.0]]).expand(n_samples, 1, 2, 2)


def test_error_by_hand() -> None:
    flipped = torch.tensor([[False, True], [True, False]])
    normal = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    found = with_error(torch.tensor([[7.0, 3.0], [-1.0, 7.0]]), bias=0.5, noise=2.0, flipped=flipped, normal=normal)
    # 7 + 0.5 + 2, -3 + 0.5 - 2, 1 + 0.5 and 7 + 0.5 + 4.
    assert found.tolist() == [[9.5, -4.5], [1.5, 11.5]]
    assert influence_deviation(influence_of(5)) == pytest.approx(2.0)


def test_the_unit_of_the_error_is_the_deviation_of_influence() -> None:
    influence = influence_of(1)
    assert torch.equal(injected(bias=-0.5).in_batch(influence), influence - 1)
    assert torch.equal(injected(flips=1.0).in_batch(influence), -influence)
    torch.manual_seed(0)
    noisy = injected(noise=1.5).in_batch(influence_of(20_000)) - influence
    # Standard error 3 / sqrt(20,000) = 0.02.
    assert noisy.mean(0).flatten().tolist() == pytest.approx([0] * 4, abs=0.08)
    assert noisy.std(0).flatten().tolist() == pytest.approx([3] * 4, rel=0.03)
    flips = injected(flips=0.3).in_batch(influence_of(20_000)) == -influence
    assert flips.float().mean(0).flatten().tolist() == pytest.approx([0.3] * 4, abs=0.015)


def test_a_step_has_the_unit_of_the_last_batch() -> None:
    error = injected(bias=1.0)
    step = torch.zeros(4, 2, 2)
    assert torch.equal(error.in_step(step), step)
    error.in_batch(influence_of(3))
    assert torch.equal(error.in_step(step), step + 2)


def test_without_error_nothing_is_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    error, influence = injected(), influence_of(3)
    assert error.in_batch(influence) is influence and error.in_step(influence) is influence
    assert torch.equal(torch.rand(1), expected)


def test_rewards_of_an_experiment_are_of_the_estimate_with_its_error(small_experiment) -> None:
    batches = Batches()
    options = ["algorithm=reciprocator", "algorithm.warmup=0", "algorithm.reward_unit=1", "algorithm.estimate_bias=1e6"]
    experiment = small_experiment(*options, "algorithm.balance_gamma=0")
    experiment.callbacks = [*experiment.callbacks, batches]
    experiment.run()
    # Everybody seems to help everybody, much: after an episode's first step the reciprocal reward is all that counts.
    first, second = (joint_entry(batch, "next", "reward") for batch in batches.collected)
    assert (second[:, 1:] > 1e6).all()
    assert (second[:, 0] > -4).all() and (second[:, 0] < 1).all()
    assert first.shape == second.shape


def test_what_errors_leave_of_the_reciprocal_reward() -> None:
    # What is drawn for the balance and for the influence that it is multiplied with is of different steps.
    torch.manual_seed(0)
    influence = torch.tensor([[0.0, 2.0], [1.0, 0.0]]).expand(100_000, 2, 2, 2)
    done = torch.zeros(100_000, 2, dtype=torch.bool)

    def mean_reward(error: InjectedError) -> list[float]:
        found = error.in_batch(influence)
        balance, _ = influence_balance(found, done, gamma=0.8, debit="none")
        return reciprocal_reward(found, balance)[:, 1].mean(0).tolist()

    # In the second step agent 0 owes 1 and gives 2, agent 1 the other way round. The deviation of influence is 0.5.
    assert mean_reward(injected()) == [2.0, 2.0]
    # Wrong signs leave (1 - 2 * 0.3)^2 of it, noise all of it.
    assert mean_reward(injected(flips=0.3)) == pytest.approx([0.32, 0.32], abs=0.03)
    assert mean_reward(injected(noise=2.0)) == pytest.approx([2.0, 2.0], abs=0.03)
    # A bias of 0.5 rewards help for its own sake: (1 + 0.5) (2 + 0.5) and (2 + 0.5) (1 + 0.5).
    assert mean_reward(injected(bias=1.0)) == pytest.approx([3.75, 3.75])


@pytest.mark.parametrize(
    ("option", "must_be"),
    [
        ("estimate_noise=-1", "algorithm.estimate_noise must be a number >= 0, but is -1"),
        ("estimate_sign_flips=2", "algorithm.estimate_sign_flips must be a number >= 0 and <= 1, but is 2"),
    ],
)
def test_bad_errors_are_named(small_experiment, option: str, must_be: str) -> None:
    with pytest.raises(ValueError, match=f"^{must_be}"):
        small_experiment("algorithm=reciprocator", f"algorithm.{option}")


def test_signatures_keep_their_names() -> None:
    signatures = FailureSignatures(window=3)
    reward, influence = torch.tensor([[[0.0, 1.0]]]), torch.full((1, 1, 2, 2), 5.0)
    told = [signatures.observe(reward, influence, 0.5, -1.0, immediate_only=True) for _ in range(3)]
    assert [len(messages) for messages in told] == [0, 0, 2]
    assert signatures.raised == {"drowning", "misfit"}
