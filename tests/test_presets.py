"""What a preset of a task changes for the algorithms of this package, and that it leaves alone what it should."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import benchmarl_reciprocator.conf
from benchmarl_reciprocator import InfluenceSchedule, MixedConfig, ReciprocatorConfig, ReciprocatorMappoConfig
from benchmarl_reciprocator.algorithms.reciprocity.config import EstimatorOptions, ReciprocityConfig

CONF = benchmarl_reciprocator.conf.__path__[0]


PRESETS = [path.stem for path in sorted(Path(CONF, "preset").glob("*.yaml")) if "\ntuning:" in path.read_text()]


def tuning(preset: str = "coins") -> dict:
    with open(f"{CONF}/preset/{preset}.yaml") as file:
        return yaml.safe_load(file)["tuning"]


@pytest.mark.parametrize("algorithm", ["reciprocator", "reciprocator_mappo"])
def test_tuning_is_taken_and_overrides_come_first(algorithm: str, small_experiment) -> None:
    config = small_experiment(f"algorithm={algorithm}", "algorithm.entropy_coef=0.3", preset="coins").algorithm_config
    # The fixture lets each agent have a policy of its own.
    for option, value in {**tuning(), "entropy_coef": 0.3, "share_policy": False}.items():
        assert getattr(config, option) == value


@pytest.mark.parametrize("config", [ReciprocatorConfig, ReciprocatorMappoConfig])
def test_without_a_preset_the_yaml_holds(config: type, small_experiment) -> None:
    name = config.__module__.rpartition(".")[2]
    ran = small_experiment(f"algorithm={name}", "task=social_dilemmas/coins", preset=None).algorithm_config
    assert ran == config.get_from_yaml() != config(**{**vars(ran), **tuning()})


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("config", [ReciprocatorConfig, ReciprocatorMappoConfig])
def test_every_tuned_option_is_one_of_the_algorithms(preset: str, config: type) -> None:
    assert set(tuning(preset)) <= {option.name for option in fields(config)}


def test_options_that_both_reciprocators_share_stand_once() -> None:
    def keys(name: str) -> set[str]:
        return set(yaml.safe_load(Path(CONF, "algorithm", f"{name}.yaml").read_text())) - {"defaults"}

    estimator, shared = keys("shared/estimator"), keys("shared/reciprocity")
    assert estimator == {option.name for option in fields(EstimatorOptions)}
    assert shared == {option.name for option in fields(ReciprocityConfig)} - estimator
    for name in ("reciprocator", "reciprocator_mappo", "advantage_alignment"):
        assert not keys(name) & (shared | estimator)


def test_a_yaml_of_the_users_own_takes_in_what_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(Path(CONF, "algorithm", "reciprocator.yaml").read_text() + "warmup: 9\n")
    config = ReciprocatorConfig.get_from_yaml(str(path))
    assert config.warmup == 9
    assert config == ReciprocatorConfig(**{**vars(ReciprocatorConfig.get_from_yaml()), "warmup": 9})


def test_the_learners_defaults_are_those_of_the_yaml() -> None:
    config, schedule = ReciprocatorConfig.get_from_yaml(), InfluenceSchedule()
    names = {"polyak_tau", "lr", "epochs", "minibatch_size", "max_grad_norm"}
    # Nothing is frozen while the estimator warms up, outside an experiment.
    for name in {field.name for field in fields(InfluenceSchedule)} - {"warmup"}:
        assert getattr(schedule, name) == getattr(config, f"estimator_{name}" if name in names else name)


def test_members_of_a_population_take_what_they_have(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=mixed", "algorithm.overrides={reciprocator: {reward_weight_end: 3}}", preset="coins"
    )
    members = experiment.algorithm_config.member_configs()
    assert members["reciprocator"].reward_weight_end == 3
    assert members["reciprocator"].negative_reciprocity_end == tuning()["negative_reciprocity_end"]
    # What the preset takes over from another one
    assert members["ippo"].entropy_coef == tuning("coins_lenient")["entropy_coef"]
    assert not hasattr(members["ippo"], "observe_balance")
    assert MixedConfig.get_from_yaml().tuning is None


@pytest.mark.parametrize("layer", ["gru", "gnn"])
def test_another_model_beside_a_preset(layer: str, small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "task.grouping=one_group", f"model=layers/{layer}")
    assert experiment.model_name == layer
    assert experiment.critic_model_config.num_cells == [64, 64]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.observation=image"], r"task.observation must be flat where model is mlp, but is 'image'"),
        (["model=layers/cnn"], r"model must be a model that takes vectors where .*, but is 'cnn': .*image"),
        (
            ["task.observation=image", "model=layers/cnn"],
            r"task.observation must be flat where model@critic_model is mlp, but is 'image'",
        ),
    ],
)
def test_models_that_cannot_take_the_observations_are_refused(
    overrides: list[str], message: str, small_experiment
) -> None:
    with pytest.raises(ValueError, match=message):
        small_experiment("algorithm=reciprocator", *overrides, preset="coins")


def test_a_critic_that_is_not_there_may_be_anything(small_experiment) -> None:
    layers = [f"model.{option}" for option in ("cnn_num_cells=[4]", "cnn_kernel_sizes=2")]
    small_experiment("algorithm=iql", "task.observation=image", "model=layers/cnn", *layers, preset="coins")
