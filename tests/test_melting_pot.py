"""The Reciprocator on BenchMARL's own Melting Pot tasks, as examples/melting_pot.py chooses its options."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from melting_pot_stand_in import N_ACTIONS, stand_in
from test_tasks_of_benchmarl import Rewards

from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "melting_pot.py"

SHORT = (
    "experiment.on_policy_n_envs_per_worker=2",
    "experiment.on_policy_collected_frames_per_batch=32",
    "experiment.on_policy_minibatch_size=16",
    "experiment.evaluation_interval=64",
    "experiment.evaluation_episodes=1",
)


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("melting_pot_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shared", [True, False])
def test_reciprocator_runs_unchanged(shared: bool, small_experiment, monkeypatch) -> None:
    n_agents, rewards = 3, Rewards()
    stand_in(monkeypatch, n_agents, view=40, world=(40, 48))
    experiment = small_experiment(
        *example().overrides("clean_up", max_steps=16),
        *SHORT,
        f"experiment.share_policy_params={shared}",
        f"algorithm.estimator_share_params={shared}",
        "algorithm.warmup=0",
        preset=None,
        callbacks=[rewards],
    )
    assert experiment.task_name == "clean_up" and experiment.environment_name == "meltingpot"
    reciprocity = Reciprocity.of(experiment)
    before = [parameter.clone() for parameter in reciprocity.learner.loss.parameters()]
    experiment.run()
    assert {group: len(agents) for group, agents in experiment.group_map.items()} == {"agents": n_agents}
    assert reciprocity.view.action_features == N_ACTIONS
    assert all(not torch.equal(old, new) for old, new in zip(before, reciprocity.learner.loss.parameters()))
    agents = rewards.collected[0]["agents"]
    assert (agents != agents[..., :1, :]).any()
    # In the second iteration the weight counts: what is optimised is more than what was collected.
    assert not torch.isin(rewards.optimised[-1]["agents"], rewards.collected[-1]["agents"]).all()


def test_the_example_runs_as_a_user_runs_it(tmp_path: Path, monkeypatch) -> None:
    stand_in(monkeypatch, n_agents=3, view=40, world=(40, 48))
    monkeypatch.chdir(tmp_path)
    shorter = ("task.max_steps=16", "experiment.max_n_iters=1", "experiment.on_policy_n_minibatch_iters=1", *SHORT)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "clean_up", *shorter])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert list(tmp_path.glob("**/scalars/reciprocity_*.csv"))
