"""Evaluations and checkpoints by the frames that are really collected, and at the end of training always."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator.plugin.benchmarl_private import choose_steps, collect_without_end


def settle_frames(config: ExperimentConfig, on_policy: bool) -> bool:
    """Let a config say how many frames an iteration really collects: a multiple of the number of environments.

    BenchMARL evaluates and saves where the frames collected so far are a multiple of an interval, and counts its
    iterations by the frames that were asked for. With 8,192 frames of 100 environments it collects 8,200: the intervals
    are never hit, and a long run ends before its last iteration. The intervals and the minibatches are scaled with the
    frames, so that as many iterations are between evaluations, and as many steps of the optimiser in an iteration, as
    were asked for.

    Args:
        config (ExperimentConfig): is changed in place.
        on_policy (bool): whether the algorithm is.

    Returns:
        bool: whether anything had to be changed.
    """
    kind = "on_policy" if on_policy else "off_policy"
    asked, n_envs = config.collected_frames_per_batch(on_policy), config.n_envs_per_worker(on_policy)
    if n_envs < 1 or asked < 1 or asked % n_envs == 0:
        return False
    collected = n_envs * -(-asked // n_envs)
    setattr(config, f"{kind}_collected_frames_per_batch", collected)
    for interval in ("evaluation_interval", "checkpoint_interval"):
        iterations, rest = divmod(getattr(config, interval), asked)
        if not rest:
            setattr(config, interval, iterations * collected)
    if on_policy:
        steps = -(-asked // config.on_policy_minibatch_size)
        # Else the frames on top would be a minibatch of their own, of a handful of frames.
        if -(-collected // config.on_policy_minibatch_size) > steps:
            config.on_policy_minibatch_size = -(-collected // steps)
    return True


def settle_schedule(experiment: Experiment) -> None:
    """Let an experiment go by the frames that it collects, in a config of its own: the one that was handed in may be
    that of other experiments too.
    """
    asked = experiment.config.collected_frames_per_batch(experiment.on_policy)
    experiment.config = copy.copy(experiment.config)
    if settle_frames(experiment.config, experiment.on_policy):
        collected = experiment.config.collected_frames_per_batch(experiment.on_policy)
        kind = "on_policy" if experiment.on_policy else "off_policy"
        warnings.warn(
            f"experiment.{kind}_collected_frames_per_batch should be a multiple of experiment.{kind}_n_envs_per_worker="
            f"{experiment.config.n_envs_per_worker(experiment.on_policy)}, but is {asked}: every iteration collects "
            f"{collected} frames, and evaluations, checkpoints and minibatches go by that",
            stacklevel=2,
        )


class Schedule(Callback):
    """Lets an experiment evaluate and save in the iteration in which an interval is over, and evaluate in its last.

    BenchMARL does both only where the frames are an exact multiple of the interval: never in a run that goes on from
    another number of frames, and at the end only by chance. Where they are a multiple, nothing changes.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any

    def __init__(self) -> None:
        super().__init__()
        # What the config says, while something else stands there for one iteration.
        self.configured: dict[str, int] = {}

    def on_setup(self) -> None:
        experiment = self.experiment
        if not experiment.config.collect_with_grad:
            # BenchMARL counts iterations; the collector's count differs in a run that goes on with other batches.
            collect_without_end(experiment.collector)
        if experiment.logger.json_writer is not None:
            choose_steps(experiment.logger.json_writer, self.step_of)

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self._put_back()
        config, total = self.experiment.config, self.experiment.total_frames
        before = total - batch.numel()
        last = self.experiment.n_iters_performed + 1 == config.get_max_n_iters(self.experiment.on_policy)
        for key, at_the_end in (("evaluation_interval", True), ("checkpoint_interval", False)):
            interval = getattr(config, key)
            if interval < 1 or total % interval == 0:
                continue
            if total // interval > before // interval or (last and at_the_end):
                self.configured[key] = interval
                setattr(config, key, total)

    def on_evaluation_end(self, rollouts: list[TensorDictBase]) -> None:
        self._put_back("evaluation_interval")

    def step_of(self, steps: dict[str, Any], frames: int) -> int:
        """The number of an evaluation in the JSON: how many intervals are over, or the next where that is taken.

        Args:
            steps (dict): what is in the JSON so far, by ``step_<number>``.
            frames (int): collected until now.
        """
        interval = self.configured.get("evaluation_interval", self.experiment.config.evaluation_interval)
        step, rest = divmod(frames, interval)
        if rest == 0:
            # The end of a shorter run, which this one goes on from, may have been written here.
            if steps.get(f"step_{step}", {}).get("step_count", frames) != frames:
                del steps[f"step_{step}"]
            return step
        while steps.get(f"step_{step}", {}).get("step_count", frames) != frames:
            step += 1
        return step

    def _put_back(self, *keys: str) -> None:
        for key in keys or tuple(self.configured):
            if key in self.configured:
                setattr(self.experiment.config, key, self.configured.pop(key))
