"""Negotiation: its rules by hand, its players, and that it trains by whole claims and by any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.negotiation.game import NegotiationEnv
from benchmarl_reciprocator.tasks.negotiation.rules import NegotiationRules
from benchmarl_reciprocator.tasks.players import play

CONTRAST = [[5.0, 1.0, 1.0], [1.0, 5.0, 5.0]]


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.NEGOTIATION.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, continuous_actions: bool = False, **changes: Any) -> NegotiationEnv:
    return make_task(**changes).options.make_env(num_envs, "cpu", 0, continuous_actions)


def divided(claims: list, worth: list, pool: Sequence[float] = (1, 1, 1), **rules: Any) -> list[float]:
    made = NegotiationRules(**rules)
    return made.divide(*(torch.tensor(x, dtype=torch.float) for x in (claims, worth, pool))).tolist()


@pytest.mark.parametrize(
    ("claims", "values", "rewards"),
    [
        # Each what it values: 5/15, and 10/15.
        ([[5, 0, 0], [0, 5, 5]], CONTRAST, [1 / 3, 2 / 3]),
        # All of everything against that: (5 + 1/2 + 1/2) / 15, and (5/2 + 5/2) / 15.
        ([[5, 5, 5], [0, 5, 5]], CONTRAST, [0.4, 1 / 3]),
        # (5/2 + 25/6) / 15 and (1/2 + 5 + 1/6) / 15
        ([[2.5, 0, 5], [2.5, 5, 1]], [[5, 1, 5], [1, 5, 1]], [0.4444, 0.3778]),
        # What nobody claims is lost: (5 * 2/5 + 1 * 1/5) / 15 and (1/5 + 5/5 + 5 * 5/5) / 15.
        ([[2, 1, 0], [1, 1, 5]], CONTRAST, [2.2 / 15, 6.2 / 15]),
        ([[0, 0, 0], [0, 0, 0]], CONTRAST, [0, 0]),
    ],
)
def test_rewards_by_hand(claims: list, values: list, rewards: list[float]) -> None:
    assert divided(claims, values) == pytest.approx(rewards, abs=1e-4)


def test_other_divisions_and_numbers_of_items() -> None:
    claims = [[2, 1, 0], [1, 1, 0]]
    # 2/3 of 5 and 1/2 of 1; 1/3 of 1 and 1/2 of 5
    proportional = divided(claims, CONTRAST, division="proportional")
    assert proportional == pytest.approx([(10 / 3 + 1 / 2) / 15, (1 / 3 + 5 / 2) / 15])
    # Four of each item: at most 3 * 10 * 4 in all, of which each gets half.
    fixed = divided([[5] * 3] * 2, [[10, 3, 2], [3, 10, 2]], [4] * 3, values="fixed")
    assert fixed == pytest.approx([0.25, 0.25])
    assert divided([[1, 0, 0], [0, 1, 1]], CONTRAST, max_claim=1) == pytest.approx([1 / 3, 2 / 3])


def test_a_step_by_hand() -> None:
    env = make_env(grouping="one_group")
    now = env.reset()
    env.item_values[:] = torch.tensor(CONTRAST)
    before = env.state(1)[0].mul(10).tolist()
    assert before == pytest.approx([1, 1, 1, 1, 5, 5, 0, 0, 0, 5, 1, 1, 0, 0, 0])
    # (2, 1, 0) and (1, 1, 5) by the numbers of their actions
    action = torch.tensor([[2 * 36 + 1 * 6, 1 * 36 + 1 * 6 + 5]])
    after = env.step(now.set(("agents", "action"), action))["next"]
    assert after["agents", "reward"].flatten().tolist() == pytest.approx([2.2 / 15, 6.2 / 15])
    # Of what is worth more to the other: 1 of 10 and 1 of 5. Together they could have had 15/15.
    assert after["agents", "info", "claimed_of_others"].flatten().tolist() == [1, 1]
    assert after["agents", "info", "others"].flatten().tolist() == [10, 5]
    assert after["agents", "info", "possible"].flatten().tolist() == [1, 1]
    # New values, which add up to 6 for each item, and the old claims
    seen = after["agents", "observation"][0].mul(10).round()
    assert seen[0].reshape(5, 3)[[0, 2, 4]].tolist() == [[1, 1, 1], [2, 1, 0], [1, 1, 5]]
    assert (seen[:, 3:6] + seen[:, 9:12] == 6).all() and torch.equal(seen[0, 3:6], seen[1, 9:12])
    torch.testing.assert_close(after["state"], after["agents", "observation"][:, 0])


@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
@pytest.mark.parametrize("values", ["high_contrast", "uniform", "fixed"])
def test_specs_of_continuous_actions(grouping: str, values: str) -> None:
    env = make_env(3, True, grouping=grouping, values=values, max_steps=4)
    check_env_specs(env)
    group = next(iter(env.group_map))
    spec = env.full_action_spec[group, "action"]
    assert spec.shape == (3, len(env.group_map[group]), 3)
    assert spec.space.low.unique().tolist() == [0] and spec.space.high.unique().tolist() == [5]


def test_claims_beyond_the_range_count_as_its_ends() -> None:
    played = []
    for claims in ([[7.0, -1.0, 2.0], [5.0, 0.0, 9.0]], [[5.0, 0.0, 2.0], [5.0, 0.0, 5.0]]):
        env = make_env(1, True, grouping="one_group")
        played.append(env.step(env.reset().set(("agents", "action"), torch.tensor([claims])))["next"])
    assert torch.equal(played[0]["agents", "reward"], played[1]["agents", "reward"])
    assert torch.equal(played[0]["state"], played[1]["state"])


def test_whole_claims_are_the_same_as_discrete_actions() -> None:
    discrete, continuous = (make_env(8, kind, grouping="one_group") for kind in (False, True))
    actions = torch.randint(216, (8, 2), generator=torch.Generator().manual_seed(0))
    claims = torch.stack([actions // 36, actions // 6 % 6, actions % 6], -1).float()
    steps = [
        env.step(env.reset().set(("agents", "action"), chosen))["next"]
        for env, chosen in ((discrete, actions), (continuous, claims))
    ]
    for key in ("state", ("agents", "reward"), ("agents", "observation"), ("agents", "info", "others")):
        assert torch.equal(steps[0][key], steps[1][key])


def mean_rewards(one: str, other: str, episodes: int = 100, **changes: Any) -> Tensor:
    task = make_task(**changes)
    env = task.options.make_env(episodes, "cpu", 0)
    return play(env, [task.players()[name]() for name in (one, other)])["reward"].mean((0, 1))


@pytest.mark.parametrize(
    ("one", "other", "rewards"),
    [
        ("cooperate", "cooperate", [0.5, 0.5]),
        ("cooperate", "greedy", [0.25, 0.55]),
        ("greedy", "greedy", [0.3, 0.3]),
        ("random", "random", [0.2417, 0.2417]),
        ("tit_for_tat", "tit_for_tat", [0.5, 0.5]),
        # Exploited in the first round or two alone
        ("tit_for_tat", "greedy", [0.3 - 0.05 * 8 / 7 / 50, 0.3 + 0.25 * 8 / 7 / 50]),
    ],
)
def test_scripted_scores_of_the_source(one: str, other: str, rewards: list[float]) -> None:
    assert mean_rewards(one, other).tolist() == pytest.approx(rewards, abs=0.012)


def test_random_continuous_claims_score_as_in_the_source() -> None:
    played = make_env(2000, True, grouping="one_group").rollout(10)
    assert played["next", "agents", "reward"].mean().item() == pytest.approx(0.2495, abs=0.003)


def test_tit_for_tat_answers_by_degrees() -> None:
    player = make_task().players()["tit_for_tat"]()
    memory = torch.zeros(1, player.memory_size)

    def answer(own: list, other: list, other_claims: list) -> list[int]:
        nonlocal memory
        seen = torch.tensor([[1.0, 1, 1, *own, 0, 0, 0, *other, *other_claims]]) / 10
        probabilities, memory = player(seen, memory)
        assert probabilities.amax() == 1
        action = int(probabilities.argmax())
        return [action // 36, action // 6 % 6, action % 6]

    assert answer([5, 5, 1], [1, 1, 5], [0, 0, 0]) == [5, 5, 0]
    # The other claimed 4 and 2 of the first two, which were worth more to the player: 3 on average.
    assert answer([1, 1, 1], [5, 5, 5], [4, 2, 5]) == [3, 3, 3]
    # Nothing was: it goes on as before. Then the other left what was the player's.
    assert answer([1, 5, 5], [5, 1, 1], [0, 0, 0]) == [3, 5, 5]
    assert answer([1, 5, 5], [5, 1, 1], [5, 0, 0]) == [0, 5, 5]


def test_ties_are_left_to_a_coin() -> None:
    player = make_task().players()["cooperate"]()
    seen = torch.tensor([1.0, 1, 1, 3, 2, 1, 0, 0, 0, 3, 1, 2, 0, 0, 0]) / 10
    probabilities, _ = player(seen, torch.zeros(0))
    # 0 or 5 of the first, 5 of the second, 0 of the third
    assert probabilities.nonzero().flatten().tolist() == [30, 5 * 36 + 30]
    assert probabilities[30] == probabilities[5 * 36 + 30] == 0.5


def test_measures() -> None:
    task = make_task(max_steps=20)
    env = task.options.make_env(50, "cpu", 0)
    players = task.players()
    chosen = {group: players[name]() for group, name in zip(env.group_map, ("cooperate", "greedy"))}

    def policy(tensordict):
        for group, player in chosen.items():
            seen = tensordict[group, "observation"]
            tensordict[group, "action"] = player(seen, seen[..., :0])[0].argmax(-1)
        return tensordict

    metrics = task.evaluation_metrics([*env.rollout(20, policy)])
    assert metrics["agent_0_restraint"].unique().tolist() == [1] and metrics["agent_1_restraint"].unique() == 0
    # It leaves the items of two that are worth less to it: half of them on average.
    assert metrics["restraint"].mean().item() == pytest.approx(0.5, abs=0.05)
    assert metrics["efficiency"].mean().item() == pytest.approx(0.8, abs=0.02)
    assert task.bounds() == pytest.approx({"all_cooperate_return": 10.0, "all_defect_return": 6.0})
    assert make_task(values="uniform").bounds() == {}


def test_seats_are_alike_where_values_are_drawn_alike() -> None:
    assert make_env().interchangeable_seats and make_env(values="uniform").interchangeable_seats
    assert not make_env(values="fixed").interchangeable_seats
    env = make_env(100, values="uniform")
    env.reset()
    assert env.item_values.unique().tolist() == env.pool.unique().tolist() == [1, 2, 3, 4, 5]


def test_partial_resets() -> None:
    env = make_env(4, True, grouping="one_group")
    env.rand_step(env.reset())
    before = env.state().clone()
    where = torch.tensor([[True], [False], [True], [False]])
    env.reset(env.full_done_spec.zero().set("_reset", where))
    assert torch.equal(env.state()[1::2], before[1::2])
    assert (env.last_claims[::2] == 0).all() and (before[::2, 6:9] > 0).any()


def test_picture() -> None:
    env = make_env()
    env.reset()
    picture = env.render()
    assert picture.ndim == 3 and picture.shape[-1] == 3 and len(set(map(tuple, picture.reshape(-1, 3).tolist()))) > 2


def test_trains_by_continuous_claims(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "experiment.prefer_continuous_actions=True",
        "experiment.max_n_iters=1",
        preset="negotiation",
    )
    experiment.run()
    assert experiment.continuous_actions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": "low"}, r"task.values must be high_contrast, .* or fixed, but is 'low'"),
        ({"division": "half"}, r"task.division must be when_above or proportional, but is 'half'"),
        ({"max_claim": 0}, r"task.max_claim must be an integer from 1 to 9, but is 0"),
        ({"max_steps": 0}, r"task.max_steps must be an integer >= 1, but is 0"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(**changes)
