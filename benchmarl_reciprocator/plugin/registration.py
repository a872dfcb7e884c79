"""The one file that touches registries: makes BenchMARL and Hydra know this package's names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from dataclasses import MISSING, fields
from types import ModuleType

import benchmarl
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import _task_class_registry, task_config_registry
from benchmarl.environments.common import Task
from benchmarl.experiment import Experiment
from hydra.core.config_store import ConfigStore

from benchmarl_reciprocator import algorithms, tasks
from benchmarl_reciprocator.algorithms import shipped_algorithms
from benchmarl_reciprocator.plugin.task_callback import TaskCallback, needs_joint_group
from benchmarl_reciprocator.tasks.task import (
    SocialDilemmaClass,
    SocialDilemmaTask,
    shipped_tasks,
    task_enum,
)


def register() -> None:
    """Register everything that ships. Calling it again changes nothing."""
    if "reciprocator" in algorithm_config_registry:
        return
    for name in shipped_algorithms():
        register_algorithm(importlib.import_module(f"{algorithms.__name__}.{name}"))
    modules = {
        module.name.rpartition(".")[2]: module.name
        for module in pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}.")
        if not module.ispkg
    }
    for name in shipped_tasks():
        _add_task(importlib.import_module(modules[name]), name, SocialDilemmaTask[name.upper()])
    _let_tasks_take_part_in_experiments()


def register_algorithm(module: ModuleType) -> None:
    """Register the algorithm whose configuration class ``module`` defines, under the module's name.

    Args:
        module (ModuleType): defines exactly one public subclass of BenchMARL's ``AlgorithmConfig``.

    Raises:
        ValueError: if it defines none or several.
    """
    name = module.__name__.rpartition(".")[2]
    configs = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, AlgorithmConfig)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    ]
    if len(configs) != 1:
        raise ValueError(
            f"{module.__name__} must define exactly one public AlgorithmConfig, "
            f"got {[config.__name__ for config in configs]}"
        )
    algorithm_config_registry[name] = configs[0]
    ConfigStore.instance().store(name=f"{name}_config", group="algorithm", node=configs[0])


def register_task(module: ModuleType, name: str | None = None) -> Task:
    """Register a social dilemma of the user's own.

    Args:
        module (ModuleType): defines a dataclass ``TaskConfig`` with a default for every option and the methods
            ``make_env`` and ``metrics``, as the files in ``tasks/`` do.
        name (str, optional): its name; default: the module's.

    Returns:
        Task: the enum member, for ``.get_task(config)``. From the command line the task is
        ``social_dilemmas/<name>``.

    Raises:
        ValueError: if ``TaskConfig`` is missing, has an option without a default, or the name is taken.
    """
    name = name or module.__name__.rpartition(".")[2]
    if f"{SocialDilemmaClass.env_name()}/{name}" in task_config_registry:
        raise ValueError(f"name={name!r} is taken, allowed: a name that is not in {sorted(task_config_registry)}")
    config = getattr(module, "TaskConfig", None)
    if config is None:
        raise ValueError(f"{module.__name__} must define a dataclass TaskConfig")
    for option in fields(config):
        if option.default is MISSING and option.default_factory is MISSING:
            raise ValueError(f"{module.__name__}.TaskConfig.{option.name} must have a default")
    member = task_enum(f"{name}_task", [name])[name.upper()]
    _add_task(module, name, member)
    group = f"task/{SocialDilemmaClass.env_name()}"
    ConfigStore.instance().store(name=name, group=group, node=config)
    return member


def _add_task(module: ModuleType, name: str, member: Task) -> None:
    environment = SocialDilemmaClass.env_name()
    task_config_registry[f"{environment}/{name}"] = member
    _task_class_registry[f"{environment}_{name}"] = module.TaskConfig
    ConfigStore.instance().store(name=f"{environment}_{name}_config", group="task", node=module.TaskConfig)
    # BenchMARL finds the dataclass that type-checks a task by importing this name.
    parent = f"{benchmarl.environments.__name__}.{environment}"
    sys.modules.setdefault(parent, ModuleType(parent))
    sys.modules[f"{parent}.{name}"] = module


def _let_tasks_take_part_in_experiments() -> None:
    """Let a social dilemma refuse a model, pick its grouping by the algorithm, and attach :class:`TaskCallback`,
    whatever the algorithm.

    BenchMARL takes callbacks only from whoever constructs the experiment: its commands have no option for them and a
    task cannot bring one along, yet the task's measures belong in the evaluation JSON of the stock algorithms too.
    The hook is around the step that pickles the experiment's parts: the grouping is settled before, so that it is
    saved, and the callback comes after, so that it is not saved and then added twice.
    """
    setup_name = Experiment._setup_name

    def setup_name_with_task(experiment: Experiment) -> None:
        if not isinstance(experiment.task, SocialDilemmaClass):
            setup_name(experiment)
            return
        experiment.task.check_model("model", experiment.model_config)
        if experiment.algorithm_config.has_critic:
            experiment.task.check_model("model@critic_model", experiment.critic_model_config)
        experiment.task = experiment.task.for_algorithm(needs_joint_group(experiment.algorithm_config))
        setup_name(experiment)
        callback = TaskCallback()
        callback.experiment = experiment
        experiment.callbacks = [*experiment.callbacks, callback]

    Experiment._setup_name = setup_name_with_task
