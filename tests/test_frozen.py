"""Agents of a checkpoint that are trained against."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarl.experiment import Experiment
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarl_reciprocator.agents.play import play, returns
from benchmarl_reciprocator.agents.trained import Team, load_agents

BALANCE = ("algorithm=reciprocator", "algorithm.observe_balance=True", "algorithm.observe_balance_scale=0.1")
GRU = ("algorithm=ippo", "model=layers/gru", "task.grouping=one_group")


def saved(small_experiment, *overrides: str, preset: str) -> Path:
    experiment = small_experiment(
        *overrides,
        "task.max_steps=8",
        "experiment.checkpoint_at_end=True",
        "experiment.max_n_iters=1",
        "experiment.evaluation=False",
        preset=preset,
    )
    experiment.run()
    return next((experiment.folder_name / "checkpoints").iterdir())


def against(small_experiment, checkpoint: Path, agent: object, *overrides: str, preset: str) -> Experiment:
    return small_experiment(
        "algorithm=mixed",
        "algorithm.focal=frozen",
        f"algorithm.overrides={{frozen:{{checkpoint:{checkpoint},agent:{agent}}}}}",
        "task.max_steps=8",
        "experiment.max_n_iters=1",
        "experiment.evaluation=False",
        *overrides,
        preset=preset,
    )


@pytest.mark.parametrize(
    ("preset", "overrides", "agent"),
    [
        ("coins", BALANCE, "null"),
        ("coins", (*BALANCE, "task.grouping=one_group"), 1),
        ("prisoners_dilemma", GRU, 1),
        ("prisoners_dilemma", ("algorithm=qmix",), 0),
    ],
)
def test_it_plays_as_it_would_outside_of_training(small_experiment, preset, overrides, agent) -> None:
    checkpoint = saved(small_experiment, *overrides, preset=preset)
    experiment = against(small_experiment, checkpoint, agent, preset=preset)
    experiment.run()
    assert list(experiment.train_group_map) == ["agent_1"]
    assert not list(experiment.losses["agent_0"].parameters())
    env = experiment.test_env
    env.set_seed(3)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        # Two episodes: what it keeps begins anew with the second.
        rollout = env.rollout(16, experiment.policy, break_when_any_done=False)
    expected = torch.stack([rollout["next", f"agent_{seat}", "reward"].sum((1, 2, 3)) for seat in range(2)], -1)
    frozen, learner = load_agents(checkpoint)[0 if agent == "null" else agent], Team(experiment).agents()[1]
    game = experiment.task.options.make_env(len(expected), "cpu", seed=3)
    played = sum(returns(*play(game, [frozen, learner], deterministic=True)) for _ in range(2))
    assert torch.equal(played, expected)


def test_stochastic_episodes_begin_anew_where_they_ended(small_experiment) -> None:
    checkpoint = saved(small_experiment, *BALANCE, preset="prisoners_dilemma")
    stochastic = "task.continuation_probability=0.7"
    experiment = against(small_experiment, checkpoint, 0, stochastic, preset="prisoners_dilemma")
    batch = experiment.env_func().rollout(32, experiment.policy, break_when_any_done=False)
    starts = batch.get("state")[..., -1].bool()
    assert starts[:, 1:].any() and not starts.all()
    step = batch.get(("agent_0", "memory", "influence_step")).squeeze(-1).squeeze(-1)
    assert torch.equal(step == 0, starts)


def test_agents_of_another_game_are_refused(small_experiment) -> None:
    checkpoint = saved(small_experiment, "algorithm=ippo", preset="coins")
    with pytest.raises(
        ValueError, match=r"must be of agents that observe \[5\], as those of the task do, but .* \[36\]"
    ):
        against(small_experiment, checkpoint, 0, preset="prisoners_dilemma")
    with pytest.raises(ValueError, match=r"algorithm\.agent must be null or 0 to 1, but is 2"):
        against(small_experiment, checkpoint, 2, preset="coins")
    with pytest.raises(ValueError, match=r"must be of as many agents as the task has \(3\), but .* is of 2"):
        against(small_experiment, checkpoint, 0, "task.n_agents=3", preset="coins")


def test_without_a_checkpoint_it_says_so(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.checkpoint must be a file .*, but is None"):
        small_experiment("algorithm=frozen")
