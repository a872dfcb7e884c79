"""The Reciprocator inside a BenchMARL experiment: rewards, logs, bad input, checkpoints."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from fresh_python import fresh_python
from tensordict import TensorDictBase

from benchmarl_reciprocator import (
    ReciprocatorConfig,
    SharedInfluenceEstimator,
    influence_balance,
    reciprocal_reward,
)
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.algorithms.reciprocity.setup import check_task


class Spy:
    """Keeps the joint batch before and after the reciprocal reward is added."""

    def __init__(self, experiment: Experiment) -> None:
        self.before: list[TensorDictBase] = []
        self.after: list[TensorDictBase] = []
        self.callback = Reciprocity.of(experiment)
        self._original = self.callback.on_batch_collected
        self.callback.on_batch_collected = self

    def __call__(self, batch: TensorDictBase) -> None:
        self.before.append(batch.clone())
        self._original(batch)
        self.after.append(batch.clone())

    def reward(self, batches: list[TensorDictBase]) -> torch.Tensor:
        """``[n_batches, B, T, 2]``."""
        groups = ("agent_0", "agent_1")
        return torch.stack([torch.cat([b["next", g, "reward"][..., 0] for g in groups], -1) for b in batches])


class FreezeAgent1(Callback):
    """A user's own callback that leaves an agent untrained."""

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.experiment.train_group_map.pop("agent_1", None)


class SpoilRewards(Callback):
    """A task that gives a reward that is no number."""

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        batch["next", "agent_0", "reward"][0, 3] = torch.nan


def test_reward_is_the_tasks_plus_the_weighted_reciprocal_one(small_experiment) -> None:
    options = ("algorithm.reward_weight_end=3", "algorithm.reward_unit=2", "experiment.max_n_iters=1")
    experiment = small_experiment("algorithm=reciprocator", *options)
    spy = Spy(experiment)
    experiment.run()
    joint = spy.callback.view(spy.before[0], torch.arange(32).expand(8, 32))
    influence = spy.callback.learner.influence(joint) / 2
    done = spy.before[0]["next", "done"]
    config = experiment.algorithm_config
    gamma = experiment.config.gamma if config.balance_gamma is None else config.balance_gamma
    balance, _ = influence_balance(influence, done, gamma, debit=config.balance_debit)
    expected = spy.reward(spy.before)[0] / 2 + 3 * reciprocal_reward(influence, balance, form=config.reciprocal_form)
    torch.testing.assert_close(spy.reward(spy.after)[0], expected)


def test_balance_is_carried_over_batches_that_end_in_mid_episode(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "task.max_steps=48")
    spy = Spy(experiment)
    experiment.run()
    (carried,) = spy.callback.carried.values()
    # Two batches of 32 steps: the second goes from step 32 to the end of the episode at 48, and 16 steps into the next.
    assert spy.before[1]["next", "done"][:, 15].all()
    assert spy.callback.clock.next_step.tolist() == [16] * 8
    assert carried.abs().sum() > 0


def test_extrinsic_returns_stay_in_the_logs(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "algorithm.reward_weight_end=1000")
    spy = Spy(experiment)
    experiment.run()
    returns = spy.before[-1]["next", "agent_0", "episode_reward"]
    assert returns.min() >= -96 and returns.max() <= 0
    assert spy.reward(spy.after).abs().max() > 3
    assert -96 <= experiment.mean_return <= 0


def test_weight_grows_over_frames() -> None:
    config = ReciprocatorConfig.get_from_yaml()
    config.reward_weight_start, config.reward_weight_end, config.reward_weight_frames = 1.0, 3.0, 100
    assert [config.weight(frames) for frames in (0, 50, 100, 1000)] == [1.0, 2.0, 3.0, 3.0]
    config.reciprocity_delay = 50
    assert [config.weight(frames) for frames in (0, 49, 50, 100, 150)] == [0.0, 0.0, 1.0, 2.0, 3.0]
    config.reciprocity_delay = config.reward_weight_frames = 0
    assert config.weight(0) == 3.0


def test_weight_of_harm_may_change() -> None:
    config = ReciprocatorConfig.get_from_yaml()
    config.negative_reciprocity = 0.2
    assert [config.weight_of_harm(frames) for frames in (0, 10**9)] == [0.2, 0.2]
    config.negative_reciprocity_end, config.negative_reciprocity_from = 1.0, 100
    assert [config.weight_of_harm(frames) for frames in (0, 99, 100)] == [0.2, 0.2, 1.0]
    config.negative_reciprocity_frames = 200
    assert [config.weight_of_harm(frames) for frames in (0, 100, 200, 300, 400)] == pytest.approx(
        [0.2, 0.2, 0.6, 1.0, 1.0]
    )


def test_a_configuration_saved_before_harm_could_change_has_it_constant() -> None:
    config = ReciprocatorConfig.get_from_yaml()
    for option in ("negative_reciprocity_end", "negative_reciprocity_from", "negative_reciprocity_frames"):
        delattr(config, option)
    loaded = pickle.loads(pickle.dumps(config))
    assert loaded.negative_reciprocity_end is None and loaded.weight_of_harm(10**9) == loaded.negative_reciprocity


def test_the_weight_of_harm_is_that_of_the_frames_collected(small_experiment) -> None:
    """One run turns firm after its first batch, the other is firm from the start: their rewards differ till then."""
    firm = "algorithm.negative_reciprocity=1.0"
    growing = ("algorithm.negative_reciprocity=0.0", "algorithm.negative_reciprocity_end=1.0")
    options = ("algorithm.warmup=2", "algorithm.reward_weight_start=10", "algorithm.negative_reciprocity_from=256")
    rewards = []
    for harm in ((firm,), growing):
        experiment = small_experiment("algorithm=reciprocator", *options, *harm)
        spy = Spy(experiment)
        experiment.run()
        rewards.append(spy.reward(spy.after))
    assert not torch.equal(rewards[0][0], rewards[1][0])
    assert torch.equal(rewards[0][1], rewards[1][1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("balance_debit", "some"),
        ("reciprocal_form", "sum"),
        ("reward_weight_end", -1.0),
        ("reward_weight_start", -0.5),
        ("reciprocity_delay", -1),
        ("negative_reciprocity", 1.5),
        ("negative_reciprocity_end", -0.5),
        ("negative_reciprocity_from", -1),
        ("negative_reciprocity_frames", -1),
        ("reciprocal_over_others", "max"),
        ("reward_weight_frames", -1),
        ("buffer_batches", 0),
        ("target_period", 0),
        ("warmup", -1),
        ("estimator_epochs", 0),
        ("estimator_minibatch_size", 0),
        ("estimator_lr", 0.0),
        ("estimator_polyak_tau", 0.0),
        ("estimator_lmbda", 1.5),
        ("estimator_encoder", "transformer"),
        ("estimator_num_cells", [0]),
        ("balance_gamma", 1.5),
        ("estimator_encoder_features", 0),
        ("estimator_max_grad_norm", 0.0),
    ],
)
def test_bad_options_are_named_before_training(key: str, value: object, small_experiment) -> None:
    with pytest.raises(ValueError, match=rf"algorithm\.{key} must be .*, but is "):
        small_experiment("algorithm=reciprocator", f"algorithm.{key}={value}")


@pytest.mark.parametrize(
    ("task", "preset"),
    [(["task=vmas/simple_tag"], None), ([], "matching_pennies")],
    ids=["other kinds", "other payoffs"],
)
def test_a_baseline_shared_by_agents_in_different_positions_is_refused(
    task: list, preset: str, small_experiment
) -> None:
    with pytest.raises(
        ValueError, match=r"algorithm\.estimator_share_params must be false .*, but is True: .* same from every seat"
    ):
        small_experiment("algorithm=reciprocator", "algorithm.estimator_share_params=True", *task, preset=preset)


@pytest.mark.parametrize("algorithm", ["reciprocator", "reciprocator_mappo"])
def test_one_policy_in_every_seat(algorithm: str, small_experiment) -> None:
    experiments = [
        small_experiment(f"algorithm={algorithm}", f"algorithm.share_policy={share}", "task.grouping=one_group")
        for share in (True, False)
    ]
    shared, own = (experiment.losses["agents"] for experiment in experiments)
    count = lambda parameters: sum(value.numel() for value in parameters.values(True, True))  # noqa: E731
    assert 2 * count(shared.actor_network_params) == count(own.actor_network_params)
    # A centralised critic has a value for each of them whatever they share.
    same_critic = count(shared.critic_network_params) == count(own.critic_network_params)
    assert same_critic == (algorithm == "reciprocator_mappo")
    assert not experiments[0].config.share_policy_params


def test_agents_with_one_policy_are_in_one_group_if_that_is_left_open(small_experiment) -> None:
    shared = small_experiment("algorithm=reciprocator", "algorithm.share_policy=true")
    assert list(shared.group_map) == ["agents"]
    assert list(small_experiment("algorithm=reciprocator").group_map) == ["agent_0", "agent_1"]


def test_one_policy_for_seats_that_differ_is_refused(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.share_policy must be false with task='matching_pennies'"):
        small_experiment("algorithm=reciprocator", "algorithm.share_policy=true", preset="matching_pennies")


@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_a_shared_baseline_on_observations_in_a_row(grouping: str, small_experiment) -> None:
    options = ("algorithm.estimator_share_params=True", f"task.grouping={grouping}", "algorithm.future_influence=True")
    experiment = small_experiment("algorithm=reciprocator", *options, preset="coins")
    experiment.run()
    network = Reciprocity.of(experiment).learner.loss.estimator_network
    assert isinstance(network, SharedInfluenceEstimator)
    # What both agents observe, and the time
    assert network.state_weight.shape[1] == 2 * 36 + 1


def test_rewards_that_are_not_numbers_are_named_at_the_first_batch(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", callbacks=[SpoilRewards()])
    with pytest.raises(ValueError, match="rewards must be finite numbers, but 1 of 512 are NaN"):
        experiment.run()


def test_a_task_with_one_agent_is_refused(small_experiment) -> None:
    with pytest.raises(
        ValueError,
        match="at least 2 agents for algorithm=reciprocator, but is 'navigation' with 1",
    ):
        small_experiment("algorithm=reciprocator", "task=vmas/navigation", "task.n_agents=1", preset=None)


def test_a_group_without_a_reward_is_refused(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator")
    half = SimpleNamespace(
        group_map=experiment.group_map,
        task_name="half",
        algorithm_name="reciprocator",
        test_env=SimpleNamespace(reward_keys=[("agent_0", "reward")]),
    )
    with pytest.raises(ValueError, match=r"a reward for every group .* 'half' gives group 'agent_1' none"):
        check_task(half)


def test_other_callbacks_frozen_groups_stay_frozen(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "algorithm.warmup=1", callbacks=[FreezeAgent1()])
    before = [p.clone() for p in experiment.losses["agent_1"].parameters()]
    experiment.run()
    assert list(experiment.train_group_map) == ["agent_0"]
    assert all(torch.equal(a, b) for a, b in zip(before, experiment.losses["agent_1"].parameters(), strict=True))


def test_checkpoints_of_others_are_refused_with_a_reason(small_experiment) -> None:
    def checkpoint(*overrides: str, preset: str = "prisoners_dilemma") -> str:
        experiment = small_experiment("experiment.checkpoint_at_end=True", *overrides, preset=preset)
        experiment.run()
        return str(next((experiment.folder_name / "checkpoints").iterdir()))

    stock = checkpoint("algorithm=ippo")
    with pytest.raises(ValueError, match=r"and algorithm=reciprocator, but .* and algorithm=ippo"):
        small_experiment("algorithm=reciprocator", f"experiment.restore_file={stock}")
    three = checkpoint("algorithm=reciprocator", preset="public_goods")
    with pytest.raises(
        ValueError, match=r"must be a checkpoint of groups .*agent_3 .*, but .* is of groups .*agent_2 "
    ):
        small_experiment(
            "algorithm=reciprocator", f"experiment.restore_file={three}", "task.n_agents=4", preset="public_goods"
        )
    population = checkpoint("algorithm=mixed")
    with pytest.raises(ValueError, match=r"and algorithm=reciprocator, but .* and algorithm=mixed"):
        small_experiment("algorithm=reciprocator", f"experiment.restore_file={population}")


def test_resumed_state_is_the_saved_one(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "experiment.checkpoint_at_end=True")
    experiment.run()
    file = str(next((experiment.folder_name / "checkpoints").iterdir()))
    saved = Reciprocity.of(experiment).learner
    restored = Reciprocity.of(Experiment.reload_from_file(file)).learner
    assert restored.batches_seen == saved.batches_seen == 2
    assert restored.fits == saved.fits
    for a, b in zip(saved.loss.state_dict().values(), restored.loss.state_dict().values(), strict=True):
        assert torch.equal(a, b) if torch.is_tensor(a) else a == b
    assert (saved.buffer[:] == restored.buffer[:]).all()
    moments = (learner.optimizer.state_dict()["state"] for learner in (saved, restored))
    for a, b in zip(*(m.values() for m in moments), strict=True):
        assert torch.equal(a["exp_avg"], b["exp_avg"])


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in mid-run, then BenchMARL's own resume command: it goes on from the last checkpoint, not from
    scratch.
    """
    frames, iterations = 1024, 10
    overrides = [
        "algorithm=reciprocator",
        "+preset=prisoners_dilemma",
        f"experiment.max_n_iters={iterations}",
        "experiment.on_policy_n_envs_per_worker=32",
        f"experiment.on_policy_collected_frames_per_batch={frames}",
        "experiment.on_policy_minibatch_size=256",
        f"experiment.evaluation_interval={frames * 2}",
        "experiment.evaluation_episodes=16",
        f"experiment.checkpoint_interval={frames * 2}",
        "algorithm.buffer_batches=6",
        "algorithm.estimator_epochs=20",
        f"hydra.run.dir={tmp_path}",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmarl.run", *overrides],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.time() + 120
    while time.time() < deadline and len(list(tmp_path.glob("*/checkpoints/*.pt"))) < 3:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    numbers = sorted(int(f.stem.rpartition("_")[2]) for f in tmp_path.glob("*/checkpoints/*.pt"))
    # The newest may have been cut short by the kill.
    last = numbers[-2]
    assert last < frames * iterations
    checkpoint = next(tmp_path.glob(f"*/checkpoints/checkpoint_{last}.pt"))
    saved = torch.load(checkpoint, weights_only=True)["reciprocity"]["learner"]
    assert saved["batches_seen"] == last // frames

    json_file = next(tmp_path.glob("*/*.json"))
    earlier = json_file.read_text()
    resume = "import runpy; runpy.run_module('benchmarl.resume', run_name='__main__', alter_sys=True)"
    done = fresh_python(resume, str(checkpoint), cwd=tmp_path)
    assert done.code == 0, done.printed[-2000:]

    from benchmarl_reciprocator.evaluation.result_files import read_evaluations

    evaluations = read_evaluations(json_file)
    assert evaluations["frames"].max() == frames * iterations
    # Nothing measured before the kill is lost.
    (tmp_path / "earlier.json").write_text(earlier)
    before = read_evaluations(tmp_path / "earlier.json")
    assert set(before["frames"]) <= set(evaluations["frames"])
    # The first fresh estimator explains nothing of a batch; the resumed one goes on explaining it.
    scalars = next(tmp_path.glob("*/*/scalars/reciprocity_estimator_explained_variance_reward.csv"))
    explained = dict(map(float, line.split(",")) for line in scalars.read_text().splitlines())
    assert explained[last // frames] > 0.9
