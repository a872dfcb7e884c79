"""From influence to the total rewards of groups with options of their own: by hand, and as the pure functions say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarl_reciprocator import ReciprocatorConfig
from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.algorithms.reciprocity.rewards import Reciprocators, balances, pairwise, total_rewards
from benchmarl_reciprocator.influence import influence_balance, reciprocal_reward


def options(**changes: object) -> ReciprocityConfig:
    config = ReciprocatorConfig.get_from_yaml()
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def random_influence(n_agents: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 6, n_agents, n_agents), torch.rand(4, 6) < 0.2


def test_total_reward_by_hand() -> None:
    # Agent 0 owes agent 1 three units, and gives it two; nobody owes agent 0.
    influence = torch.tensor([[[[0.0, 2.0], [0.5, 0.0]]]])
    balance = torch.tensor([[[[0.0, 3.0], [0.0, 0.0]]]])
    groups = {
        group: Reciprocators(slice(number, number + 1), options(), weight=0.5, weight_of_harm=1.0, gamma=0.9)
        for number, group in enumerate(("first", "second"))
    }
    total, metrics = total_rewards(torch.tensor([[[1.0, -1.0]]]), influence, {("none", 0.9): balance}, groups)
    # 1 + 0.5 * 3 * 2, and -1 + 0.5 * 0 * 0.5.
    assert total["first"].tolist() == [[[4.0]]]
    assert total["second"].tolist() == [[[-1.0]]]
    assert metrics["balance/0_on_1"] == 3.0 and metrics["balance/1_on_0"] == 0.0
    # 3 of 3 + 1 in absolute value.
    assert metrics["first/intrinsic_reward_share"] == pytest.approx(0.75)
    assert metrics["second/intrinsic_reward_share"] == 0.0
    assert metrics["first/reward_weight"] == 0.5


def test_groups_are_rewarded_by_their_own_options() -> None:
    influence, done = random_influence(3)
    extrinsic = torch.randn(4, 6, 3)
    product, tanh = options(), options(reciprocal_form="tanh_balance", balance_debit="given", negative_reciprocity=0.5)
    groups = {
        "pair": Reciprocators(slice(0, 2), product, weight=2.0, weight_of_harm=product.negative_reciprocity, gamma=0.9),
        "last": Reciprocators(slice(2, 3), tanh, weight=3.0, weight_of_harm=tanh.negative_reciprocity, gamma=0.5),
    }
    balance, after = balances(influence, done, groups, {})
    total, _ = total_rewards(extrinsic, influence, balance, groups)
    owed, end = influence_balance(influence, done, 0.9, debit="none")
    expected = extrinsic + 2 * reciprocal_reward(influence, owed)
    torch.testing.assert_close(total["pair"], expected[..., :2])
    torch.testing.assert_close(after["none", 0.9], end)
    owed, end = influence_balance(influence, done, 0.5, debit="given")
    expected = extrinsic + 3 * reciprocal_reward(influence, owed, form="tanh_balance", negative=0.5)
    torch.testing.assert_close(total["last"], expected[..., 2:])
    torch.testing.assert_close(after["given", 0.5], end)


def test_balances_are_carried_from_batch_to_batch() -> None:
    influence, done = random_influence(2)
    groups = {"all": Reciprocators(slice(0, 2), options(), weight=1.0, weight_of_harm=1.0, gamma=0.9)}
    kind = groups["all"].kind
    whole, end = balances(influence, done, groups, {})
    first, carried = balances(influence[:, :3], done[:, :3], groups, {})
    second, last = balances(influence[:, 3:], done[:, 3:], groups, carried)
    torch.testing.assert_close(torch.cat([first[kind], second[kind]], dim=1), whole[kind])
    torch.testing.assert_close(last[kind], end[kind])
    # Of another number of environments nothing is known.
    fresh, _ = balances(influence[:2, 3:], done[:2, 3:], groups, carried)
    assert not fresh[kind][:, 0].any()


def test_pairs_are_named() -> None:
    values = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert pairwise("x", values, range(1, 2)) == {"x/1_on_0": 3.0, "x/1_on_2": 5.0}
    assert len(pairwise("x", values)) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": 2.5}, r"algorithm\.warmup must be an integer >= 0, but is 2\.5"),
        ({"buffer_reservoir": 1}, r"algorithm\.buffer_reservoir must be true or false, but is 1"),
        ({"balance_gamma": 2}, r"algorithm\.balance_gamma must be null or a number >= 0 and <= 1, but is 2"),
        ({"reciprocal_over_others": "all"}, r"reciprocal_over_others must be mean or sum, but is 'all'"),
        ({"estimator_encoder": "eye"}, r"estimator_encoder must be null, .* or \w+, but is 'eye'"),
        ({"estimator_encoder_options": 3}, r"estimator_encoder_options must be null or a mapping, but is 3"),
        ({"estimator_polyak_tau": 0.0}, r"estimator_polyak_tau must be a number > 0 and <= 1, but is 0\.0"),
        ({"estimator_lr": float("nan")}, r"estimator_lr must be a number > 0, but is nan"),
    ],
)
def test_bad_options_read_as_sentences(changes: dict, message: str) -> None:
    options().check()
    with pytest.raises(ValueError, match=message):
        options(**changes).check()
