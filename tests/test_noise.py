"""Noise in rewards and observations, an option of every task with the common core."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import Batches
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from benchmarl_reciprocator import ScriptedAgent, SocialDilemmaClass, SocialDilemmaEnv, SocialDilemmaTask
from benchmarl_reciprocator.agents.play import play, returns
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.noise import NoiseOptions
from benchmarl_reciprocator.tasks.task import shipped_tasks

# These two are environments of their own.
WITHOUT = {"matrix_meta_game", "shared_pasture"}
NOISY = [name for name in shipped_tasks() if name not in WITHOUT]


def make_task(name: str, **changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    task.config.update(changes)
    return task


def make_env(name: str, num_envs: int = 4, **changes: Any) -> SocialDilemmaEnv:
    return make_task(name, **changes).options.make_env(num_envs=num_envs, device="cpu", seed=0)


def same_actions(env: EnvBase, steps: int) -> TensorDictBase:
    """Everybody takes its first action: ``[B, T]``."""

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for group in env.group_map:
            tensordict[group, "action"] = env.full_action_spec[group, "action"].zero()
        return tensordict

    return env.rollout(steps, policy, break_when_any_done=False)


def seen_next(played: TensorDictBase) -> Tensor:
    return joint_entry(played, "next", "observation")


@pytest.mark.parametrize("name", NOISY)
def test_every_task_has_noise_on_top_of_what_is(name: str) -> None:
    plain, noisy = (
        same_actions(make_env(name, **options), steps=3)
        for options in ({}, {"reward_noise": 0.5, "observation_noise": 0.1})
    )
    # In the first step nothing has been drawn differently yet.
    rewards, noisy_rewards = (joint_entry(played, "next", "reward")[:, 0] for played in (plain, noisy))
    difference = noisy_rewards - rewards
    assert (difference != 0).all() and difference.abs().max() < 0.5 * 5
    assert torch.equal(plain["state"][:, 0], noisy["state"][:, 0])
    assert (seen_next(plain) != seen_next(noisy)).any()


def test_tasks_with_environments_of_their_own_have_no_such_option() -> None:
    for name in WITHOUT:
        assert not isinstance(make_task(name).options, NoiseOptions)


def test_noise_is_of_the_size_that_is_asked_for_and_each_agent_s_own() -> None:
    played = same_actions(make_env("fishery", num_envs=3000, reward_noise=2.0, observation_noise=0.3, max_steps=5), 5)
    plain = same_actions(make_env("fishery", num_envs=1, max_steps=5), 5)
    for key, size in (("reward", 2.0), ("observation", 0.3)):
        added = joint_entry(played, "next", key) - joint_entry(plain, "next", key)
        noise = added.unflatten(-1, (2, -1)).movedim(-2, 0).flatten(1)
        # Standard error over 15,000 rewards: 2 / sqrt(15,000) = 0.016.
        assert noise.mean(1).tolist() == pytest.approx([0, 0], abs=0.04 * size)
        assert noise.std(1).tolist() == pytest.approx([size, size], rel=0.03)
        assert torch.corrcoef(noise)[0, 1].abs() < 0.04


def test_agents_of_a_matrix_game_see_a_random_joint_action_now_and_then() -> None:
    env = make_env("prisoners_dilemma", num_envs=4000, observation_noise=0.4, max_steps=5)
    played = same_actions(env, 5)
    observed = joint_entry(played, "observation").unflatten(-1, (2, 5))
    first = observed[:, 0]
    assert torch.equal(first, torch.tensor([0.0, 0, 0, 0, 1]).expand(4000, 2, 5))
    # All cooperate: joint action 0 is seen with probability 0.6 + 0.4 / 4, each other with 0.1, after the first step.
    seen = observed[:, 1:]
    assert torch.equal(seen.sum(-1), torch.ones(4000, 4, 2))
    # Standard error over 16,000 observations of an agent below 0.004.
    for rates in seen.flatten(0, 1).mean(0):
        assert rates.tolist() == pytest.approx([0.7, 0.1, 0.1, 0.1, 0.0], abs=0.015)
    wrong = (seen[..., 0] == 0).float()
    assert torch.corrcoef(wrong.flatten(0, 1).T)[0, 1].abs() < 0.04
    # What was played is neither other nor paid otherwise, and the state tells it.
    assert (joint_entry(played, "next", "reward") == -1).all()
    assert (played["next", "state"][..., 0] == 1).all()


def test_what_was_seen_stays_seen_where_only_others_start_anew() -> None:
    env = make_env("fishery", num_envs=6, observation_noise=0.3, grouping="one_group")
    tensordict = env.reset()
    tensordict["agents", "action"] = torch.zeros(6, 2, dtype=torch.long)
    after = env.step(tensordict)["next"]
    seen, where = after["agents", "observation"].clone(), torch.arange(6).unsqueeze(-1) < 3
    after["_reset"] = where
    again = env.reset(after)["agents", "observation"]
    assert torch.equal(again[3:], seen[3:]) and not (again[:3] == seen[:3]).any()


@pytest.mark.parametrize("noise", [{"reward_noise": 0.5}, {"observation_noise": 0.5}])
def test_seeds_repeat_noise(noise: dict[str, float]) -> None:
    first, second = (same_actions(make_env("coins", **noise), 40) for _ in range(2))
    env = make_env("coins", **noise)
    env.set_seed(1)
    other = same_actions(env, 40)
    for key in ("reward", "observation"):
        assert torch.equal(joint_entry(first, "next", key), joint_entry(second, "next", key))
    noisy = next(iter(noise)).removesuffix("_noise")
    assert not torch.equal(joint_entry(first, "next", noisy), joint_entry(other, "next", noisy))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("coins", {"reward_noise": -1.0}),
        ("coins", {"reward_noise": math.inf}),
        ("harvest", {"observation_noise": math.nan}),
        ("prisoners_dilemma", {"observation_noise": 1.5}),
    ],
)
def test_bad_noise_is_named(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^task.{next(iter(options))} must be .*, but is "):
        make_env(name, **options)


def test_scores_are_without_reward_noise() -> None:
    task = make_task("prisoners_dilemma", reward_noise=2.0)
    env = task.options.make_env(num_envs=5, device="cpu", seed=0)
    cooperators = [ScriptedAgent(task.players()["all_c"]())] * 2
    assert (returns(*play(env, cooperators)) == -32).all()
    # The environment is as it was.
    assert env.reward_noise == 2.0 and (joint_entry(same_actions(env, 2), "next", "reward") != -1).all()


def test_learners_are_paid_with_noise_and_evaluated_without(small_experiment) -> None:
    batches = Batches()
    options = ["task.reward_noise=1.5", "task.observation_noise=0.2", "algorithm=reciprocator", "algorithm.warmup=0"]
    experiment = small_experiment(*options, callbacks=[batches])
    assert experiment.task.config["observation_noise"] == 0.2
    experiment.run()
    payoffs = torch.tensor([-3.0, -2.0, -1.0, 0.0])
    evaluated = torch.stack([joint_entry(rollout, "next", "reward") for rollout in batches.evaluated])
    assert torch.isin(evaluated, payoffs).all()
    collected = torch.stack([joint_entry(batch, "next", "reward") for batch in batches.collected])
    assert not torch.isin(collected, payoffs).any()


def test_options_saved_before_there_was_noise_are_read() -> None:
    config = {key: value for key, value in make_task("coins").config.items() if not key.endswith("_noise")}
    options = SocialDilemmaClass("COINS", config).options
    assert options.noise() == {"reward_noise": 0.0, "observation_noise": 0.0}
