"""Agents of checkpoints in seats of their own and of others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarl.environments import task_config_registry
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarl_reciprocator import SocialDilemmaClass
from benchmarl_reciprocator.agents.play import play, returns
from benchmarl_reciprocator.agents.trained import TrainedAgent, load_agents

BALANCE = ("algorithm=reciprocator", "algorithm.observe_balance=True", "algorithm.observe_balance_scale=0.1")
SHARED = ("algorithm=ippo", "task.grouping=one_group", "experiment.share_policy_params=True")
GRU = ("algorithm=ippo", "model=layers/gru")
LSTM = ("algorithm=ippo", "model=layers/lstm", "task.grouping=one_group")
CNN = (
    "algorithm=ippo",
    "task.observation=image",
    "model=layers/cnn",
    "model@critic_model=layers/cnn",
    *(
        f"{model}.{option}"
        for model in ("model", "critic_model")
        for option in ("cnn_num_cells=[4]", "cnn_kernel_sizes=2")
    ),
)


def trained(small_experiment, *overrides: str, preset: str) -> tuple[Experiment, list[TrainedAgent]]:
    """An experiment of one iteration that was saved, and its agents as they were loaded."""
    experiment = small_experiment(
        *overrides,
        "experiment.checkpoint_at_end=True",
        "task.max_steps=8",
        "experiment.max_n_iters=1",
        "experiment.evaluation=False",
        preset=preset,
    )
    experiment.run()
    return experiment, load_agents(next((experiment.folder_name / "checkpoints").iterdir()))


def evaluated(experiment: Experiment, exploration: ExplorationType) -> torch.Tensor:
    """Returns ``[B, N]`` of BenchMARL's own evaluation."""
    env = experiment.test_env
    env.set_seed(3)
    torch.manual_seed(3)
    with torch.no_grad(), set_exploration_type(exploration):
        rollout = env.rollout(experiment.max_steps, experiment.policy, break_when_any_done=False)
    metrics = experiment.task.evaluation_metrics(list(rollout.unbind(0)))
    return torch.stack([metrics[f"agent_{seat}_return"] for seat in range(env.base_env.n_agents)], -1)


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("prisoners_dilemma", BALANCE),
        ("prisoners_dilemma", SHARED),
        ("coins", BALANCE),
        ("coins", (*BALANCE, "task.grouping=one_group", "task.view=null")),
        ("coins", CNN),
        ("coins", GRU),
        ("prisoners_dilemma", LSTM),
        ("prisoners_dilemma", ("algorithm=mixed", "algorithm.overrides={reciprocator:{observe_balance:True}}")),
        ("public_goods", ("algorithm=mappo", "algorithm.share_param_critic=False")),
        ("coins", ("algorithm=qmix",)),
    ],
)
def test_in_their_own_seats_they_play_what_benchmarl_evaluates(small_experiment, preset, overrides) -> None:
    experiment, agents = trained(small_experiment, *overrides, preset=preset)
    expected = evaluated(experiment, ExplorationType.DETERMINISTIC)
    env = experiment.task.options.make_env(len(expected), "cpu", seed=3)
    assert torch.equal(returns(*play(env, agents, deterministic=True)), expected)
    if len(experiment.group_map) == len(agents) and not experiment.model_config.is_rnn:
        # Actions are drawn in the same order too.
        expected = evaluated(experiment, ExplorationType.RANDOM)
        env.set_seed(3)
        torch.manual_seed(3)
        assert torch.equal(returns(*play(env, agents)), expected)


def test_sampled_play_has_the_returns_of_benchmarls_evaluation(small_experiment) -> None:
    experiment, agents = trained(
        small_experiment, *LSTM, "experiment.evaluation_episodes=512", preset="prisoners_dilemma"
    )
    expected = evaluated(experiment, ExplorationType.RANDOM)
    played = returns(*play(experiment.task.options.make_env(512, "cpu", seed=4), agents))
    error = (expected.var(0) / 512 + played.var(0) / 512).sqrt()
    assert ((expected.mean(0) - played.mean(0)).abs() < 4 * error).all()


@pytest.mark.parametrize("preset", ["prisoners_dilemma", "public_goods"])
@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_all_moved_on_by_a_seat_play_the_same_game(small_experiment, preset, grouping) -> None:
    experiment, agents = trained(small_experiment, *BALANCE, f"task.grouping={grouping}", preset=preset)
    env = experiment.task.options.make_env(2, "cpu", seed=0)
    own, valid = play(env, agents, deterministic=True)
    moved, _ = play(env, agents[-1:] + agents[:-1], deterministic=True)
    assert torch.equal(returns(own, valid).roll(1, -1), returns(moved, valid))


@pytest.mark.parametrize("view", ["null", "centred", "1"])
def test_in_anothers_seat_it_owes_what_it_would_owe_in_its_own(small_experiment, view) -> None:
    experiment, agents = trained(
        small_experiment, *BALANCE, f"task.view={view}", "task.n_agents=3", preset="coins_lenient"
    )
    env = experiment.task.options.make_env(16, "cpu", seed=0)
    agent_cells, coin_cells = torch.randint(9, (2, 16, 3))
    actions = torch.randint(5, (16, 3))
    owed = []
    for seat in range(3):
        # The same board, with everybody moved on so that the agent of seat 1 sits in each seat in turn.
        first = agents[1].first_seat(seat, 3)
        env.place(agent_cells.roll(first, 1), coin_cells.roll(first, 1))
        memory = agents[1].look_back(env.observations().roll(-first, 1), env.state(first), actions, agents[1].start(16))
        owed.append(memory.get(("agent_1", "balance")))
    assert owed[0].abs().sum() > 0
    assert torch.equal(owed[0], owed[1]) and torch.equal(owed[0], owed[2])


def test_hidden_states_begin_anew_and_are_kept(small_experiment) -> None:
    _, agents = trained(small_experiment, *GRU, preset="prisoners_dilemma")
    start = agents[0].start(4)
    key = next(key for key in start.keys(True, True) if "gru" in str(key))
    assert not start.get(key).any()
    _, after = agents[0].act(torch.zeros(4, 2, 5), start)
    assert after.get(key).any()
    assert not start.get(key).any()


def test_seats_of_different_games_are_not_taken(small_experiment) -> None:
    experiment, agents = trained(small_experiment, "algorithm=ippo", preset="matching_pennies")
    env = experiment.task.options.make_env(2, "cpu", seed=0)
    play(env, agents)
    with pytest.raises(ValueError, match="agent of seat 1 must sit in its own seat, but is to take seat 0"):
        play(env, agents[::-1])
    with pytest.raises(ValueError, match="one agent for each of 2 seats, but there are 1"):
        play(env, agents[:1])


def test_episodes_end_where_they_end(small_experiment) -> None:
    experiment, agents = trained(
        small_experiment, "algorithm=ippo", "task.continuation_probability=0.5", preset="prisoners_dilemma"
    )
    trajectories, valid = play(experiment.task.options.make_env(64, "cpu", seed=0), agents)
    length = valid.sum(1)
    done = trajectories.get(("next", "done")).squeeze(-1)
    assert torch.equal(done.int().argmax(1) + 1, length)
    assert length.min() == 1 and 1.2 < length.float().mean() < 2.8


def test_foreign_and_broken_checkpoints_are_one_clear_error(small_experiment, tmp_path: Path) -> None:
    broken = tmp_path / "checkpoints" / "checkpoint_1.pt"
    broken.parent.mkdir()
    broken.write_bytes(b"PK half written")
    with pytest.raises(ValueError, match=r"checkpoint_1.pt cannot be loaded"):
        load_agents(broken)


class Gone(Callback):
    """A callback of somebody who is not there any more when the checkpoint is loaded."""


def test_callbacks_of_who_made_a_checkpoint_need_not_be_there(small_experiment, monkeypatch) -> None:
    experiment = small_experiment(
        "algorithm=ippo",
        "experiment.checkpoint_at_end=True",
        "experiment.max_n_iters=1",
        callbacks=[Gone()],
    )
    experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    monkeypatch.delattr(f"{__name__}.Gone")
    with pytest.raises(AttributeError):
        Experiment.reload_from_file(str(checkpoint))
    assert [agent.algorithm for agent in load_agents(checkpoint)] == ["ippo", "ippo"]


def test_a_task_that_is_not_registered_is_one_clear_error(small_experiment, monkeypatch) -> None:
    experiment = small_experiment("algorithm=ippo", "experiment.checkpoint_at_end=True", "experiment.max_n_iters=1")
    experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    monkeypatch.delitem(task_config_registry, "social_dilemmas/prisoners_dilemma")
    message = r"is of task=social_dilemmas/prisoners_dilemma, which is not registered: install .*register_task"
    with pytest.raises(ValueError, match=message):
        load_agents(checkpoint)
    file = experiment.folder_name / "task.yaml"
    file.write_text(file.read_text().replace("benchmarl-reciprocator", "snow-games"))
    with pytest.raises(ValueError, match=r"it was made with snow-games .*: pip install snow-games$"):
        load_agents(checkpoint)
    with pytest.raises(ValueError, match=r"task=social_dilemmas/nothing must be registered, but is not: install"):
        _ = SocialDilemmaClass("NOTHING", {}).options
