"""Rewards in units of their deviation: the unit, an estimator and a Reciprocator that do not know the scale."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn.functional import one_hot

import benchmarl_reciprocator.conf
from benchmarl_reciprocator import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    ReciprocatorConfig,
    RewardUnit,
)
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity

# Both cooperate, exploited and exploiting, both defect
REWARDS = torch.tensor([[-1.0, -1.0], [-3.0, 0.0], [0.0, -3.0], [-2.0, -2.0]])
CONF = Path(benchmarl_reciprocator.conf.__path__[0])


def unit_after(*rewards: Tensor, explained: float | None = 1.0) -> float:
    unit = RewardUnit("deviation")
    for reward in rewards:
        unit.observe(reward, explained)
    return unit.value


def test_a_number_is_the_unit_whatever_is_seen() -> None:
    unit = RewardUnit(2)
    unit.observe(100 * REWARDS, 1.0)
    assert unit.value == 2.0


def test_the_deviation_goes_with_the_scale_and_not_with_an_offset() -> None:
    assert unit_after(REWARDS) == pytest.approx(math.sqrt(1.25))
    assert unit_after(1e-6 * REWARDS) == pytest.approx(1e-6 * math.sqrt(1.25))
    assert unit_after(REWARDS + torch.tensor([50.0, -7.0])) == pytest.approx(math.sqrt(1.25))


def test_it_does_not_fall_when_agents_come_to_agree() -> None:
    agreed = torch.full((4, 2), -1.0)
    assert unit_after(REWARDS, agreed, REWARDS / 2) == unit_after(REWARDS)
    assert unit_after(REWARDS / 2, REWARDS) == unit_after(REWARDS)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6 / 3])
def test_rewards_that_never_vary_have_the_unit_one(constant: float) -> None:
    assert unit_after(torch.full((1000, 3), constant)) == 1.0


def test_noise_that_nothing_explains_is_left_out() -> None:
    torch.manual_seed(0)
    rewards = REWARDS.repeat(5000, 1)
    noisy = rewards + 9 * torch.randn(rewards.shape)
    share = (rewards.var() / noisy.var()).item()
    assert unit_after(noisy, explained=share) == pytest.approx(math.sqrt(1.25), rel=0.03)
    # Until a share is known, all of it counts; and however little is explained, a tenth of the deviation.
    assert unit_after(noisy, explained=None) == unit_after(noisy, explained=math.nan) == unit_after(noisy)
    assert unit_after(noisy, explained=-5.0) == pytest.approx(0.1 * unit_after(noisy))


@pytest.mark.parametrize("bad", [0, -1.0, math.inf, math.nan, "mean"])
def test_bad_units_are_named(bad: object) -> None:
    with pytest.raises(ValueError, match=r"unit must be a finite number > 0 or deviation, but is "):
        RewardUnit(bad)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "mean", True, None])
def test_bad_options_are_named(value: object) -> None:
    config = ReciprocatorConfig.get_from_yaml()
    config.reward_unit = value
    with pytest.raises(ValueError, match=r"algorithm\.reward_unit must be deviation or a finite number > 0, but is "):
        config.check()


def learner_after(scale: float, future: bool, batches: int = 4) -> tuple[InfluenceLearner, TensorDict]:
    torch.manual_seed(0)
    estimator = InfluenceEstimator(n_agents=2, state_features=3, action_features=2, num_cells=(8,), future=future)
    schedule = InfluenceSchedule(buffer_batches=3, minibatch_size=16)
    learner = InfluenceLearner(InfluenceLoss(estimator, gamma=0.9, lmbda=0.5), schedule, "deviation")
    for _ in range(batches):
        actions = torch.randint(2, (4, 5, 2))
        done = torch.zeros(4, 5, 1, dtype=torch.bool)
        # What one gets is what the other does.
        reward = scale * (actions.flip(-1).float() + torch.rand(4, 5, 2))
        after = {"state": torch.rand(4, 5, 3), "reward": reward, "done": done, "terminated": done}
        before = {"state": torch.rand(4, 5, 3), "action": one_hot(actions, 2).float()}
        batch = TensorDict({**before, "next": after}, [4, 5])
        learner.observe(batch)
    return learner, batch


@pytest.mark.parametrize("future", [True, False])
def test_influence_in_this_unit_does_not_depend_on_the_scale(future: bool) -> None:
    (one, batch), (other, _) = (learner_after(scale, future) for scale in (1.0, 2.0**-24))
    # By a power of two floats are scaled exactly.
    assert other.unit.value == 2.0**-24 * one.unit.value
    assert torch.equal(other.influence(batch), 2.0**-24 * one.influence(batch))
    assert one.influence(batch).abs().max() > 0


def test_it_is_saved_with_the_estimator() -> None:
    learner, _ = learner_after(3.0, future=False)
    other, _ = learner_after(1.0, future=False, batches=1)
    other.load_state_dict(learner.state_dict())
    assert other.unit.value == learner.unit.value
    # A checkpoint from before there were units
    state = {key: value for key, value in learner.state_dict().items() if key != "unit"}
    learner_after(1.0, future=False, batches=1)[0].load_state_dict(state)


class Rewards(Callback):
    """Keeps the rewards ``[B, T, 2]`` that agents are trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []

    def on_train_step(self, batch: TensorDictBase, group: str) -> TensorDictBase | None:
        self.batches.append(batch["next", group, "reward"].clone())
        return None


def trained_rewards(scale: float, small_experiment, *overrides: str) -> tuple[list[Tensor], Experiment]:
    payoffs = (scale * REWARDS).view(2, 2, 2).tolist()
    kept = Rewards()
    experiment = small_experiment(
        "algorithm=reciprocator",
        "task=social_dilemmas/matrix_game",
        f"task.payoffs={payoffs}",
        "algorithm.warmup=0",
        "experiment.evaluation=False",
        *overrides,
        callbacks=[kept],
    )
    experiment.run()
    return kept.batches, experiment


def test_a_reciprocator_learns_the_same_from_scaled_payoffs(small_experiment) -> None:
    options = ("algorithm.observe_balance=True", "algorithm.future_influence=True")
    (one, first), (other, second) = (trained_rewards(scale, small_experiment, *options) for scale in (1.0, 2.0**-10))
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for a, b in zip(one, other))
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.mean_return == pytest.approx(2.0**-10 * first.mean_return)


def test_resumed_runs_know_the_unit(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "experiment.checkpoint_at_end=True")
    experiment.run()
    file = str(next((experiment.folder_name / "checkpoints").iterdir()))
    unit = Reciprocity.of(experiment).learner.unit
    assert unit.value not in (0.0, 1.0)
    assert Reciprocity.of(Experiment.reload_from_file(file)).learner.unit.value == unit.value


def tuned_unit(preset: str) -> float | str | None:
    """What a preset, or the last that it is made of, sets."""
    config = yaml.safe_load((CONF / "preset" / f"{preset}.yaml").read_text())
    bases = [base for base in config.get("defaults", []) if isinstance(base, str) and base != "_self_"]
    units = [*map(tuned_unit, bases), config.get("tuning", {}).get("reward_unit")]
    return next((unit for unit in reversed(units) if unit is not None), None)


def test_presets_that_were_measured_count_in_units_of_reward(small_experiment) -> None:
    in_units_of_reward = ReciprocatorConfig.get_from_yaml().reward_unit
    units = {path.stem: tuned_unit(path.stem) or in_units_of_reward for path in (CONF / "preset").glob("*.yaml")}
    in_units_of_deviation = {preset for preset, unit in units.items() if unit == "deviation"}
    assert in_units_of_deviation == {"prisoners_dilemma", "matrix_game", "fishery"}
    assert set(units.values()) == {1.0, "deviation"}
    chosen = small_experiment("algorithm=reciprocator", preset="prisoners_dilemma_slips").algorithm_config
    assert chosen.reward_unit == units["prisoners_dilemma_slips"] == 1.0


def test_a_number_of_units_is_another_scale(small_experiment) -> None:
    """And with the unit 1 the rewards are as they were before there was one: what is divided by 1 stays."""
    (half, _), (twice, counted) = (
        trained_rewards(scale, small_experiment, f"algorithm.reward_unit={unit}") for scale, unit in ((1, 0.5), (2, 1))
    )
    assert all(torch.equal(a, b) for a, b in zip(half, twice, strict=True))
    assert Reciprocity.of(counted).learner.unit.value == 1.0


def test_a_configuration_saved_before_there_were_units_counts_in_units_of_reward() -> None:
    config = ReciprocatorConfig.get_from_yaml()
    del config.reward_unit
    assert pickle.loads(pickle.dumps(config)).reward_unit == 1.0
