"""The public good with graded contributions: rules by hand, scripted play, levels and any share alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.matrix.graded_contributions import GradedContributionsEnv, contribution_metrics
from benchmarl_reciprocator.tasks.players import play


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.GRADED_CONTRIBUTIONS.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, continuous_actions: bool = False, **changes: Any) -> GradedContributionsEnv:
    return make_task(**changes).options.make_env(num_envs, "cpu", 0, continuous_actions)


@pytest.mark.parametrize(
    ("levels", "actions", "given", "expected"),
    [
        # 1.5 times (1 + 0) / 2 for each, less what each gave
        (2, [1, 0], [1.0, 0.0], [-0.25, 0.75]),
        (2, [1, 1], [1.0, 1.0], [0.5, 0.5]),
        # 1.5 times (0.25 + 0.75) / 2
        (5, [1, 3], [0.25, 0.75], [0.5, 0.0]),
        (5, [0, 0], [0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_a_step_by_hand(levels: int, actions: list[int], given: list[float], expected: list[float]) -> None:
    env = make_env(levels=levels)
    reward, info = env.transition(torch.tensor([actions]))
    assert reward[0].tolist() == pytest.approx(expected)
    assert info["contribution"][0, :, 0].tolist() == pytest.approx(given)
    # Its own first, then the other's, and no longer the first step
    assert env.observations()[0].tolist() == [pytest.approx([*given, 0]), pytest.approx([*given[::-1], 0])]


def test_any_share_is_worth_what_the_same_level_is() -> None:
    levels = torch.randint(5, (64, 3), generator=torch.Generator().manual_seed(0))
    options = {"n_agents": 3, "multiplier": 2.0, "levels": 5}
    discrete, _ = make_env(64, **options).transition(levels)
    continuous, _ = make_env(64, continuous_actions=True, **options).transition((levels / 4).unsqueeze(-1))
    torch.testing.assert_close(discrete, continuous)


@pytest.mark.parametrize("continuous", [False, True])
def test_specs_and_what_an_episode_starts_with(continuous: bool) -> None:
    env = make_env(3, continuous, n_agents=3, multiplier=2.0, max_steps=4, continuation_probability=0.5)
    check_env_specs(env)
    assert env.reset()["agent_1", "observation"][0, 0].tolist() == [0, 0, 0, 1]


def test_only_the_environment_that_starts_again_forgets() -> None:
    env = make_env(2, levels=2)
    env.transition(torch.tensor([[1, 0], [1, 0]]))
    env.start(torch.tensor([True, False]))
    assert env.state().tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("players", "given"),
    [
        (("cooperate", "cooperate"), [1.0, 1.0]),
        (("defect", "cooperate"), [0.0, 1.0]),
        (("tit_for_tat", "cooperate"), [1.0, 1.0]),
        # All first, nothing in the three steps after
        (("tit_for_tat", "defect"), [0.25, 0.0]),
    ],
)
def test_scripted_play(players: tuple[str, str], given: list[float]) -> None:
    makers = make_task().players()
    played = play(make_env(2, max_steps=4), [makers[name]() for name in players])
    assert played["contribution"].squeeze(-1).mean((0, 1)).tolist() == given


def test_random_players_give_every_level_alike() -> None:
    random = make_task(levels=4).players()["random"]
    given = play(make_env(500, levels=4), [random(), random()])["contribution"]
    shares = [(given == level / 3).float().mean().item() for level in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.01)


def test_bounds_are_what_scripted_play_comes_to() -> None:
    task = make_task(n_agents=3, multiplier=2.0, max_steps=8)
    env = task.options.make_env(1, "cpu", 0)
    for player, name in (("cooperate", "all_cooperate_return"), ("defect", "all_defect_return")):
        makers = [task.players()[player]() for _ in range(3)]
        assert play(env, makers)["reward"].sum(1).mean().item() == pytest.approx(task.options.bounds()[name])
    # 1 + 1/2 + 1/4 steps in the mean
    stochastic = make_task(max_steps=3, continuation_probability=0.5, multiplier=1.5).options
    assert stochastic.bounds()["all_cooperate_return"] == pytest.approx(0.5 * 1.75)


def test_steps_beyond_the_end_do_not_count() -> None:
    given = torch.tensor([[[1.0, 0.0], [0.5, 0.0], [1.0, 1.0]]])
    metrics = contribution_metrics(given, torch.tensor([[True, True, False]]))
    assert {name: value.tolist() for name, value in metrics.items()} == {
        "contribution": [0.375],
        "agent_0_contribution": [0.75],
        "agent_1_contribution": [0.0],
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_agents": 1}, "task.n_agents must be an integer from 2 to 10, but is 1"),
        ({"multiplier": 2.0}, "task.multiplier must be above 1 and below 2 .*, but is 2.0"),
        ({"levels": 1}, "task.levels must be an integer from 2 to 101, but is 1"),
        ({"levels": 2.5}, "task.levels must be an integer from 2 to 101, but is 2.5"),
    ],
)
def test_bad_options_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make_env(**changes)


def test_reciprocators_train_on_any_share(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "experiment.prefer_continuous_actions=True",
        "experiment.max_n_iters=1",
        preset="graded_contributions",
    )
    experiment.run()
    assert experiment.continuous_actions
