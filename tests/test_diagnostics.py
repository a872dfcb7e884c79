"""Each known failure signature is named once, when it is there, and not when it is not."""

from __future__ import annotations

import warnings

import pytest
import torch

from benchmarl_reciprocator.algorithms.reciprocity.diagnostics import FailureSignatures, ReciprocityWarning

WINDOW = 5


def watch(
    rewards: list[float], share: float = 0.5, influence: float = 0.5, explained: float | None = 0.9
) -> list[tuple[int, str]]:
    """Iteration and first word of each message, for a run whose mean rewards are given, between 0 and 1."""
    signatures = FailureSignatures(window=WINDOW)
    found = []
    for iteration, mean in enumerate(rewards):
        # Rewards of 0 and 1, mixed so that their mean is as given.
        reward = (torch.linspace(0, 1, 101) <= mean).float().reshape(1, 101, 1).expand(1, 101, 2)
        pairwise = torch.full((1, 101, 2, 2), influence)
        messages = signatures.observe(reward, pairwise, share, explained, immediate_only=True)
        found += [(iteration, message) for message in messages]
    return found


def test_a_healthy_run_is_left_alone() -> None:
    assert watch([0.1, 0.3, 0.5, 0.7, 0.9, *[0.95] * 30]) == []


@pytest.mark.parametrize(
    ("options", "what", "change"),
    [
        ({"share": 0.99}, "drowns the task's", "algorithm.reward_weight_end"),
        ({"influence": 3.0}, "over-estimated", "algorithm.estimator_epochs"),
        ({"share": 1e-5}, "from the start", "algorithm.buffer_batches"),
        ({"explained": -0.5}, "worse than their mean", "algorithm.estimator_lr"),
    ],
)
def test_signatures_that_hold_are_named_once(options: dict, what: str, change: str) -> None:
    found = watch([0.5] * 30, **options)
    assert len(found) == 1
    iteration, message = found[0]
    assert iteration == WINDOW - 1
    assert what in message
    assert change in message


def test_oscillation_is_named_and_a_single_swing_is_not() -> None:
    assert watch([0.05, 0.95, 0.95, 0.95, 0.05, 0.95, *[0.95] * 10]) == []
    found = watch([0.05, 0.95] * 10)
    assert len(found) == 1
    assert "cooperation oscillates" in found[0][1]


def test_starvation_counts_from_the_start_only() -> None:
    signatures = FailureSignatures(window=WINDOW)
    reward, influence = torch.rand(1, 50, 2), torch.zeros(1, 50, 2, 2)
    shares = [0.5] * WINDOW + [0.0] * 20
    assert not any(signatures.observe(reward, influence, share, 0.9, True) for share in shares)


def test_warnings_reach_the_user(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.reward_weight_end=0",
        "experiment.max_n_iters=25",
        "experiment.evaluation=False",
    )
    with pytest.warns(ReciprocityWarning, match="less than 0.001 of the total from the start"):
        experiment.run()


def test_nan_explained_variance_is_no_misfit() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert watch([1.0] * 30, explained=float("nan")) == []
