"""The meta-game: by hand, and against what fixed policies come to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator import MatrixMetaGameEnv, SocialDilemmaClass, SocialDilemmaTask

# P(C) after CC, CD, DC, DD and at the start, each in its own view
ONE, OTHER = (0.9, 0.2, 0.6, 0.1, 0.7), (0.8, 0.3, 0.5, 0.2, 0.6)
EVEN = (0.5,) * 5


def make(num_envs: int = 1, **options: Any) -> MatrixMetaGameEnv:
    task = SocialDilemmaTask.MATRIX_META_GAME.get_from_yaml()
    continuous = options.pop("continuous_actions", True)
    task = SocialDilemmaClass(task.name, {**task.config, **options})
    return task.options.make_env(num_envs, "cpu", seed=0, continuous_actions=continuous)


def logits(*policies: tuple) -> Tensor:
    """``[1, K, 5]``."""
    return torch.tensor([policies]).logit()


def test_two_learners_play_by_their_policies() -> None:
    env = make(opponent="learner")
    now = env.reset()
    now["agent_0", "action"], now["agent_1", "action"] = logits(ONE), logits(OTHER)
    after = env.step(now)["next"]
    assert after["agent_0", "reward"].item() == pytest.approx(-1.570583, abs=1e-6)
    assert after["agent_1", "reward"].item() == after["agent_0", "info", "opponent"].item()
    assert after["agent_1", "reward"].item() == pytest.approx(-1.599238, abs=1e-6)
    assert after["agent_0", "observation"].flatten().tolist() == pytest.approx([*ONE, *OTHER])
    assert after["agent_1", "observation"].flatten().tolist() == pytest.approx([*OTHER, *ONE])


def learned(own: tuple, other: tuple, opponent: str, **options: Any) -> list[float]:
    """What an opponent plays after it has learned from these policies: seen a step later."""
    env = make(opponent=opponent, **options)
    now = env.reset()
    # Whoever does not learn before anything is seen plays what is shown at the reset.
    env.place(logits(other)[:, 0].double())
    for _ in range(2):
        now["agent_0", "action"] = logits(own)
        now = env.step(now)["next"]
    return now["agent_0", "observation"][0, 0, 5:].tolist()


def test_an_opponent_in_the_environment_learns_by_hand() -> None:
    assert learned(ONE, OTHER, "naive") == pytest.approx([0.92018, 0.4929, 0.63036, 0.32426, 0.65485], abs=1e-5)
    assert learned(EVEN, EVEN, "naive") == pytest.approx([0.18243, 0.18243, 0.18243, 0.18243, 0.43782], abs=1e-5)
    assert learned(ONE, OTHER, "naive", inner_lr=0.0) == pytest.approx(OTHER, abs=1e-6)
    # Both factors differentiated: -1.5 + 5.4375 after CC and DC in its own view, -1.5 - 5.4375 else
    up, down, start = torch.tensor([3.9375, -6.9375, -0.25]).sigmoid().tolist()
    assert learned(EVEN, EVEN, "lola") == pytest.approx([up, down, up, down, start], abs=1e-5)


def fixed(policy: tuple, **options: Any) -> list[float]:
    """Own reward and the opponent's, mean over an episode of 100 steps."""
    env = make(128, **{"opponent": "naive", **options})
    now = env.reset()
    total = torch.zeros(2)
    for _ in range(env.max_steps):
        now["agent_0", "action"] = logits(policy).expand(128, 1, 5)
        now = env.step(now)["next"]
        total += torch.stack([now["agent_0", "reward"].mean(), now["agent_0", "info", "opponent"].mean()])
    assert now["terminated"].all() and not now["truncated"].any()
    return (total / env.max_steps).tolist()


def test_what_fixed_policies_come_to_against_a_naive_learner() -> None:
    tit_for_tat, extortion = (0.999, 0.001, 0.999, 0.001, 0.999), (0.72, 0.08, 0.57, 0.08, 0.01)
    assert fixed(tit_for_tat, learns_at_reset=False) == pytest.approx([-1.013, -1.014], abs=0.01)
    assert fixed(extortion, learns_at_reset=False) == pytest.approx([-0.716, -1.731], abs=0.04)


def test_discrete_actions_are_the_policies_that_are_sure() -> None:
    env = make(opponent="learner", continuous_actions=False)
    now = env.reset()
    # Tit-for-tat, and defection
    now["agent_0", "action"], now["agent_1", "action"] = torch.tensor([[0b10101]]), torch.tensor([[0]])
    seen = env.step(now)["next", "agent_0", "observation"].flatten().round(decimals=1).tolist()
    assert seen == [1, 0, 1, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opponent": "all_d"}, "task.opponent must be learner, naive, lola or reciprocal, but is 'all_d'"),
        ({"inner_gamma": 1.0}, r"task.inner_gamma must be at least 0 and below 1, but is 1\.0"),
        ({"inner_lr": -1.0}, r"task.inner_lr must be a number >= 0, but is -1\.0"),
        ({"learns_at_reset": 2}, "task.learns_at_reset must be true or false, but is 2"),
        ({"logit_bound": 0.0}, r"task.logit_bound must be a number > 0, but is 0\.0"),
        ({"max_steps": 0}, "task.max_steps must be an integer >= 1, but is 0"),
        ({"variant": "chicken"}, "task.variant must be lola, contribution or leibo, but is 'chicken'"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
