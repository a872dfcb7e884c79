"""What every experiment on a social dilemma does besides training, whatever its algorithm."""

from __future__ import annotations

import json
import warnings
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from benchmarl.algorithms import QmixConfig, VdnConfig, algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase

from benchmarl_reciprocator.agents.setup import algorithms_by_group, write_task_file
from benchmarl_reciprocator.extensions import declared, own_package, package_of, provider_of
from benchmarl_reciprocator.plugin.benchmarl_private import (
    drop_videos,
    encodes_videos,
    keep_videos_as_tensors,
    results_of,
)
from benchmarl_reciprocator.tasks.environment import game_in


class GroupingWarning(UserWarning):
    """The grouping or sharing of parameters makes an algorithm something else than its name says."""


class TaskCallback(Callback):
    """Writes the task's measures into the evaluation JSON and logs, says in ``task.yaml`` what the task is, warns of a
    grouping that defeats the algorithm, and evaluates without reward noise.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any

    def on_setup(self) -> None:
        self._leave_task_file()
        self._warn_of_defeated_algorithm()
        self._save_videos_as_can_be()
        self._keep_earlier_results()
        self._evaluate_without_reward_noise()

    @cached_property
    def _bounds(self) -> dict[str, float]:
        """Played out when first asked for: an experiment that does not evaluate needs none."""
        return self.experiment.task.bounds()

    def on_evaluation_end(self, rollouts: list[TensorDictBase]) -> None:
        experiment = self.experiment
        metrics = experiment.task.evaluation_metrics(rollouts)
        metrics.update({key: torch.full((len(rollouts),), value) for key, value in self._bounds.items()})
        experiment.logger.log(
            {f"eval/{key}": value.nanmean().item() for key, value in metrics.items()},
            step=experiment.n_iters_performed,
        )
        if experiment.logger.json_writer is not None:
            experiment.logger.json_writer.write(
                metrics=metrics,
                total_frames=experiment.total_frames,
                evaluation_step=experiment.total_frames // experiment.config.evaluation_interval,
            )

    def _leave_task_file(self) -> None:
        experiment = self.experiment
        task, config = experiment.task, experiment.algorithm_config
        names = algorithms_by_group(config, experiment.group_map).values()
        providers = [
            own_package(),
            provider_of(type(task.options).__module__),
            provider_of(type(config).__module__),
            *map(_provider_of_name, names),
        ]
        version = write_task_file(experiment.folder_name, task, [name for name in providers if name is not None])
        if version != task.version:
            warnings.warn(
                f"{experiment.folder_name} was begun with version {version} of task={task.name.lower()}, and goes on "
                f"with version {task.version}: its results are neither's",
                stacklevel=2,
            )

    def _warn_of_defeated_algorithm(self) -> None:
        experiment = self.experiment
        config = experiment.algorithm_config
        lonely = all(len(agents) == 1 for agents in experiment.group_map.values())
        if lonely and needs_joint_group(config):
            warnings.warn(
                f"algorithm={experiment.algorithm_name} pools the agents of a group, but task.grouping="
                f"{experiment.task.config.get('grouping')!r} gives every agent a group of its own: the run trains "
                "independent learners, not what its name says. Set task.grouping=one_group, or use +preset=<task>, "
                "which picks the grouping by algorithm.",
                GroupingWarning,
                stacklevel=2,
            )
        if not lonely and config.has_centralized_critic() and getattr(config, "share_param_critic", False):
            warnings.warn(
                f"algorithm={experiment.algorithm_name} with algorithm.share_param_critic=True has one value for all "
                "agents of a group, but their rewards differ: each is trained on the others' advantages. Set "
                "algorithm.share_param_critic=False.",
                GroupingWarning,
                stacklevel=2,
            )

    def _save_videos_as_can_be(self) -> None:
        """Let loggers do with evaluation videos what they can, and say so: one that cannot encode them would end the
        run at its first evaluation. TorchRL's csv logger keeps them as tensors, others leave them out.
        """
        experiment = self.experiment
        if not (experiment.config.render and experiment.task.has_render(experiment.test_env)):
            return
        reason = _why_no_mp4()
        without: dict[str, str] = {}
        for logger in experiment.logger.loggers:
            if encodes_videos(logger) and reason:
                keep_videos_as_tensors(logger)
                warnings.warn(
                    "evaluation videos are saved as tensors (.pt), since mp4 needs torchvision with write_video and av "
                    f"({reason}). A GIF: benchmarl-reciprocator animate <checkpoint> <file.gif>",
                    stacklevel=2,
                )
            needs = _what_videos_lack(type(logger).__name__, reason)
            if needs is not None:
                drop_videos(logger)
                without[type(logger).__name__] = needs
        if without:
            lacking = ", ".join(f"{name} needs {needs}" for name, needs in without.items())
            warnings.warn(
                f"experiment.render=true, but evaluation videos are left out where they cannot be encoded: {lacking}. "
                "Install it, or set experiment.render=false",
                stacklevel=2,
            )
        if len(without) == len(experiment.logger.loggers):
            # Nobody would see what is drawn.
            experiment.config.render = False

    def _evaluate_without_reward_noise(self) -> None:
        """Nobody sees rewards, so that agents play the same without, and their scores are those of the game."""
        game = game_in(self.experiment.test_env)
        if game is not None:
            game.reward_noise = 0.0

    def _keep_earlier_results(self) -> None:
        """Go on with the JSON of a resumed run, which BenchMARL would start anew: with what it holds of the same task
        and algorithm.
        """
        writer = self.experiment.logger.json_writer
        if self.experiment.config.restore_file is None or writer is None:
            return
        try:
            with open(writer.path) as file:
                earlier = json.load(file)
            _merge_into(results_of(writer), earlier)
        except FileNotFoundError:
            return
        except json.JSONDecodeError as error:
            kept = Path(writer.path).with_suffix(".unreadable")
            Path(writer.path).rename(kept)
            warnings.warn(
                f"{writer.path} holds no readable earlier results ({error!r}): kept as {kept.name}, written anew",
                stacklevel=2,
            )


def _provider_of_name(name: str) -> str | None:
    """Name and version of the package of an algorithm or, else, of a player, as far as another package declares it."""
    if name in algorithm_config_registry:
        return provider_of(algorithm_config_registry[name].__module__)
    entry = declared("players").get(name)
    return package_of(entry) if entry is not None else None


def _why_no_mp4() -> str | None:
    """Why TorchRL's csv logger cannot encode a video, if so."""
    try:
        import av  # noqa: F401
        from torchvision.io import write_video  # type: ignore[import-untyped]  # noqa: F401
    except Exception as error:  # a torchvision built for another torch fails by all kinds of errors
        return repr(error)
    return None


def _what_videos_lack(logger: str, why_no_mp4: str | None) -> str | None:
    """What a logger of TorchRL's, by the name of its class, needs for videos that is not installed (torchrl 0.11.1)."""
    if logger in ("WandbLogger", "TensorboardLogger"):
        return "moviepy" if find_spec("moviepy") is None else None
    return f"torchvision with write_video and av ({why_no_mp4})" if logger == "MLFlowLogger" and why_no_mp4 else None


def _merge_into(ours: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Add what ``earlier`` holds of the seeds of our task and algorithm, and ``ours`` does not."""
    for environment, tasks in ours.items():
        for task, algorithms in tasks.items():
            for algorithm, seeds in algorithms.items():
                _add_missing(seeds, earlier.get(environment, {}).get(task, {}).get(algorithm, {}))


def _add_missing(ours: dict[str, Any], earlier: dict[str, Any]) -> None:
    for key, value in earlier.items():
        if isinstance(value, dict) and isinstance(ours.get(key), dict):
            _add_missing(ours[key], value)
        else:
            ours.setdefault(key, value)


def needs_joint_group(config: AlgorithmConfig) -> bool:
    """Whether the algorithm's critic or mixer pools the agents of a group, or they have one policy."""
    pools = config.has_centralized_critic() or isinstance(config, (QmixConfig, VdnConfig))
    return pools or getattr(config, "share_policy", False)
