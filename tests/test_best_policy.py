"""The policy that did best is kept: a small file, of the first best evaluation, right after a run was ended too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict, TensorDictBase

from benchmarl_reciprocator.plugin.best_policy import (
    BestPolicy,
    best_policies,
    frames_of,
    keep_the_last_alone,
    mean_return,
    return_of,
)

SHORT = ("task.max_steps=8", "experiment.evaluation_episodes=2")


class GivenReturns(Callback):
    """Lets evaluations come out as a test says, by frames; none of the others is better."""

    def __init__(self, by_iteration: dict[int, float]) -> None:
        super().__init__()
        self.by_iteration = by_iteration

    def on_evaluation_end(self, rollouts: list[TensorDictBase]) -> None:
        given = self.by_iteration.get(self.experiment.n_iters_performed, -1e6)
        for rollout in rollouts:
            for group in self.experiment.group_map:
                rollout["next", group, "reward"].fill_(given)


def frames_kept(experiment: Experiment) -> list[int]:
    return [frames_of(file) for file in best_policies(Path(experiment.folder_name))]


def run_with(small_experiment, returns: dict[int, float], *overrides: str) -> Experiment:
    experiment = small_experiment("algorithm=ippo", *SHORT, *overrides, callbacks=[GivenReturns(returns)])
    experiment.run()
    return experiment


def test_return_is_the_mean_of_episodes_and_agents() -> None:
    episodes = [
        TensorDict(
            {"next": {"a": {"reward": torch.tensor([[[1.0], [2.0]]])}, "b": {"reward": torch.ones(1, 1, 1)}}}, [1]
        ),
        TensorDict({"next": {"a": {"reward": torch.full((3, 2, 1), 4.0)}, "b": {"reward": torch.zeros(3, 1, 1)}}}, [3]),
    ]
    groups = {"a": ["a_0", "a_1"], "b": ["b_0"]}
    assert mean_return(episodes, groups) == pytest.approx(((1 + 2 + 1) / 3 + (12 + 12 + 0) / 3) / 2)
    shared = [TensorDict({"next": {"reward": torch.tensor([[1.0], [2.0]])}}, [2])]
    assert mean_return(shared, groups) == pytest.approx(3)


def test_the_first_best_is_kept_without_buffers(small_experiment) -> None:
    options = ("experiment.max_n_iters=4", "experiment.checkpoint_at_end=true")
    experiment = run_with(small_experiment, {0: 1, 1: 3, 2: 3, 3: 2}, *options)
    assert frames_kept(experiment) == [512]
    (best,) = best_policies(Path(experiment.folder_name))
    assert return_of(best) == 3 * 8
    saved = torch.load(best, weights_only=True)
    assert saved["state"]["total_frames"] == 512
    assert not experiment.config.exclude_buffer_from_checkpoint
    assert all(value is None for key, value in saved.items() if key.startswith("buffer_"))


def test_nothing_is_kept_where_no_checkpoints_are(small_experiment) -> None:
    assert frames_kept(run_with(small_experiment, {0: 1})) == []


def test_what_came_after_the_checkpoint_of_a_killed_run_did_not_happen(small_experiment) -> None:
    options = ("experiment.max_n_iters=5", "experiment.checkpoint_interval=768")
    first = run_with(small_experiment, {0: 1, 1: 2, 3: 3, 4: 4}, *options)
    # Up to the checkpoint at frame 768 the best, and all later ones
    assert frames_kept(first) == [512, 1024, 1280]
    again = Experiment.reload_from_file(str(Path(first.folder_name) / "checkpoints" / "checkpoint_768.pt"))
    callback = next(one for one in again.callbacks if isinstance(one, GivenReturns))
    # Evaluated, but not trained
    again.evaluate()
    assert frames_kept(again) == [512, 1024, 1280]
    callback.by_iteration = {3: 1.5, 4: 2.5}
    again.run()
    assert frames_kept(again) == [512, 1280]
    assert [return_of(file) for file in best_policies(Path(again.folder_name))] == [2 * 8, 2.5 * 8]
    keep_the_last_alone(Path(again.folder_name))
    assert frames_kept(again) == [1280]
    assert sum(isinstance(one, BestPolicy) for one in again.callbacks) == 1
