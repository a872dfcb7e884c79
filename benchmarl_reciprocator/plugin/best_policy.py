"""Keeps the policies that did best, for the absolute metric of Gorsane et al. 2022 (arXiv 2209.10485)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

FOLDER = "best"
# What a file of these holds besides an experiment's state
KEY = "best_policy"


def best_policies(experiment_folder: Path) -> list[Path]:
    """The policies that did best when they were evaluated, each better than those before it: the last is the best.

    Args:
        experiment_folder (Path): of a BenchMARL experiment.

    Returns:
        list[Path]: checkpoints without buffers, ``best/checkpoint_<frames>.pt``; empty where none was kept.
    """
    files = [file for file in (experiment_folder / FOLDER).glob("checkpoint_*.pt") if file.stem[11:].isdigit()]
    return sorted(files, key=frames_of)


def frames_of(checkpoint: Path) -> int:
    """The number of frames in the name of a checkpoint."""
    return int(checkpoint.stem.rpartition("_")[2])


def return_of(best: Path) -> float:
    """The mean return of the evaluation after which one of :func:`best_policies` was saved."""
    return float(torch.load(best, map_location="cpu", weights_only=True, mmap=True)[KEY]["return"])


def keep_the_last_alone(experiment_folder: Path) -> None:
    """Delete all of :func:`best_policies` but the best: of a run that has finished, which goes on from nowhere."""
    for file in best_policies(experiment_folder)[:-1]:
        file.unlink()


class BestPolicy(Callback):
    """Saves an experiment without its buffers when an evaluation beats all before it, if the experiment saves
    checkpoints at all.

    An evaluation's return is the mean over its episodes and agents; of equals the first stays. A run that was ended
    goes on from a checkpoint, and what came after that did not happen: those saved later are deleted then, and until
    then the best of before the oldest checkpoint is kept with all later ones.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any

    def __init__(self) -> None:
        super().__init__()
        # The highest return so far; ``None`` before the first batch: what is evaluated without training is not kept.
        self.best: float | None = None

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        if self.best is None:
            self.best = self._of_before(self.experiment.total_frames - batch.numel())

    def on_evaluation_end(self, rollouts: list[TensorDictBase]) -> None:
        config = self.experiment.config
        if self.best is None or not (config.checkpoint_at_end or config.checkpoint_interval > 0):
            return
        achieved = mean_return(rollouts, self.experiment.group_map)
        if achieved > self.best:
            self.best = achieved
            self._save(achieved)

    @property
    def _folder(self) -> Path:
        return Path(self.experiment.folder_name)

    def _of_before(self, frames: int) -> float:
        """The highest return up to ``frames``; what was saved later is deleted."""
        best = -float("inf")
        for file in best_policies(self._folder):
            if frames_of(file) > frames:
                file.unlink()
            else:
                best = return_of(file)
        return best

    def _save(self, achieved: float) -> None:
        experiment = self.experiment
        file = self._folder / FOLDER / f"checkpoint_{experiment.total_frames}.pt"
        file.parent.mkdir(exist_ok=True)
        configured = experiment.config.exclude_buffer_from_checkpoint
        experiment.config.exclude_buffer_from_checkpoint = True
        try:
            state = {**experiment.state_dict(), KEY: {"return": achieved}}
        finally:
            experiment.config.exclude_buffer_from_checkpoint = configured
        partial = file.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, file)
        saved = sorted(map(frames_of, (self._folder / "checkpoints").glob("checkpoint_*.pt")))
        oldest = saved[0] if saved else experiment.total_frames
        for superseded in [one for one in best_policies(self._folder) if frames_of(one) <= oldest][:-1]:
            superseded.unlink()


def mean_return(rollouts: list[TensorDictBase], group_map: dict[str, list[str]]) -> float:
    """Mean over episodes and agents of the return.

    Args:
        rollouts (list of TensorDictBase): an episode each, ``[T]``, as BenchMARL evaluates them.
        group_map (dict): agents' names by group.
    """
    returns = []
    for rollout in rollouts:
        of_agents = []
        for group, agents in group_map.items():
            reward = rollout.get(("next", group, "reward"), None)
            # Of all agents alike where the environment has one reward
            reward = rollout.get(("next", "reward")).expand(-1, len(agents)) if reward is None else reward
            of_agents.append(reward.reshape(reward.shape[0], -1).double().sum(0))
        returns.append(torch.cat(of_agents).mean())
    return torch.stack(returns).mean().item()
