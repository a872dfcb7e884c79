"""Mixed populations."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarl.algorithms import EnsembleAlgorithmConfig, algorithm_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import MlpConfig
from tensordict import TensorDictBase

from benchmarl_reciprocator import MixedConfig, SocialDilemmaTask
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity

GROUPS = {"agent_0": ["agent_0"], "agent_1": ["agent_1"], "agent_2": ["agent_2"]}


def mixed(**options) -> MixedConfig:
    config = MixedConfig.get_from_yaml()
    for key, value in options.items():
        setattr(config, key, value)
    return config


def test_ippo_and_ippo_learn_exactly_what_plain_ippo_learns(small_experiment) -> None:
    plain = small_experiment("algorithm=ippo", "algorithm.entropy_coef=0.01", "experiment.max_n_iters=4")
    plain.run()
    population = small_experiment(
        "algorithm=mixed",
        "algorithm.focal=ippo",
        "algorithm.others=ippo",
        "algorithm.overrides={ippo:{entropy_coef:0.01}}",
        "experiment.max_n_iters=4",
    )
    population.run()
    for group in plain.losses:
        theirs = dict(population.losses[group].named_parameters())
        for key, value in plain.losses[group].named_parameters():
            assert torch.equal(value, theirs[key]), key


def test_advantages_come_from_the_critic_that_is_trained(small_experiment) -> None:
    experiment = small_experiment("algorithm=mixed")
    for group, member in experiment.algorithm.algorithms_map.items():
        assert member.get_loss_and_updater(group)[0] is experiment.losses[group]


def test_reciprocators_change_no_other_groups_rewards(small_experiment) -> None:
    experiment = small_experiment("algorithm=mixed", "experiment.max_n_iters=1")
    callback = Reciprocity.of(experiment)
    seen: dict[str, TensorDictBase] = {}
    original = callback.on_batch_collected

    def spy(batch: TensorDictBase) -> None:
        seen["before"] = batch.clone()
        original(batch)
        seen["after"] = batch.clone()

    callback.on_batch_collected = spy
    experiment.run()
    path = ("next", "agent_1", "reward")
    assert torch.equal(seen["before"].get(path), seen["after"].get(path))
    path = ("next", "agent_0", "reward")
    assert not torch.equal(seen["before"].get(path), seen["after"].get(path))


def test_only_reciprocators_are_frozen_while_warming_up(small_experiment) -> None:
    experiment = small_experiment("algorithm=mixed", "algorithm.overrides={reciprocator:{warmup:5}}")
    before = {group: [p.clone() for p in loss.parameters()] for group, loss in experiment.losses.items()}
    experiment.run()
    changed = {
        group: any(not torch.equal(a, b) for a, b in zip(before[group], loss.parameters(), strict=True))
        for group, loss in experiment.losses.items()
    }
    assert changed == {"agent_0": False, "agent_1": True}


def test_assignment_by_number_and_by_map() -> None:
    assert mixed(n_focal=2).assign(GROUPS) == {"agent_0": "reciprocator", "agent_1": "reciprocator", "agent_2": "ippo"}
    explicit = {"agent_0": "ippo", "agent_1": "reciprocator", "agent_2": "mappo"}
    assert mixed(groups=explicit).assign(GROUPS) == explicit


def test_populations_have_names_of_their_own() -> None:
    assert mixed().associated_class().__name__ == "mixed_1_reciprocator_others_ippo"
    population = mixed(groups={"a": "ippo", "b": "reciprocator", "c": "ippo"})
    assert population.associated_class().__name__ == "mixed_2_ippo_1_reciprocator"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"others": "qmix"}, "on-policy"),
        ({"groups": {"agent_0": "ippo", "agent_1": "iql", "agent_2": "ippo"}}, "on-policy"),
        (
            {"overrides": {"mappo": {"lmbda": 1.0}}},
            "must be of reciprocator, ippo, but has some of 'mappo'",
        ),
        (
            {"overrides": {"ippo": {"lambda": 1.0}}},
            "algorithm.overrides.ippo must be options of ippo (share_",
        ),
        ({"overrides": [1]}, "algorithm.overrides must be null or a mapping, but is [1]"),
    ],
)
def test_impossible_populations_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        mixed(**options).on_policy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_focal": 4}, "algorithm.n_focal must be 0 to 3, the number of agents, but is 4"),
        ({"n_focal": -1}, "algorithm.n_focal must be 0 to 3, the number of agents, but is -1"),
        ({"groups": {"agent_0": "ippo"}}, "one entry for each group"),
    ],
)
def test_populations_that_do_not_fit_the_task_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixed(**options).assign(GROUPS)


def test_a_group_is_not_split() -> None:
    with pytest.raises(ValueError, match="would split group 'agents'"):
        mixed(n_focal=1).assign({"agents": ["a", "b", "c"]})


def test_reciprocators_with_different_estimators_are_refused(small_experiment) -> None:
    callback = Reciprocity()
    first, second = (algorithm_reciprocity(buffer_batches=n) for n in (3, 4))
    callback.add_group("agent_0", first)
    with pytest.raises(ValueError, match=r"algorithm\.buffer_batches must be the same .* is 4 for one and 3 "):
        callback.add_group("agent_1", second)


def algorithm_reciprocity(**options):
    from dataclasses import fields

    from benchmarl_reciprocator import ReciprocatorConfig
    from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig

    config = ReciprocatorConfig.get_from_yaml()
    values = {field.name: getattr(config, field.name) for field in fields(ReciprocityConfig)}
    return ReciprocityConfig(**{**values, **options})


@pytest.mark.parametrize(
    ("algorithm", "options", "named"),
    [
        ("reciprocator", {"observe_balance": True}, "algorithm.observe_balance=true"),
        ("scripted", {"player": "tit_for_tat"}, "scripted_tit_for_tat"),
    ],
)
def test_an_ensemble_that_leaves_out_what_its_members_add_is_refused(
    tmp_path: Path, algorithm: str, options: dict[str, Any], named: str
) -> None:
    def make(options: dict[str, Any]) -> Experiment:
        configs = {name: algorithm_config_registry[name].get_from_yaml() for name in (algorithm, "ippo")}
        vars(configs[algorithm]).update(options)
        task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
        task.config.update(grouping="per_agent")
        config = ExperimentConfig.get_from_yaml()
        config.loggers, config.create_json, config.save_folder = [], False, str(tmp_path)
        ensemble = EnsembleAlgorithmConfig({"agent_0": configs[algorithm], "agent_1": configs["ippo"]})
        model = MlpConfig.get_from_yaml()
        return Experiment(task=task, algorithm_config=ensemble, model_config=model, seed=0, config=config)

    with pytest.raises(ValueError, match=f"the ensemble must be a mixed population .* as {named} needs it, but is"):
        make(options)


def test_members_add_to_the_environment_without_nesting_it(small_experiment) -> None:
    with warnings.catch_warnings():
        # TorchRL will not take nested environments apart any more.
        warnings.filterwarnings("error", "(?s).*Nested TransformedEnvs", FutureWarning)
        experiment = small_experiment(
            "algorithm=mixed",
            "algorithm.others=tit_for_tat",
            "algorithm.overrides={reciprocator:{observe_balance:True}}",
        )
    start = experiment.test_env.reset()
    assert ("agent_0", "balance") in start.keys(True) and ("agent_1", "memory") in start.keys(True)
