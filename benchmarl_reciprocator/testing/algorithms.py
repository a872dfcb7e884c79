"""Checks of algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any

import torch
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig

from benchmarl_reciprocator.agents.play import play
from benchmarl_reciprocator.agents.trained import Team, load_checkpoint
from benchmarl_reciprocator.algorithms.not_trained import NotTrainedConfig
from benchmarl_reciprocator.plugin.registration import register, register_algorithm
from benchmarl_reciprocator.testing.experiments import (
    checkpoint_of,
    overrides_for,
    require,
    small_experiment,
    task_of,
    telling,
    temporary_folder,
)

NOT_OURS = ("experiment=social_dilemmas", "task=vmas/simple_tag", "task.max_steps=32")


def check_algorithm(
    algorithm: str | ModuleType, task: str = "prisoners_dilemma", overrides: Sequence[str] = ()
) -> None:
    """Check that an algorithm does all that this package and BenchMARL expect of one.

    Its yaml and its dataclass agree; on a social dilemma it trains, checkpoints, reloads with what it learned,
    evaluates and can be seated; it trains in a mixed population, and on a task that is none of this package's.

    Args:
        algorithm (str or module): its name, or the module that defines its configuration, which is registered if it is
            not yet.
        task (str): name of the social dilemma.
        overrides (sequence of str): further options that it needs, ``"algorithm.<option>=<value>"``.

    Raises:
        AssertionError: with what is to be mended.
    """
    register()
    name = algorithm if isinstance(algorithm, str) else algorithm.__name__.rpartition(".")[2]
    with telling(f"algorithm {name}"):
        if isinstance(algorithm, ModuleType) and name not in algorithm_config_registry:
            register_algorithm(algorithm)
        known: dict[str, Any] = algorithm_config_registry
        require(name in known, f"it must be registered as one of {', '.join(sorted(known))}")
        config = known[name].get_from_yaml()
        _check_options(config)
        chosen = [f"algorithm={name}", *overrides]
        if config.supports_discrete_actions():
            game = overrides_for(task_of(task))
            _check_life(config, [*game, *chosen])
            if name not in ("mixed", "scripted"):
                _check_mixed(config, name, game)
        if not isinstance(config, NotTrainedConfig):
            _check_elsewhere(config, [*NOT_OURS, *chosen, *(["algorithm.n_focal=3"] if name == "mixed" else [])])


def _check_options(config: AlgorithmConfig) -> None:
    names = {field.name for field in fields(type(config))}
    require(
        set(vars(config)) == names,
        f"yaml and dataclass must have the same options, but differ in {', '.join(sorted(set(vars(config)) ^ names))}",
    )
    for option, value in vars(config).items():
        require(value != "???", f"algorithm.{option} must have a value in its yaml or a default in its dataclass")


def _check_life(config: AlgorithmConfig, overrides: Sequence[str]) -> None:
    with telling("on a social dilemma"), temporary_folder() as folder:
        experiment = small_experiment(folder, overrides)
        composed = experiment.algorithm_config
        require(
            type(composed) is type(config),
            f"algorithm=<name> on the command line must make a {type(config).__name__}, but makes a "
            f"{type(composed).__name__}: begin the yaml with 'defaults: [<name>_config, _self_]'",
        )
        experiment.run()
        checkpoint = checkpoint_of(experiment)
        with telling("reloading a checkpoint"):
            reloaded = load_checkpoint(checkpoint, with_buffers=True)
        require(reloaded.total_frames == experiment.total_frames, "a reloaded checkpoint must go on where it was")
        for group, loss in experiment.losses.items():
            after = reloaded.losses[group].state_dict()
            for key, value in loss.state_dict().items():
                require(
                    not torch.is_tensor(value) or torch.equal(after[key], value),
                    f"a reloaded checkpoint must have the networks that were saved, but {key} of {group} differs",
                )
        with telling("agents of its checkpoint in seats of the game"):
            task: Any = reloaded.task
            play(task.options.make_env(num_envs=4, device="cpu", seed=0), Team(reloaded).agents())


def _check_mixed(config: AlgorithmConfig, name: str, game: Sequence[str]) -> None:
    other = "ippo" if config.on_policy() else "iql"
    with telling(f"in a mixed population with {other}"), temporary_folder() as folder:
        population = ["algorithm=mixed", f"algorithm.focal={name}", f"algorithm.others={other}"]
        # With one group for each agent: an algorithm that pools agents is then alone in its group.
        experiment = small_experiment(folder, [*game, *population, "task.grouping=per_agent"])
        experiment.run()
        mixed: Any = experiment.algorithm
        require(
            all(
                loss is mixed.algorithms_map[group].get_loss_and_updater(group)[0]
                for group, loss in experiment.losses.items()
            ),
            "it must work on the losses that are optimised, by get_loss_and_updater of Algorithm",
        )


def _check_elsewhere(config: AlgorithmConfig, overrides: Sequence[str]) -> None:
    kinds = {True: config.supports_continuous_actions(), False: config.supports_discrete_actions()}
    for continuous in (kind for kind, supported in kinds.items() if supported):
        actions = "continuous" if continuous else "discrete"
        with telling(f"on vmas/simple_tag with {actions} actions"), temporary_folder() as folder:
            wanted = f"experiment.prefer_continuous_actions={continuous}"
            experiment = small_experiment(folder, [*overrides, wanted])
            experiment.run()
            require(experiment.continuous_actions == continuous, f"it must act by {actions} actions, as it says it can")
