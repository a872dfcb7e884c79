"""What all tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator import load_experiment

# One thread: the networks are small, and runs repeat exactly.
torch.set_num_threads(1)

SMALL = [
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=128",
    "experiment.on_policy_n_minibatch_iters=1",
    "experiment.off_policy_n_envs_per_worker=8",
    "experiment.off_policy_collected_frames_per_batch=256",
    "experiment.off_policy_n_optimizer_steps=2",
    "experiment.off_policy_train_batch_size=64",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
    "experiment.loggers=[]",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage of a test that trains with its first parameters alone: measuring makes Python 3.11 half as slow
    again, and what the others run besides is covered by tests of its own.
    """
    measured = set()
    for item in items:
        name = item.nodeid.partition("[")[0]
        trains = "small_experiment" in getattr(item, "fixturenames", ()) or "test_conformance" in name
        if trains and name in measured:
            item.add_marker(pytest.mark.no_cover)
        measured.add(name)


class Batches(Callback):
    """Keeps what was collected, and what was evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[TensorDictBase] = []
        self.evaluated: list[TensorDictBase] = []

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.collected.append(batch.clone())

    def on_evaluation_end(self, rollouts: list[TensorDictBase]) -> None:
        self.evaluated += rollouts


@pytest.fixture
def small_experiment(tmp_path: Path):
    """Makes experiments of two short iterations from further overrides, in ``tmp_path``."""

    def make(*overrides: str, preset: str | None = "prisoners_dilemma", **kwargs) -> Experiment:
        # Learners alone, each with a policy of its own, unless a test says otherwise: some presets have co-players, and
        # one policy in every seat.
        plain = [f"+preset={preset}", "co_players.share=0", "++tuning.share_policy=false"]
        chosen = plain if preset is not None else ["experiment=social_dilemmas"]
        return load_experiment([*chosen, *SMALL, f"experiment.save_folder={tmp_path}", *overrides], **kwargs)

    return make


def saved_run(folder: Path, population: str, seed: int, *overrides: str) -> None:
    """A run of one iteration as a suite leaves it: a record, and an experiment with a checkpoint below."""
    run = folder / "runs" / f"{population.lower()}_seed_{seed}"
    run.mkdir(parents=True)
    # Short episodes: they are played many times over.
    options = (
        "task.max_steps=8",
        "experiment.max_n_iters=1",
        "experiment.checkpoint_at_end=True",
        "experiment.evaluation=False",
    )
    experiment = load_experiment([*overrides, *SMALL, *options, f"seed={seed}", f"experiment.save_folder={run}"])
    experiment.run()
    (run / "run.json").write_text(json.dumps({"population": population, "overrides": [*overrides], "seed": seed}))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two populations of the prisoner's dilemma, two seeds each."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed in (0, 1):
        saved_run(
            folder, "Recip", seed, "algorithm=reciprocator", "+preset=prisoners_dilemma", "tuning.share_policy=false"
        )
        saved_run(folder, "Mixed", seed, "algorithm=mixed", "+preset=prisoners_dilemma")
    return folder


@pytest.fixture(scope="session")
def public_goods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one population of the public goods game with three players."""
    folder = tmp_path_factory.mktemp("public_goods")
    saved_run(folder, "Ippo", 0, "algorithm=ippo", "+preset=public_goods")
    return folder
