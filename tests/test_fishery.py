"""The fishery and Cournot's market: rules by hand, scripted play, and the influence of any quantity on the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    SocialDilemmaClass,
    SocialDilemmaTask,
)
from benchmarl_reciprocator.tasks.fishery.game import FisheryEnv
from benchmarl_reciprocator.tasks.fishery.rules import CournotRules, FisheryRules
from benchmarl_reciprocator.tasks.players import play


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.FISHERY.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, continuous_actions: bool = False, **changes: Any) -> FisheryEnv:
    return make_task(**changes).options.make_env(num_envs, "cpu", 0, continuous_actions)


def stepped(rules: FisheryRules | CournotRules, quantities: list[float], level: float = 0.0) -> list[float]:
    rewards, after = rules.step(torch.tensor(quantities), torch.tensor(level))
    return [*rewards.tolist(), after.item()]


@pytest.mark.parametrize(
    ("stock", "efforts", "expected"),
    [
        # 0.009 * 5 of the stock are caught, none grows: 200 * 0.045 - 0.9 * 5.
        (1.0, [5.0, 0.0], [4.5, 0.0, 0.955]),
        # All of 0.5 + 0.15 * 0.25 is caught: 200 * 0.5375 / 2 - 90 each.
        (0.5, [100.0, 100.0], [-36.25, -36.25, 0.0]),
        (0.75, [25 / 12, 25 / 12], [0.9375, 0.9375, 0.75]),
        (0.5, [0.0, 0.0], [0.0, 0.0, 0.5375]),
    ],
)
def test_a_step_of_the_fishery_by_hand(stock: float, efforts: list[float], expected: list[float]) -> None:
    assert stepped(FisheryRules(), efforts, stock) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("supplied", "expected"),
    [
        ([30.0, 30.0], [900.0, 900.0, 40.0]),
        ([22.5, 33.75], [759.375, 1139.0625, 43.75]),
        ([60.0, 60.0], [-1800.0, -1800.0, -20.0]),
    ],
)
def test_a_step_of_the_market_by_hand(supplied: list[float], expected: list[float]) -> None:
    assert stepped(CournotRules(), supplied) == pytest.approx(expected)


def test_quantities_that_are_best() -> None:
    fishery, market = FisheryRules(), CournotRules()
    assert [fishery.cooperative(2), fishery.equilibrium(2), fishery.alone] == pytest.approx([25 / 12, 25 / 9, 25 / 6])
    assert [market.cooperative(2), market.equilibrium(2), market.alone] == [22.5, 30, 45]
    # Three in the market: 22.5 each, 506.25 each; the formula of the source is for two.
    assert stepped(market, [market.equilibrium(3)] * 3)[0] == pytest.approx(506.25)
    assert market.best_reply(torch.tensor([22.5, 30.0, 200.0])).tolist() == [33.75, 30, 0]
    assert fishery.best_reply(torch.tensor(25 / 12)).item() == pytest.approx(3.125)
    assert fishery.best_reply(torch.tensor(25 / 9)).item() == pytest.approx(25 / 9)


def test_quantities_below_nothing_count_as_nothing() -> None:
    env = make_env(1, True, variant="cournot", grouping="one_group")
    after = env.step(env.reset().set(("agents", "action"), torch.tensor([[[-0.1], [30 / 45]]])))["next"]
    assert after["agents", "reward"].flatten().tolist() == pytest.approx([0, 1800])


def test_what_is_observed() -> None:
    env = make_env(1, True, n_agents=3, grouping="one_group")
    start = env.reset()
    assert start["agents", "observation"][0].tolist() == [[0, 0, 0, 0.5, 1]] * 3
    after = env.step(start.set(("agents", "action"), torch.tensor([[[0.5], [0.25], [0.0]]])))["next"]
    stock = 0.5 + 0.15 * 0.25 - 0.009 * 0.75 * 25 / 6 * 0.5
    seen = after["agents", "observation"][0]
    assert seen[1].tolist() == pytest.approx([0.25, 0, 0.5, stock, 0])
    assert torch.equal(env.state(1)[0], seen[1]) and torch.equal(after["state"][0], seen[0])
    assert after["agents", "info", "quantity"].flatten().tolist() == pytest.approx([25 / 12, 25 / 24, 0])


@pytest.mark.parametrize("variant", ["fishery", "cournot"])
@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_specs(grouping: str, variant: str) -> None:
    for continuous in (True, False):
        check_env_specs(make_env(3, continuous, grouping=grouping, variant=variant, n_agents=3, max_steps=4))


def test_levels_are_the_same_as_their_shares() -> None:
    discrete, continuous = (make_env(13, kind, grouping="one_group", levels=13) for kind in (False, True))
    level = torch.arange(13).unsqueeze(-1).expand(-1, 2)
    steps = [
        env.step(env.reset().set(("agents", "action"), chosen))["next"]
        for env, chosen in ((discrete, level), (continuous, (level / 12).unsqueeze(-1)))
    ]
    for key in ("state", ("agents", "reward")):
        torch.testing.assert_close(steps[0][key], steps[1][key])


def test_partial_resets() -> None:
    env = make_env(4, True, grouping="one_group")
    env.rand_step(env.reset())
    before = env.state().clone()
    env.reset(env.full_done_spec.zero().set("_reset", torch.tensor([[True], [False], [True], [False]])))
    assert torch.equal(env.state()[1::2], before[1::2])
    assert env.state()[::2].tolist() == [[0, 0, 0.5, 1]] * 2


def returns(*names: str, **changes: Any) -> list[float]:
    task = make_task(n_agents=len(names), **changes)
    players = task.players()
    played = play(task.options.make_env(2, "cpu", 0), [players[name]() for name in names])
    return played["reward"][0].sum(0).tolist()


def test_scripted_play() -> None:
    assert returns("cooperate", "cooperate") == pytest.approx([271.0] * 2, abs=0.1)
    assert returns("greedy", "greedy") == pytest.approx([240.4] * 2, abs=0.1)
    # The best constant effort against a cooperator, 3.1, brings 304.4; the best reply in the steady state is 3.125.
    alone, tempted = returns("cooperate", "greedy")
    assert tempted == pytest.approx(304.5, abs=0.1) and alone < 225
    assert returns("tit_for_tat", "greedy") == pytest.approx([240.4] * 2, abs=0.2)
    assert returns("tit_for_tat", "tit_for_tat", max_steps=9) == returns("cooperate", "cooperate", max_steps=9)
    assert make_task().bounds() == pytest.approx({"all_cooperate_return": 271.0, "all_defect_return": 240.35}, abs=0.01)


def constant_returns(*efforts: float) -> list[float]:
    """Returns of the source's 300 steps with efforts that stay."""
    stock, total = torch.tensor(0.5), torch.zeros(2)
    for _ in range(300):
        rewards, stock = FisheryRules().step(torch.tensor(efforts), stock)
        total += rewards
    return total.tolist()


def test_published_values_of_constant_efforts() -> None:
    assert constant_returns(25 / 12, 25 / 9) == pytest.approx([225.6, 300.8], abs=0.1)
    assert constant_returns(25 / 12, 3.1)[1] == pytest.approx(304.4, abs=0.1)
    assert constant_returns(25 / 6, 25 / 6) == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize("n_agents", [2, 3])
@pytest.mark.parametrize("variant", ["fishery", "cournot"])
def test_it_is_a_social_dilemma(variant: str, n_agents: int) -> None:
    others = n_agents - 1
    options = {"variant": variant, "max_steps": 32}
    together = returns(*["cooperate"] * n_agents, **options)[0]
    tempted = returns("greedy", *["cooperate"] * others, **options)[0]
    greedy = returns(*["greedy"] * n_agents, **options)[0]
    alone = returns("cooperate", *["greedy"] * others, **options)[0]
    assert tempted > together > greedy > alone


def test_measures() -> None:
    task = make_task(max_steps=4)
    env = task.options.make_env(1, "cpu", 0, continuous_actions=True)
    # Joint optimum and best reply to it, as shares of 25/6
    chosen = {group: torch.tensor([[[share]]]) for group, share in zip(env.group_map, (0.5, 0.75))}

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        return tensordict.update({group: {"action": action} for group, action in chosen.items()})

    played = env.rollout(4, policy)
    metrics = task.evaluation_metrics([played[0], played[0, :2]])
    assert metrics["agent_0_moderation"].tolist() == pytest.approx([1, 1], abs=1e-5)
    # (8 - 9) / (8 - 6), in twelfths of 25/6
    assert metrics["agent_1_moderation"].tolist() == pytest.approx([-0.5, -0.5], abs=1e-5)
    assert metrics["moderation"].tolist() == pytest.approx([0.25, 0.25], abs=1e-5)
    assert metrics["agent_1_quantity"].tolist() == pytest.approx([3.125, 3.125])
    assert metrics["stock"][1] == played["state"][0, 1:3, 2].mean()
    assert task.cooperation[2:] == pytest.approx((-2, 4))


def test_picture() -> None:
    env = make_env()
    env.rand_step(env.reset())
    picture = env.render()
    assert picture.ndim == 3 and picture.shape[-1] == 3 and len(set(map(tuple, picture.reshape(-1, 3).tolist()))) > 2


def test_influence_of_any_quantity() -> None:
    # A counterfactual baseline is regressed, not summed over actions: it averages over what an agent usually supplies.
    torch.manual_seed(0)
    share = torch.rand(128, 32, 2, 1)
    supplied = 45 * share.squeeze(-1)
    rewards, _ = CournotRules().step(supplied, torch.zeros(128, 32))
    state, done = torch.zeros(128, 32, 1), torch.zeros(128, 32, 1, dtype=torch.bool)
    after = {"state": state, "reward": rewards, "done": done, "terminated": done}
    batch = TensorDict({"state": state, "action": share, "next": after}, [128, 32])
    loss = InfluenceLoss(InfluenceEstimator(2, state_features=1, action_features=1, future=False), gamma=0.9)
    learner = InfluenceLearner(loss, InfluenceSchedule(lr=0.01, epochs=30, minibatch_size=512))
    learner.observe(batch)
    found = learner.influence(batch)
    # What one supplies beyond its habit lowers the price for all that the other supplies.
    exact = -(supplied - 22.5).unsqueeze(-1) * supplied.unsqueeze(-2)
    for i, j in ((0, 1), (1, 0)):
        error = (found - exact)[..., i, j].std() / exact[..., i, j].std()
        assert error < 0.25


def test_trains_by_any_quantity(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator", "experiment.max_n_iters=1", "task.variant=cournot", preset="fishery"
    )
    experiment.run()
    assert experiment.continuous_actions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "farm"}, r"task.variant must be fishery or cournot, but is 'farm'"),
        ({"n_agents": 1}, r"task.n_agents must be an integer from 2 to 10, but is 1"),
        ({"growth": 0.0}, r"task.growth must be a finite number > 0, but is 0.0"),
        ({"slope": 2.0}, r"task.slope must be null where task.variant is fishery, but is 2.0"),
        ({"initial_stock": 1.5}, r"task.initial_stock must be at most 1.0 \(task.capacity\), but is 1.5"),
        ({"cost": 2.0}, r"what the first unit earns by the rules of the task must be a number > 0, but is -0.2"),
        ({"max_quantity": 2.0}, r"task.max_quantity must be null or at least 2.778, .*, but is 2.0"),
        ({"levels": 1}, r"task.levels must be an integer from 2 to 101, but is 1"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(**changes)
