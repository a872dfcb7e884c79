"""The one file that touches registries: makes BenchMARL and Hydra know this package's names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import MISSING, fields
from types import ModuleType

from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import task_config_registry
from benchmarl.environments.common import Task
from benchmarl.experiment import Experiment
from hydra.core.config_store import ConfigStore

from benchmarl_reciprocator import algorithms, tasks
from benchmarl_reciprocator.algorithms import shipped_algorithms
from benchmarl_reciprocator.plugin.benchmarl_private import add_callback, declare_task_options, hook_into_setup
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
    hook_into_setup(before=(_refuse_a_model, _settle_the_grouping), after=(_attach_callback,))


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
    declare_task_options(environment, name, module)
    ConfigStore.instance().store(name=f"{environment}_{name}_config", group="task", node=module.TaskConfig)


def _refuse_a_model(experiment: Experiment) -> None:
    """Raise if a model cannot take what the agents of a social dilemma observe."""
    if isinstance(experiment.task, SocialDilemmaClass):
        experiment.task.check_model("model", experiment.model_config)
        if experiment.algorithm_config.has_critic:
            experiment.task.check_model("model@critic_model", experiment.critic_model_config)


def _settle_the_grouping(experiment: Experiment) -> None:
    """Pick a social dilemma's grouping by the algorithm where it is left to it, before it is saved."""
    if isinstance(experiment.task, SocialDilemmaClass):
        experiment.task = experiment.task.for_algorithm(needs_joint_group(experiment.algorithm_config))


def _attach_callback(experiment: Experiment) -> None:
    """Attach :class:`TaskCallback` to experiments on social dilemmas, whatever the algorithm: the task's measures
    belong in the evaluation JSON of the stock algorithms too. After the callbacks were saved, else it would come twice.
    """
    if isinstance(experiment.task, SocialDilemmaClass):
        add_callback(experiment, TaskCallback())
