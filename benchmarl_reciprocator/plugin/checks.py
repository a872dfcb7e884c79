"""What is refused before an experiment begins, since it would end it later, or make its results another's."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import TaskClass
from benchmarl.experiment import Experiment, ExperimentConfig

from benchmarl_reciprocator.agents.devices import check_device, on_device
from benchmarl_reciprocator.agents.setup import algorithms_by_group, name_of_algorithm, read_setup
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Loggers that BenchMARL knows by name and does not install, with the module that each needs.
MODULES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow", "trackio": "trackio"}


def refuse_missing_loggers(experiment: Experiment) -> None:
    """Raise if a logger is not installed: BenchMARL's own default has one that it does not install, and says of it that
    it "could not be imported", once everything else is set up.

    Raises:
        ValueError: naming the option.
    """
    missing = [name for name in experiment.config.loggers if name in MODULES and find_spec(MODULES[name]) is None]
    if missing:
        left = [str(name) for name in experiment.config.loggers if name not in missing]
        raise ValueError(
            f"experiment.loggers must be of loggers that are installed, but {', '.join(missing)} is not: set "
            f"experiment.loggers=[{','.join(left)}], or pip install {' '.join(MODULES[name] for name in missing)}"
        )


def refuse_missing_devices(config: ExperimentConfig) -> None:
    """Raise if an experiment is to be on a device that this machine lacks, as after loading one of another machine.

    Raises:
        ValueError: naming the option.
    """
    for key in on_device("cpu"):
        device = str(getattr(config, key))
        # BenchMARL's own name for buffers that are kept in files.
        if device != "disk":
            check_device(f"experiment.{key}", device)


def refuse_evaluation_that_never_comes(experiment: Experiment) -> None:
    """Raise if evaluation is on and its interval is none: BenchMARL would divide by it after the first iteration.

    Raises:
        ValueError: naming the option.
    """
    config = experiment.config
    if config.evaluation and config.evaluation_interval < 1:
        raise ValueError(f"experiment.evaluation_interval must be an integer >= 1, but is {config.evaluation_interval}")


def refuse_another_checkpoint(experiment: Experiment) -> None:
    """Raise if the checkpoint that an experiment is to go on from is of another task or algorithm, or of other groups:
    it would be loaded as far as its networks fit, and its results be taken for those of this experiment.

    Args:
        experiment (Experiment): on a social dilemma whose grouping is settled.

    Raises:
        ValueError: naming what both are of.
    """
    if experiment.config.restore_file is None:
        return
    file = Path(experiment.config.restore_file)
    if not file.is_file():
        raise ValueError(f"experiment.restore_file must be a checkpoint, but there is no {str(file)!r}")
    if not (file.resolve().parent.parent / "config.pkl").is_file():
        warnings.warn(f"{file} does not tell which task and algorithm it is of: it is taken as it is", stacklevel=2)
        return
    setup = read_setup(file)
    # Social dilemmas where it matters: the names are compared first, and the groups only of the same task.
    ours: Any = experiment.task
    theirs: Any = setup.task
    if isinstance(theirs, SocialDilemmaClass):
        theirs = SocialDilemmaClass(name=theirs.name, config=setup.options)
    for describe in (_names, _groups):
        here = describe(ours, experiment.algorithm_config)
        there = describe(theirs, setup.algorithm)
        if here != there:
            raise ValueError(f"experiment.restore_file must be a checkpoint of {here}, but {str(file)!r} is of {there}")
    now = experiment.task.config
    others = [key for key, value in setup.options.items() if key in now and now[key] != value]
    if others:
        was = ", ".join(f"task.{key}={setup.options[key]!r}" for key in others)
        to_be = ", ".join(f"task.{key}={now[key]!r}" for key in others)
        warnings.warn(f"{file} was trained with {was}, and goes on with {to_be}", stacklevel=2)


def _names(task: TaskClass, algorithm: AlgorithmConfig) -> str:
    """As on the command line."""
    name = name_of_algorithm(type(algorithm)) or algorithm.associated_class().__name__.lower()
    return f"task={task.env_name()}/{task.name.lower()} and algorithm={name}"


def _groups(task: SocialDilemmaClass, algorithm: AlgorithmConfig) -> str:
    """What every group of a social dilemma learns by."""
    group_map = task.options.make_env(1, "cpu", seed=0).group_map
    members = algorithms_by_group(algorithm, group_map)
    return "groups " + ", ".join(f"{group} ({len(on)} x {members[group]})" for group, on in group_map.items())
