"""Exact LOLA and naive learners on matrix games: by hand, at their limits, and against what is published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator import (
    SocialDilemmaTask,
    exact_learning,
    exact_values,
    in_own_view,
    learning_steps,
    owed,
    payoffs_of,
    plays_tit_for_tat,
)
from benchmarl_reciprocator.commands import cli

PAYOFFS = payoffs_of(SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml())
GAMMA = 0.96
# P(C) after CC, CD, DC, DD and at the start, each in its own view
ONE, OTHER = (0.9, 0.2, 0.6, 0.1, 0.7), (0.8, 0.3, 0.5, 0.2, 0.6)
TIT_FOR_TAT, DEFECT = (1.0, 0.0, 1.0, 0.0, 1.0), (0.0,) * 5
EVEN = (0.5,) * 5


def logits(own: tuple, other: tuple) -> Tensor:
    """``[1, 2, 5, 1]``."""
    probabilities = torch.tensor([own, other], dtype=torch.double)[None, ..., None].clamp(1e-9, 1 - 1e-9)
    # Two exchanges are none.
    return in_own_view(probabilities.logit(), 2)


@pytest.mark.parametrize(
    ("own", "other", "values"),
    [
        (EVEN, EVEN, (-37.5, -37.5)),
        (TIT_FOR_TAT, TIT_FOR_TAT, (-25, -25)),
        (DEFECT, TIT_FOR_TAT, (-48, -51)),
        (ONE, OTHER, (-39.26457, -39.98096)),
    ],
)
def test_values_by_hand(own: tuple, other: tuple, values: tuple) -> None:
    assert exact_values(logits(own, other), PAYOFFS, GAMMA)[0].tolist() == pytest.approx(values, abs=1e-5)


def steps(own: tuple, other: tuple, rule: str, **options) -> list:
    """The first agent's, in its own view."""
    return learning_steps(logits(own, other), PAYOFFS, GAMMA, [rule, "naive"], **options)[0, 0, :, 0].tolist()


def corrections(own: tuple, other: tuple, rule: str, eta: float = 1.0) -> list:
    naive, corrected = steps(own, other, "naive"), steps(own, other, rule, eta=eta)
    return [(b - a) / eta for a, b in zip(naive, corrected)]


def test_steps_by_hand() -> None:
    assert steps(EVEN, EVEN, "naive") == pytest.approx([-1.5, -1.5, -1.5, -1.5, -0.25])
    assert corrections(EVEN, EVEN, "lola") == pytest.approx([4.35, -4.35, 4.35, -4.35, 0], abs=1e-9)
    assert corrections(EVEN, EVEN, "surrogate") == pytest.approx([5.4375, -5.4375, 5.4375, -5.4375, 0], abs=1e-9)
    assert steps(ONE, OTHER, "naive") == pytest.approx([0.04644, -0.05815, -0.21742, -0.23258, -0.00582], abs=1e-5)
    expected = [4.58073, 0.09115, 4.24658, -3.94258, 0.07984]
    assert corrections(ONE, OTHER, "lola") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rule", ["lola", "surrogate", "lookahead"])
def test_whoever_anticipates_nothing_is_naive(rule: str) -> None:
    assert steps(ONE, OTHER, rule, eta=0.0) == pytest.approx(steps(ONE, OTHER, "naive"))
    assert steps(ONE, OTHER, "lookahead", eta=1e-9, inner_steps=3) == pytest.approx(
        steps(ONE, OTHER, "naive"), abs=1e-6
    )


def test_a_short_look_ahead_is_the_surrogate() -> None:
    assert corrections(ONE, OTHER, "lookahead", 1e-6) == pytest.approx(corrections(ONE, OTHER, "surrogate"), abs=1e-3)


def test_what_is_owed_by_hand() -> None:
    # Cooperation is worth 1 more to the other than the mean of both actions, defection 1 less.
    paid = owed(PAYOFFS)
    joint = ["CC", "CD", "DC", "DD"]
    for state, last in enumerate(joint):
        for number, now in enumerate(joint):
            for agent in (0, 1):
                signs = [1 if action == "C" else -1 for action in (last[1 - agent], now[agent])]
                assert paid[state, number, agent] == signs[0] * signs[1], (last, now, agent)
    assert not paid[4].any()
    assert steps(ONE, OTHER, "reciprocal", reciprocal_weight=0.0) == pytest.approx(steps(ONE, OTHER, "naive"))


def test_whoever_reciprocates_draws_a_naive_learner_into_cooperation() -> None:
    end, rewards = exact_learning(logits(EVEN, EVEN), PAYOFFS, GAMMA, ["reciprocal", "naive"], updates=40)
    assert plays_tit_for_tat(end)[0].tolist() == [True, False]
    assert rewards[-1].min() > -1.25


def test_three_agents_learn() -> None:
    payoffs = payoffs_of(SocialDilemmaTask.PUBLIC_GOODS.get_from_yaml())
    torch.manual_seed(0)
    start = torch.randn(2, 3, 9, 1, dtype=torch.double)
    _, rewards = exact_learning(start, payoffs, GAMMA, ["lola", "reciprocal", "lookahead"], updates=2)
    assert rewards.shape == (2, 2, 3) and rewards.isfinite().all()


def test_naive_learners_climb_to_defection_and_lola_does_not() -> None:
    start = logits(EVEN, EVEN)
    for rules, cooperates in ((["naive", "naive"], False), (["lola", "lola"], True)):
        _, rewards = exact_learning(start, PAYOFFS, GAMMA, rules, updates=10)
        assert (rewards[-1].mean() > -1.3) == cooperates


@pytest.mark.learning
@pytest.mark.parametrize(
    ("rules", "expected", "tit_for_tat"),
    [
        (("naive", "naive"), (-1.99, -1.99), 0.0),
        (("lola", "naive"), (-1.39, -1.41), 0.1),
        (("lola", "lola"), (-1.05, -1.05), 0.64),
    ],
)
def test_published_outcomes(rules: tuple, expected: tuple, tit_for_tat: float) -> None:
    torch.manual_seed(0)
    start = torch.randn(100, 2, 5, 1, dtype=torch.double)
    end, rewards = exact_learning(start, PAYOFFS, GAMMA, rules, updates=200)
    assert rewards[-1].mean(0).tolist() == pytest.approx(expected, abs=0.06)
    share = plays_tit_for_tat(end)[:, 0].double().mean()
    assert share.item() == pytest.approx(tit_for_tat, abs=0.12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ["naive", "pola"]}, "rules must be naive, lola, surrogate, lookahead or reciprocal, but is 'pola'"),
        ({"rules": ["naive"]}, r"rules must be one for each of 2 agents, but is \['naive'\]"),
        ({"rules": ["lola", "lola"], "eta": -1.0}, r"eta must be a number >= 0, but is -1\.0"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learning_steps(logits(ONE, OTHER), PAYOFFS, GAMMA, **options)


def test_a_game_without_an_exact_model_is_refused() -> None:
    with pytest.raises(
        ValueError, match="task of LOLA must be a matrix game, which has an exact model, but is 'coins'"
    ):
        payoffs_of(SocialDilemmaTask.COINS.get_from_yaml())


def test_the_command_meets_every_rule_with_every_other(tmp_path, capsys) -> None:
    asked = ["lola", "prisoners_dilemma", "task.variant=leibo", "--draws", "3", "--updates", "2"]
    assert cli.main([*asked, "--rules", "naive", "reciprocal", "--output", str(tmp_path)]) == 0
    header, *rows = (tmp_path / "lola.csv").read_text().splitlines()
    assert header.startswith("pair,seat,rule,end_estimate,end_low,end_high,learning_estimate")
    assert [row.split('"')[1] for row in rows[::2]] == ["naive, naive", "naive, reciprocal", "reciprocal, reciprocal"]
    assert "| naive, reciprocal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["coins"], "task of LOLA must be a matrix game, which has an exact model, but is 'coins'"),
        (["coin"], "did you mean coins?), but is 'coin'"),
        (["stag_hunt", "task.size=3"], "an override must be task.<option>=<value> with one of reward_noise, "),
        (["stag_hunt", "--rules", "pola"], "--rules must be some of naive, lola, "),
        (["stag_hunt", "--gamma", "1"], "--gamma must be a number > 0 and < 1, but is 1.0"),
    ],
)
def test_bad_input_of_the_command(asked: list, message: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["lola", *asked])
    assert message in capsys.readouterr().err
