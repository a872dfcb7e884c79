"""What a preset tunes of algorithms: who takes it, what comes first, and names that nobody has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from benchmarl.algorithms import IppoConfig, algorithm_config_registry
from fresh_python import fresh_python
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import benchmarl_reciprocator.conf
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.plugin.tuning import literal, register_resolvers, resolved

register()
TYPO = r"tuning\.entropy_cof must be the option of an algorithm, but none has it \(did you mean entropy_coef\?\)"


@pytest.fixture
def composed() -> Iterator:
    """Composes BenchMARL's config by overrides, as its commands do."""
    with initialize_config_module("benchmarl.conf", version_base=None):
        yield lambda *overrides: compose("config", overrides=list(overrides))


def algorithm(config: DictConfig) -> object:
    return OmegaConf.to_object(config.algorithm)


@pytest.mark.parametrize("name", sorted(algorithm_config_registry))
def test_where_nothing_is_tuned_every_algorithm_is_as_its_yaml_has_it(name: str, composed) -> None:
    config = algorithm(composed(f"algorithm={name}", "+preset=stag_hunt"))
    assert config == algorithm_config_registry[name].get_from_yaml()


@pytest.mark.parametrize("name", ["ippo", "mappo", "reciprocator", "reciprocator_mappo"])
def test_whoever_has_an_option_takes_it_and_the_command_line_comes_first(name: str, composed) -> None:
    chosen = (f"algorithm={name}", "+preset=coins")
    assert algorithm(composed(*chosen)).entropy_coef == 0.05
    assert algorithm(composed(*chosen, "tuning.entropy_coef=0.7")).entropy_coef == 0.7
    assert algorithm(composed(*chosen, "tuning.entropy_coef=0.7", "algorithm.entropy_coef=0.3")).entropy_coef == 0.3
    # BenchMARL's own option, which no preset tunes
    assert algorithm(composed(*chosen, "tuning.clip_epsilon=0.1")).clip_epsilon == 0.1


def test_off_policy_algorithms_can_be_tuned(composed) -> None:
    tuned = algorithm(composed("algorithm=qmix", "+preset=stag_hunt", "tuning.mixing_embed_dim=8"))
    assert tuned.mixing_embed_dim == 8
    assert tuned.delay_value == algorithm_config_registry["qmix"].get_from_yaml().delay_value


@pytest.mark.parametrize("typo", ["tuning.entropy_cof=1", "+tuning.entropy_cof=1", "++tuning.entropy_cof=1"])
@pytest.mark.parametrize("name", ["ippo", "mixed", "qmix", "reciprocator"])
def test_a_typo_on_the_command_line_is_named(name: str, typo: str, composed) -> None:
    with pytest.raises(ValueError, match=TYPO):
        algorithm(composed(f"algorithm={name}", "+preset=coins", typo))


def test_a_value_of_another_type_is_named(composed) -> None:
    with pytest.raises(OmegaConfBaseException, match=r"(?s)\$\{tuned:entropy_coef.*'much'.*algorithm\.entropy_coef"):
        algorithm(composed("algorithm=ippo", "+preset=coins", "tuning.entropy_coef=much"))


def test_our_algorithms_are_tuned_without_a_preset_too(composed) -> None:
    chosen = ("algorithm=reciprocator", "task=social_dilemmas/coins")
    assert algorithm(composed(*chosen, "+tuning.warmup=7")).warmup == 7
    with pytest.raises(ValueError, match=r"tuning\.warmpu must be .*mean warmup\?"):
        algorithm(composed(*chosen, "+tuning.warmpu=7"))


def test_without_a_preset_benchmarls_yamls_are_read_as_they_are() -> None:
    with initialize_config_module("benchmarl.conf", version_base=None):
        config = compose("config", overrides=["algorithm=ippo", "task=vmas/balance"])
    assert "tuning" not in config
    assert "${" not in OmegaConf.to_yaml(config.algorithm)


def preset_of_a_user(folder: Path, option: str) -> list[str]:
    (folder / "preset").mkdir()
    content = {"defaults": ["coins", "_self_"], "tuning": {option: 0.4}}
    (folder / "preset" / "mine.yaml").write_text(f"# @package _global_\n{yaml.safe_dump(content)}")
    return [f"hydra.searchpath=[file://{folder}]", "+preset=mine"]


def test_a_users_own_preset(composed, tmp_path: Path) -> None:
    overrides = preset_of_a_user(tmp_path, "entropy_coef")
    assert algorithm(composed("algorithm=ippo", *overrides)).entropy_coef == 0.4


def test_a_typo_in_a_users_own_preset_is_named(composed, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=TYPO):
        algorithm(composed("algorithm=ippo", *preset_of_a_user(tmp_path, "entropy_cof")))


def test_benchmarls_command_names_a_typo_before_it_trains(tmp_path: Path) -> None:
    run = "import runpy; runpy.run_module('benchmarl.run', run_name='__main__', alter_sys=True)"
    done = fresh_python(run, "algorithm=mappo", "+preset=coins", "tuning.entropy_cof=1", cwd=tmp_path)
    assert done.code == 1
    assert "tuning.entropy_cof must be the option of an algorithm" in done.printed
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.json"))


@dataclass
class LaterConfig(IppoConfig):
    """An algorithm that another package registers."""

    patience: int = 3


def test_algorithms_that_come_later_are_tuned_too(composed, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ("algorithm=ippo", "+preset=coins", "tuning.patience=5")
    with pytest.raises(ValueError, match=r"tuning\.patience"):
        algorithm(composed(*chosen))
    monkeypatch.setitem(algorithm_config_registry, "later", LaterConfig)
    # IPPO has none such, and is left alone.
    assert algorithm(composed(*chosen)).entropy_coef == 0.05


def test_a_users_own_yaml_of_an_algorithm_stays_in_force(tmp_path: Path) -> None:
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "ippo.yaml").write_text("defaults: [ippo_config, _self_]\nclip_epsilon: 0.9\n")
    content = {"defaults": [{"algorithm": "ippo"}, {"tuning": "options"}]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with initialize_config_dir(str(tmp_path), version_base=None):
        assert compose("mine").algorithm.clip_epsilon == 0.9


def test_mixed_populations_hand_on_what_is_tuned_and_nothing_else(composed) -> None:
    tuned = algorithm(composed("algorithm=mixed", "+preset=public_goods"))
    preset = yaml.safe_load(Path(benchmarl_reciprocator.conf.__path__[0], "preset", "public_goods.yaml").read_text())
    assert tuned.tuning == preset["tuning"]
    assert algorithm(composed("algorithm=mixed", "+preset=stag_hunt")).tuning is None


def test_a_config_on_disk_is_read_as_plain_values(composed, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(composed("algorithm=mappo", "+preset=coins")))
    plain = yaml.safe_load(resolved(tmp_path / "config.yaml"))
    assert plain["algorithm"]["entropy_coef"] == plain["tuning"]["entropy_coef"] == 0.05
    assert plain["algorithm"]["clip_epsilon"] == 0.2
    # Nothing but what is tuned
    assert None not in plain["tuning"].values() and "clip_epsilon" not in plain["tuning"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -0.5,
        1e-7,
        "plain",
        "it's, {odd}: \\ and on",
        "\\'",
        "\\",
        "",
        [1, "a b", None],
        {"a": [0.5], "b": {}},
    ],
)
def test_values_survive_as_defaults(value: object) -> None:
    register_resolvers()
    config = OmegaConf.create({"option": f"${{tuned:option,{literal(value)}}}"})
    assert OmegaConf.to_container(config, resolve=True)["option"] == value
