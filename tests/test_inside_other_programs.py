"""Library calls work in a program that uses Hydra itself, and leave it as they found it."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

from benchmarl_reciprocator import SocialDilemmaTask, load_experiment
from benchmarl_reciprocator.agents.agent import ScriptedAgent
from benchmarl_reciprocator.evaluation.pairings import meet

SHORT = ["+preset=prisoners_dilemma", "experiment.loggers=[]", "experiment.create_json=false"]


def test_an_experiment_is_loaded_where_hydra_is_in_use(tmp_path: Path) -> None:
    with hydra.initialize_config_module("benchmarl.conf", version_base="1.2"):
        outer, version = GlobalHydra.instance().hydra, VersionBase.instance().version_base
        arguments = ["algorithm=ippo", *SHORT, f"experiment.save_folder={tmp_path}"]
        assert load_experiment(arguments).algorithm_name == "ippo"
        assert GlobalHydra.instance().hydra is outer
        assert VersionBase.instance().version_base == version
        # Wrong input leaves no trace either.
        with pytest.raises(Exception, match="unheard_of"):
            load_experiment([*SHORT, "algorithm=unheard_of"])
        assert GlobalHydra.instance().hydra is outer
        assert hydra.compose("config", overrides=["algorithm=ippo", "task=vmas/balance"]).seed == 0
    assert not GlobalHydra.instance().is_initialized()
    assert HydraConfig.instance().cfg is None


def test_measures_leave_the_random_numbers_as_they_were() -> None:
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    agents = [ScriptedAgent(task.players()["random"]()) for _ in range(2)]
    before = torch.get_rng_state()
    first, second = (meet(task.options.make_env(8, "cpu", seed=0), task, agents, seed=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second
