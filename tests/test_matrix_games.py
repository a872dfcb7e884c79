"""Matrix games and their cooperation measures against tables and numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import MatrixGameEnv, SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.environment import GROUPINGS
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix.cooperation import (
    cooperation_by_outcome,
    cooperation_metrics,
    outcome_names,
    previous_outcome,
)
from benchmarl_reciprocator.tasks.matrix.matrix_game import OBSERVATIONS, MatrixGameOptions
from benchmarl_reciprocator.tasks.task import shipped_tasks

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)


def make_task(name: str, **changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    task.config.update(changes)
    return task


def make_env(name: str, num_envs: int = 1, seed: int = 0, **changes: Any) -> MatrixGameEnv:
    return make_task(name, **changes).options.make_env(num_envs=num_envs, device="cpu", seed=seed)


MATRIX_GAMES = [name for name in shipped_tasks() if isinstance(make_task(name).options, MatrixGameOptions)]


def choose(env: MatrixGameEnv, now: TensorDictBase, actions: Tensor) -> TensorDictBase:
    """Write joint actions ``[B, N]`` where the groups' actions belong."""
    first = 0
    for group, agents in env.group_map.items():
        now[group, "action"] = actions[:, first : first + len(agents)]
        first += len(agents)
    return now


def play(env: MatrixGameEnv, actions: Tensor) -> TensorDictBase:
    """A rollout ``[B, T]`` of joint actions ``[T, B, N]``; what ends starts again."""
    now, steps = env.reset(), []
    for joint in actions:
        step, now = env.step_and_maybe_reset(choose(env, now, joint))
        steps.append(step)
    return torch.stack(steps, dim=1)


def view(trajectory: TensorDictBase, agent: int) -> list:
    """What an agent of the first environment sees after its last step."""
    return trajectory["next", f"agent_{agent}", "observation"][0, -1, 0].tolist()


def played_rewards(name: str, **changes: Any) -> list[list[float]]:
    """Rewards of all agents for every joint action, the last agent's action changing fastest."""
    sizes = make_env(name, **changes).n_actions
    joint = torch.cartesian_prod(*[torch.arange(n) for n in sizes])
    env = make_env(name, num_envs=len(joint), **changes)
    return joint_entry(play(env, joint.unsqueeze(0))[:, 0], "next", "reward").tolist()


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("name", MATRIX_GAMES)
def test_specs(name: str, grouping: str) -> None:
    for observation in OBSERVATIONS:
        env = make_env(name, num_envs=3, grouping=grouping, observation=observation, continuation_probability=0.8)
        check_env_specs(env)
        agents = [f"agent_{i}" for i in range(env.n_agents)]
        assert env.group_map == ({"agents": agents} if grouping == "one_group" else {name: [name] for name in agents})


# By joint action CC, CD, DC, DD (action 0 is C), reward of agent 0 and of agent 1.
@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("prisoners_dilemma", {"variant": "lola"}, [[-1, -1], [-3, 0], [0, -3], [-2, -2]]),
        # Contribute 1, times 1.33, shared by two: 1.33 - 1; 0.665 - 1 and 0.665; 0.
        (
            "prisoners_dilemma",
            {"variant": "contribution"},
            [[0.33, 0.33], [-0.335, 0.665], [0.665, -0.335], [0, 0]],
        ),
        ("prisoners_dilemma", {"variant": "leibo"}, [[3, 3], [0, 4], [4, 0], [1, 1]]),
        ("stag_hunt", {}, [[4, 4], [0, 3], [3, 0], [1, 1]]),
        ("chicken", {}, [[3, 3], [1, 4], [4, 1], [0, 0]]),
        ("matching_pennies", {}, [[1, -1], [-1, 1], [-1, 1], [1, -1]]),
        ("matrix_game", {}, [[3, 2], [0, 0], [0, 0], [2, 3]]),
        # Two contributors of 1, times 1.5: each gets 1.5 back; alone 0.75.
        (
            "public_goods",
            {"n_agents": 2, "multiplier": 1.5},
            [[0.5, 0.5], [-0.25, 0.75], [0.75, -0.25], [0, 0]],
        ),
        # Everyone gets 2 k / 3 of k contributions, contributors pay 1. CCC, CCD, CDC, CDD, DCC, DCD, DDC, DDD.
        (
            "public_goods",
            {},
            [
                [1, 1, 1],
                [1 / 3, 1 / 3, 4 / 3],
                [1 / 3, 4 / 3, 1 / 3],
                [-1 / 3, 2 / 3, 2 / 3],
                [4 / 3, 1 / 3, 1 / 3],
                [2 / 3, -1 / 3, 2 / 3],
                [2 / 3, 2 / 3, -1 / 3],
                [0, 0, 0],
            ],
        ),
    ],
)
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_payoffs(name: str, changes: dict, expected: list[list[float]], grouping: str) -> None:
    for rewards, by_hand in zip(played_rewards(name, grouping=grouping, **changes), expected, strict=True):
        assert rewards == pytest.approx(by_hand, abs=1e-6)


def test_payoffs_of_five_players() -> None:
    rewards = played_rewards("public_goods", n_agents=5, contribution=2.0, multiplier=3.0)
    # By the number k of contributors: 3 * 2 * k / 5 for everyone, less 2 for a contributor (no contributor: no entry).
    kept = [0.0, 1.2, 2.4, 3.6, 4.8]
    contributed = [None, -0.8, 0.4, 1.6, 2.8, 4.0]
    joint = torch.cartesian_prod(*[torch.arange(2)] * 5).tolist()
    for actions, by_hand in zip(joint, rewards, strict=True):
        k = actions.count(0)
        assert by_hand == pytest.approx([kept[k] if action else contributed[k] for action in actions], abs=1e-6)


def test_three_players_with_three_actions() -> None:
    # Rewards that name the joint action, 100 a_0 + 10 a_1 + a_2, times 1, -1 and 2 by agent.
    table = [[[[x, -x, 2 * x] for x in range(row, row + 3)] for row in (a, a + 10, a + 20)] for a in (0, 100, 200)]
    rewards = played_rewards("matrix_game", payoffs=table, cooperative_action=2)
    names = [100 * a + 10 * b + c for a in range(3) for b in range(3) for c in range(3)]
    assert rewards == [[x, -x, 2 * x] for x in names]


def test_view_of_two_players() -> None:
    env = make_env("prisoners_dilemma")
    start = env.reset()
    assert start["agent_0", "observation"][0, 0].tolist() == [0, 0, 0, 0, 1]
    trajectory = play(env, torch.tensor([[[0, 1]]]))
    # CC, CD, DC, DD and first step: agent 0 cooperated and was betrayed, agent 1 the other way round.
    assert view(trajectory, 0) == [0, 1, 0, 0, 0]
    assert view(trajectory, 1) == [0, 0, 1, 0, 0]
    assert trajectory["next", "state"][0, 0].tolist() == [0, 1, 0, 0, 0]


def test_view_of_three_players() -> None:
    table = torch.zeros(3, 3, 3, 3).tolist()
    trajectory = play(make_env("matrix_game", payoffs=table, observation="per_agent"), torch.tensor([[[2, 0, 1]]]))
    played = {0: [0, 0, 1], 1: [1, 0, 0], 2: [0, 1, 0]}
    # Oneself first, then the seats after one's own.
    for agent, order in enumerate([(0, 1, 2), (1, 2, 0), (2, 0, 1)]):
        assert view(trajectory, agent) == [value for seat in order for value in played[seat]] + [0]
    assert trajectory["next", "state"][0, 0].tolist() == [*played[0], *played[1], *played[2], 0]


def test_view_with_different_numbers_of_actions() -> None:
    table = torch.zeros(2, 3, 4, 3).tolist()
    env = make_env("matrix_game", payoffs=table)
    trajectory = play(env, torch.tensor([[[1, 0, 2]]]))
    # Number of the joint action with the own action as first digit. Agent 0 (digits of 2, 3, 4): 1 * 12 + 0 * 4 + 2.
    # Agent 1 (of 3, 4, 2): 0 * 8 + 2 * 2 + 1. Agent 2 (of 4, 2, 3): 2 * 6 + 1 * 3 + 0.
    for agent, number in enumerate([14, 5, 15]):
        assert view(trajectory, agent) == [float(k == number) for k in range(25)]
    assert env.action_spec["agent_2", "action"].space.n == 4


def test_horizon_truncates() -> None:
    trajectory = play(make_env("prisoners_dilemma", num_envs=2, max_steps=3), torch.zeros(7, 2, 2, dtype=torch.long))
    for env in range(2):
        for flag in ("done", "truncated"):
            assert trajectory["next", flag][env].flatten().tolist() == [False, False, True] * 2 + [False]
        assert not trajectory["next", "terminated"].any()
        assert trajectory["state"][env, :, -1].tolist() == [1, 0, 0, 1, 0, 0, 1]


def test_stochastic_termination() -> None:
    env = make_env("prisoners_dilemma", num_envs=4000, continuation_probability=0.8, max_steps=20)
    trajectory = play(env, torch.zeros(20, 4000, 2, dtype=torch.long))
    done, terminated, truncated = (trajectory["next", flag].squeeze(-1) for flag in ("done", "terminated", "truncated"))
    length = 1 + done.float().argmax(-1)
    # Mean of a geometric number of steps cut at 20: (1 - 0.8^20) / 0.2 = 4.94, deviation below 4.5, so a standard error
    # of 0.07 over 4000 episodes. Four of them.
    assert length.float().mean().item() == pytest.approx(4.942, abs=0.28)
    # The chance to end does not depend on the time: 0.2 in the first step, 0.16 in the second, within 4 * 0.0063.
    assert (length == 1).float().mean().item() == pytest.approx(0.2, abs=0.025)
    assert (length == 2).float().mean().item() == pytest.approx(0.16, abs=0.025)
    assert torch.equal(done, terminated | truncated)
    assert not (truncated[:, :19]).any()


def test_partial_reset() -> None:
    env = make_env("prisoners_dilemma", num_envs=3, max_steps=3)
    defect = torch.ones(3, 2, dtype=torch.long)
    now = env.reset()
    for _ in range(2):
        now = env.step(choose(env, now, defect))["next"]
    now["_reset"] = torch.tensor([[False], [True], [False]])
    now = env.reset(now)
    # Only the middle one is at its first step, the others remember that both defected.
    expected = [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert now["agent_0", "observation"][:, 0].tolist() == expected
    assert now["state"].tolist() == expected
    after = env.step(choose(env, now, defect))["next"]
    assert after["truncated"].flatten().tolist() == [True, False, True]


@pytest.mark.parametrize("noise", [{"reward_noise": 0.5}, {"action_noise": 0.5}, {"continuation_probability": 0.5}])
def test_seeds_repeat(noise: dict[str, float]) -> None:
    actions = torch.zeros(6, 8, 2, dtype=torch.long)
    same = [play(make_env("prisoners_dilemma", num_envs=8, seed=3, **noise), actions) for _ in range(2)]
    assert (same[0] == same[1]).all()
    other = play(make_env("prisoners_dilemma", num_envs=8, seed=4, **noise), actions)
    assert not (same[0] == other).all()
    reseeded = make_env("prisoners_dilemma", num_envs=8, seed=4, **noise)
    reseeded.set_seed(3)
    assert (play(reseeded, actions) == same[0]).all()


def test_environment_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    env = make_env("prisoners_dilemma", reward_noise=0.5, action_noise=0.5, continuation_probability=0.5)
    play(env, torch.zeros(4, 1, 2, dtype=torch.long))
    assert torch.equal(torch.rand(3), expected)


def test_action_noise_rate() -> None:
    # A chance of 0.3 to be replaced by one of 2 actions (agent 0) or 4 (agent 1): the chosen one remains with
    # 0.7 + 0.3 / 2 = 0.85 and 0.7 + 0.3 / 4 = 0.775. Standard error over 20,000 steps below 0.003.
    joint = torch.cartesian_prod(torch.arange(2), torch.arange(4)).reshape(2, 4, 2).tolist()
    env = make_env("matrix_game", num_envs=2000, payoffs=joint, cooperative_action=1, action_noise=0.3, max_steps=50)
    trajectory = play(env, torch.ones(10, 2000, 2, dtype=torch.long))
    # The payoff of each agent is its own action: what was played, not what was chosen.
    rewards = joint_entry(trajectory, "next", "reward")
    cooperated = joint_entry(trajectory, "next", "info", "cooperate")
    assert torch.equal(cooperated, (rewards == 1).float())
    assert cooperated.flatten(0, 1).mean(0).tolist() == pytest.approx([0.85, 0.775], abs=0.012)
    # Replaced actions are equally likely: 0.3 / 4 each.
    rates = [(rewards[..., 1] == action).float().mean().item() for action in (0, 2, 3)]
    assert rates == pytest.approx([0.075] * 3, abs=0.008)
    seen = trajectory["next", "state"][..., :-1].argmax(-1)
    assert torch.equal(seen, (rewards[..., 0] * 4 + rewards[..., 1]).long())


def test_reward_noise() -> None:
    env = make_env("prisoners_dilemma", num_envs=4000, reward_noise=2.0)
    reward = joint_entry(play(env, torch.zeros(5, 4000, 2, dtype=torch.long)), "next", "reward")
    # Mutual cooperation gives -1 each. Standard error over 20,000 steps: 2 / sqrt(20,000) = 0.014.
    assert reward.flatten(0, 1).mean(0).tolist() == pytest.approx([-1, -1], abs=0.06)
    assert reward.flatten(0, 1).std(0).tolist() == pytest.approx([2, 2], abs=0.06)
    # The agents' noise is not the same.
    assert torch.corrcoef(reward.flatten(0, 1).T)[0, 1].abs() < 0.05


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("matrix_game", {"payoffs": [[1, 2], [3, 4]]}, "payoffs"),
        ("matrix_game", {"payoffs": [[[1, 2, 3], [3, 4, 5]], [[5, 6, 7], [7, 8, 9]]]}, "payoffs"),
        ("matrix_game", {"payoffs": [[[1, math.nan], [3, 4]], [[5, 6], [7, 8]]]}, "payoffs"),
        ("matrix_game", {"payoffs": [[[1, math.inf], [3, 4]], [[5, 6], [7, 8]]]}, "payoffs"),
        ("matrix_game", {"payoffs": [[[1, 2], [3, 4]], [[5, 6]]]}, "payoffs"),
        ("matrix_game", {"payoffs": [[[1, "two"], [3, 4]], [[5, 6], [7, 8]]]}, "payoffs"),
        ("matrix_game", {"payoffs": []}, "payoffs"),
        ("matrix_game", {"payoffs": 1.0}, "payoffs"),
        # One agent.
        ("matrix_game", {"payoffs": [[1], [2]]}, "payoffs"),
        ("matrix_game", {"cooperative_action": 2}, "cooperative_action"),
        ("matrix_game", {"cooperative_action": -1}, "cooperative_action"),
        ("matrix_game", {"payoffs": torch.zeros(2, 3, 2).tolist(), "grouping": "one_group"}, "grouping"),
        ("matrix_game", {"payoffs": torch.zeros(2, 3, 2).tolist(), "observation": "per_agent"}, "observation"),
        ("prisoners_dilemma", {"variant": "axelrod"}, "variant"),
        ("prisoners_dilemma", {"grouping": "per_team"}, "grouping"),
        ("prisoners_dilemma", {"observation": "memory"}, "observation"),
        ("prisoners_dilemma", {"max_steps": 0}, "max_steps"),
        ("prisoners_dilemma", {"continuation_probability": 0.0}, "continuation_probability"),
        ("prisoners_dilemma", {"continuation_probability": 1.1}, "continuation_probability"),
        ("prisoners_dilemma", {"continuation_probability": math.nan}, "continuation_probability"),
        ("prisoners_dilemma", {"action_noise": -0.1}, "action_noise"),
        ("prisoners_dilemma", {"action_noise": 1.1}, "action_noise"),
        ("prisoners_dilemma", {"reward_noise": -1.0}, "reward_noise"),
        ("prisoners_dilemma", {"reward_noise": math.inf}, "reward_noise"),
        ("public_goods", {"n_agents": 1}, "n_agents"),
        ("public_goods", {"n_agents": 17}, "n_agents"),
        ("public_goods", {"multiplier": 1.0}, "multiplier"),
        ("public_goods", {"multiplier": 3.0}, "multiplier"),
        ("public_goods", {"contribution": 0.0}, "contribution"),
    ],
)
def test_bad_input_is_refused(name: str, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=rf"^(the shape of )?task\.{key} must be [^|]+, but is "):
        make_env(name, **changes)


def test_outcomes_of_two_agents() -> None:
    assert outcome_names(2) == ["start", "CC", "CD", "DC", "DD"]
    cooperate = torch.tensor([[1.0, 1], [1, 0], [0, 1], [0, 0], [1, 1]])
    first = torch.tensor([True, False, False, False, False])
    # Before: nothing, CC, CD (DC for the other), DC (CD for the other), DD.
    expected = [[0, 0], [1, 1], [2, 3], [3, 2], [4, 4]]
    assert previous_outcome(cooperate, first).tolist() == expected
    # A new episode forgets; what came before the trajectory is unknown.
    first = torch.tensor([False, False, True, False, False])
    assert previous_outcome(cooperate, first).tolist() == [[-1, -1], [1, 1], [0, 0], [3, 2], [4, 4]]


def test_outcomes_of_three_agents() -> None:
    assert outcome_names(3) == ["start", "C_2of2", "C_1of2", "C_0of2", "D_2of2", "D_1of2", "D_0of2"]
    cooperate = torch.tensor([[1.0, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    first = torch.tensor([True, False, False, False, False])
    # Agent 0: start; C, 2 others did; C, 1; C, 0; D, 0. Agent 1: start; C, 2; D, 2; D, 1; D, 0.
    # Agent 2: start; C, 2; C, 1; D, 1; D, 0.
    expected = [[0, 0, 0], [1, 1, 1], [2, 4, 2], [3, 5, 5], [6, 6, 6]]
    assert previous_outcome(cooperate, first).tolist() == expected


def test_cooperation_by_outcome() -> None:
    cooperate = torch.tensor([[1.0, 0], [1, 1], [0, 1], [1, 0]])
    previous = torch.tensor([[0, 0], [1, 1], [1, 3], [-1, -1]])
    rates = cooperation_by_outcome(cooperate, previous)
    # Agent 0: once after the start (cooperates), twice after CC (once); agent 1: start (not), CC, DC. The last step
    # counts for neither.
    torch.testing.assert_close(
        rates,
        torch.tensor([[1.0, 0.5, math.nan, math.nan, math.nan], [0.0, 1.0, math.nan, 1.0, math.nan]]),
        equal_nan=True,
    )


def test_metrics_leave_padding_out() -> None:
    # Two trajectories; the second has two steps and is padded with what looks like cooperation.
    cooperate = torch.tensor([[[1.0, 1], [1, 0], [0, 0]], [[0, 1], [1, 1], [1, 1]]])
    first = torch.tensor([[True, False, False]] * 2)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    metrics = cooperation_metrics(cooperate, first, valid)
    # Agent 0: 2 of 3 and 1 of 2 steps; agent 1: 1 of 3 and 2 of 2.
    torch.testing.assert_close(metrics["agent_0_p_cooperate"], torch.tensor([2 / 3, 1 / 2]))
    torch.testing.assert_close(metrics["agent_1_p_cooperate"], torch.tensor([1 / 3, 1.0]))
    torch.testing.assert_close(metrics["p_cooperate"], torch.tensor([1 / 2, 3 / 4]))
    # Agent 0: start 1 and 0; after CC 1; after CD 0; after DC 1 (in the padding there would be a CC more).
    # Agent 1: start 1 and 1; after CC 0; after DC 0; after CD 1.
    expected = {
        0: {"start": 0.5, "CC": 1.0, "CD": 0.0, "DC": 1.0, "DD": math.nan},
        1: {"start": 1.0, "CC": 0.0, "CD": 1.0, "DC": 0.0, "DD": math.nan},
    }
    for agent, rates in expected.items():
        for outcome, rate in rates.items():
            value = metrics[f"agent_{agent}_p_cooperate_after_{outcome}"]
            assert value.tolist() == pytest.approx([rate, rate], nan_ok=True)
    assert len(metrics) == 3 + 2 * 5


def test_metrics_of_three_agents() -> None:
    cooperate = torch.tensor([[[1.0, 0, 1], [1, 1, 0]]])
    first, valid = torch.tensor([[True, False]]), torch.ones(1, 2, dtype=torch.bool)
    metrics = cooperation_metrics(cooperate, first, valid)
    assert metrics["p_cooperate"].item() == pytest.approx(4 / 6)
    assert metrics["agent_1_p_cooperate"].item() == pytest.approx(1 / 2)
    # Agent 1 had defected while both others cooperated, the others had cooperated beside one other.
    assert metrics["agent_1_p_cooperate_after_D_2of2"].item() == 1
    assert metrics["agent_0_p_cooperate_after_C_1of2"].item() == 1
    assert metrics["agent_2_p_cooperate_after_C_1of2"].item() == 0
    assert math.isnan(metrics["agent_0_p_cooperate_after_D_2of2"])


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_metrics_of_episodes_of_different_lengths(grouping: str) -> None:
    task = make_task("prisoners_dilemma", grouping=grouping)
    env = task.get_env_fun(1, False, 0, "cpu")()
    # Agent 0 always cooperates, agent 1 in the first step only.
    actions = torch.tensor([[[0, 0]], [[0, 1]], [[0, 1]], [[0, 1]]])
    episodes = [play(env, actions[:length])[0] for length in (2, 4)]
    metrics = task.evaluation_metrics(episodes)
    assert metrics["agent_0_p_cooperate"].tolist() == [1.0, 1.0]
    assert metrics["agent_1_p_cooperate"].tolist() == [1 / 2, 1 / 4]
    assert metrics["agent_1_p_cooperate_after_CC"].tolist() == [0.0, 0.0]
    assert metrics["agent_0_p_cooperate_after_CD"].tolist() == [1.0, 1.0]


def test_a_game_without_cooperation_has_no_measures() -> None:
    task = make_task("matching_pennies")
    env = task.get_env_fun(1, False, 0, "cpu")()
    episode = play(env, torch.zeros(2, 1, 2, dtype=torch.long))[0]
    assert not [key for key in task.evaluation_metrics([episode]) if "cooperate" in key]
    assert ("agent_0", "info") not in episode["next"].keys(True)


@st.composite
def games(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """A payoff table, and joint actions ``[B, N]`` in its range."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    n_numbers = math.prod(sizes) * len(sizes)
    numbers = draw(st.lists(st.integers(-1000, 1000), min_size=n_numbers, max_size=n_numbers))
    joint = st.tuples(*[st.integers(0, size - 1) for size in sizes])
    actions = draw(st.lists(joint, min_size=1, max_size=6))
    return torch.tensor(numbers, dtype=torch.float32).reshape(*sizes, len(sizes)), torch.tensor(actions)


@PROPERTY
@given(game=games())
def test_rewards_are_looked_up_in_the_table(game: tuple[Tensor, Tensor]) -> None:
    table, actions = game
    env = MatrixGameEnv(table, num_envs=len(actions), max_steps=5, seed=0)
    rewards = joint_entry(play(env, actions.unsqueeze(0))[:, 0], "next", "reward")
    assert torch.equal(rewards, torch.stack([table[tuple(joint)] for joint in actions.tolist()]))


def test_bounds_are_the_returns_of_unanimous_play() -> None:
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    assert task.bounds() == {"all_cooperate_return": -32.0, "all_defect_return": -64.0}
    task.config.update(max_steps=2, continuation_probability=0.5, action_noise=1.0)
    # Pure noise: all four outcomes alike, -1.5 on average, for one step and half of another.
    assert task.bounds() == pytest.approx({"all_cooperate_return": -2.25, "all_defect_return": -2.25})
    assert SocialDilemmaTask.MATCHING_PENNIES.get_from_yaml().bounds() == {}
