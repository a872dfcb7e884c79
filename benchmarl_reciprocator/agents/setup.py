"""What an experiment was made of, as BenchMARL and this package save it beside the checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import TaskClass, task_config_registry
from benchmarl.experiment import ExperimentConfig
from benchmarl.models.common import ModelConfig
from omegaconf import OmegaConf

from benchmarl_reciprocator.extensions import is_installed, read_mapping
from benchmarl_reciprocator.plugin.benchmarl_private import read_pickled
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

TASK_FILE = "task.yaml"
# Where an experiment's configuration carries its co-players, beside BenchMARL's options
CO_PLAYERS = "co_players"


class Setup(NamedTuple):
    """What BenchMARL saves of an experiment beside its checkpoints."""

    task: TaskClass
    options: dict[str, Any]
    algorithm: AlgorithmConfig
    model: ModelConfig
    seed: int
    experiment: ExperimentConfig
    critic_model: ModelConfig


def read_setup(checkpoint: Path) -> Setup:
    """What the experiment of a checkpoint was made of.

    Raises:
        ValueError: if it is not there, or is of a task or an algorithm that is not installed.
    """
    folder = experiment_folder(checkpoint)
    config = folder / "config.pkl"
    if not config.is_file():
        raise ValueError(f"a checkpoint must be in the folder of its experiment, but there is no {config}")
    try:
        setup = Setup(**read_pickled(config))
    except (ImportError, AttributeError) as error:
        what = f"{checkpoint} is of an algorithm or a model that is not there ({error})"
        raise ValueError(f"{what}{_advice(folder)}") from error
    name = f"{setup.task.env_name()}/{setup.task.name.lower()}"
    if isinstance(setup.task, SocialDilemmaClass) and name not in task_config_registry:
        raise ValueError(f"{checkpoint} is of task={name}, which is not registered{_advice(folder)}")
    return setup


def experiment_folder(checkpoint: Path) -> Path:
    """The folder of the experiment that saved a checkpoint."""
    return checkpoint.resolve().parent.parent


def name_of_algorithm(config: type) -> str | None:
    """The name by which an algorithm's configuration class is registered, as on the command line."""
    return next((name for name, known in algorithm_config_registry.items() if known is config), None)


def algorithms_by_group(config: Any, group_map: dict[str, list[str]]) -> dict[str, str]:
    """Name of the algorithm of every group, as on the command line.

    Args:
        config (AlgorithmConfig): of the experiment.
        group_map (dict): agents' names by group.
    """
    assign = getattr(config, "assign", None)
    if assign is not None:
        return assign(group_map)
    name = name_of_algorithm(type(config)) or config.associated_class().__name__.lower()
    return dict.fromkeys(group_map, name)


def write_task_file(folder: Path, task: SocialDilemmaClass, packages: Iterable[str]) -> int:
    """Say in ``task.yaml`` what a social dilemma is, which the name alone does not: rules can change under it.

    What is there already stays: it tells what the experiment began with.

    Args:
        folder (Path): of the experiment.
        task (SocialDilemmaClass): its task.
        packages (iterable of str): names and versions of the packages that the task, the algorithms and the players
            are from.

    Returns:
        int: the version that stands there.
    """
    earlier = read_task_file(folder)
    if earlier is not None:
        return int(earlier["version"])
    cooperation = task.cooperation
    content = {
        "task": f"{task.env_name()}/{task.name.lower()}",
        "version": task.version,
        "cooperation": cooperation._asdict() if cooperation is not None else None,
        "packages": list(dict.fromkeys(packages)),
    }
    OmegaConf.save(OmegaConf.create(content), folder / TASK_FILE)
    return task.version


def read_task_file(experiment_folder: Path) -> dict[str, Any] | None:
    """What :func:`write_task_file` left in the folder of an experiment.

    Returns:
        dict: ``task`` (str, such as ``social_dilemmas/coins``), ``version`` (int), ``cooperation`` (a mapping with the
        fields of :class:`~benchmarl_reciprocator.tasks.measure.CooperationMeasure`, or ``None``) and ``packages`` (list
        of str); ``None`` where there is no such file, as in results of version 0.1.
    """
    file = experiment_folder / TASK_FILE
    if not file.is_file():
        return None
    return read_mapping(file)


def _advice(folder: Path) -> str:
    """What to install to load an experiment, as far as its folder tells."""
    packages = (read_task_file(folder) or {}).get("packages", [])
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        names = " ".join(package.partition(" ")[0] for package in missing)
        return f": it was made with {', '.join(missing)}, which must be installed: pip install {names}"
    return (
        ": install the package that it is from, or register it first (benchmarl_reciprocator.register_task, "
        "register_algorithm; register for this package's own)"
    )
