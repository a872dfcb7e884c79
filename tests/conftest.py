"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarl.experiment import Experiment

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


@pytest.fixture
def small_experiment(tmp_path: Path):
    """Makes experiments of two short iterations from further overrides, in ``tmp_path``."""

    def make(*overrides: str, preset: str | None = "prisoners_dilemma", **kwargs) -> Experiment:
        chosen = [f"+preset={preset}"] if preset is not None else ["experiment=social_dilemmas"]
        return load_experiment([*chosen, *SMALL, f"experiment.save_folder={tmp_path}", *overrides], **kwargs)

    return make
