"""Makes BenchMARL and Hydra know the names of this package, and those that other installed packages declare."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import warnings
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from benchmarl.environments import task_config_registry
from benchmarl.environments.common import Task
from benchmarl.experiment import Experiment
from hydra.core.config_store import ConfigStore

from benchmarl_reciprocator import algorithms, tasks
from benchmarl_reciprocator.algorithms import shipped_algorithms
from benchmarl_reciprocator.algorithms.yaml import GROUP, inherits_from, refuse_wrong_options, yaml_of
from benchmarl_reciprocator.extensions import (
    ExtensionWarning,
    NameTakenError,
    clashing_yaml_files,
    declared,
    find_yaml,
    load,
    package_of,
    provider_of,
    read_mapping,
    warn_of,
)
from benchmarl_reciprocator.plugin.benchmarl_private import (
    add_callback,
    declare_task_options,
    hook_into_loading,
    hook_into_setup,
)
from benchmarl_reciprocator.plugin.best_policy import BestPolicy
from benchmarl_reciprocator.plugin.checks import (
    refuse_another_checkpoint,
    refuse_evaluation_that_never_comes,
    refuse_missing_devices,
    refuse_missing_loggers,
)
from benchmarl_reciprocator.plugin.co_players import seat_co_players, take_co_players
from benchmarl_reciprocator.plugin.schedule import Schedule, settle_schedule
from benchmarl_reciprocator.plugin.task_callback import TaskCallback, needs_joint_group
from benchmarl_reciprocator.tasks.task import (
    SocialDilemmaClass,
    SocialDilemmaTask,
    shipped_tasks,
    task_enum,
)

ENVIRONMENT = SocialDilemmaClass.env_name()
TASK_GROUP = f"task/{ENVIRONMENT}"


class _Progress:
    """How far registration is in this process."""

    underway = False
    # Whether nothing is left to do.
    complete = False
    shipped = False
    # Entry points that were registered or told of, by group and name.
    seen: set[tuple[str, str]] = set()  # noqa: RUF012


def register() -> None:
    """Register all that ships, and all that installed packages declare. Calling it again changes nothing.

    Raises:
        NameTakenError: if another package has registered one of the names first.
    """
    # Loading what is registered can lead back here.
    if _Progress.complete or _Progress.underway:
        return
    _Progress.underway = True
    try:
        if not _Progress.shipped:
            _register_what_ships()
            _Progress.shipped = True
        _Progress.complete = _register_what_is_declared()
    finally:
        _Progress.underway = False


def register_algorithm(module: ModuleType, name: str | None = None) -> type[AlgorithmConfig]:
    """Register the algorithm whose configuration class a module defines: ``algorithm=<name>`` on the command line.

    Its options come from ``algorithm/<name>.yaml`` in a package's folder of yaml files, else from ``<name>.yaml``
    beside the module, else from the algorithm that it derives from and the dataclass's defaults.

    Args:
        module (ModuleType): defines exactly one public subclass of BenchMARL's ``AlgorithmConfig``.
        name (str, optional): its name; default: the module's.

    Returns:
        type[AlgorithmConfig]: the configuration class.

    Raises:
        NameTakenError: if the name is another algorithm's or player's.
        ValueError: if the module defines no such class or several, or if an option has no value.
    """
    name = _checked(name or module.__name__.rpartition(".")[2])
    configs = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, AlgorithmConfig)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    ]
    if len(configs) != 1:
        listed = ", ".join(config.__name__ for config in configs) or "none"
        raise ValueError(f"{module.__name__} must define exactly one public AlgorithmConfig, but defines {listed}")
    (config,) = configs
    _refuse_taken_algorithm(name, config)
    options = _options_without_yaml_folder(config, name)
    algorithm_config_registry[name] = config
    ConfigStore.instance().store(name=f"{name}_config", group=GROUP, node=config)
    if options is not None:
        ConfigStore.instance().store(name=name, group=GROUP, node=options)
    return config


def register_task(module: ModuleType, name: str | None = None) -> Task:
    """Register a social dilemma: ``task=social_dilemmas/<name>`` on the command line.

    Its options come from ``task/social_dilemmas/<name>.yaml`` in a package's folder of yaml files, else from
    ``<name>.yaml`` beside the module, else from the dataclass's defaults.

    Args:
        module (ModuleType): defines a dataclass ``TaskConfig`` with the methods ``make_env`` and ``metrics``, as the
            files in ``tasks/`` do.
        name (str, optional): its name; default: the module's.

    Returns:
        Task: the enum member, for ``.get_task(config)``.

    Raises:
        NameTakenError: if there is a task of that name.
        ValueError: if ``TaskConfig`` is missing, lacks a method, or has an option without a value.
    """
    name = _checked(name or module.__name__.rpartition(".")[2])
    if f"{ENVIRONMENT}/{name}" in task_config_registry:
        ours = [known for known in task_config_registry if known.startswith(f"{ENVIRONMENT}/")]
        raise NameTakenError(f"a task must have a name of its own, but {name!r} is one of {_listed(ours)}")
    config = getattr(module, "TaskConfig", None)
    if not (inspect.isclass(config) and is_dataclass(config)):
        raise ValueError(f"{module.__name__} must define a dataclass TaskConfig")
    for method in ("make_env", "metrics"):
        if not callable(getattr(config, method, None)):
            raise ValueError(f"{module.__name__}.TaskConfig must have a method {method}")
    file = find_yaml(TASK_GROUP, name, config.__module__)
    given = set(read_mapping(file)) - {"defaults"} if file is not None else set()
    refuse_wrong_options(config, given, f"{module.__name__}.TaskConfig", file)
    member = task_enum(f"{name}_task", [name])[name.upper()]
    _add_task(module, name, member)
    if find_yaml(TASK_GROUP, name) is None:
        node = config if file is None else _with_defaults(file, f"{ENVIRONMENT}_{name}_config")
        ConfigStore.instance().store(name=name, group=TASK_GROUP, node=node)
    return member


def _register_what_ships() -> None:
    for name in shipped_algorithms():
        register_algorithm(importlib.import_module(f"{algorithms.__name__}.{name}"))
    modules = {
        module.name.rpartition(".")[2]: module.name
        for module in pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}.")
        if not module.ispkg
    }
    for name in shipped_tasks():
        _add_task(importlib.import_module(modules[name]), name, SocialDilemmaTask[name.upper()])
    hook_into_setup(
        before=(refuse_missing_loggers, _refuse_what_would_fail, _settle_the_grouping, _settle_the_schedule),
        after=(_attach_callbacks,),
        before_collector=(seat_co_players,),
    )
    hook_into_loading(take_co_players)


def _register_what_is_declared() -> bool:
    """Register what entry points name. Returns whether nothing is left for later."""
    left = False
    for group, register_one in (("algorithms", register_algorithm), ("tasks", register_task)):
        for name, entry in declared(group).items():
            if (group, name) in _Progress.seen:
                continue
            if _is_being_imported(entry):
                left = True
                continue
            module = load(entry)
            try:
                if module is not None:
                    register_one(module, name)
            except NameTakenError as error:
                raise NameTakenError(f"{package_of(entry)}: {error}") from error
            except Exception as error:  # what others wrote can be anything
                warn_of(entry, error)
            _Progress.seen.add((group, name))
    for name, entry in declared("players").items():
        if name in algorithm_config_registry:
            raise NameTakenError(
                f"a player must have a name that no algorithm has, but {name!r} of {package_of(entry)} is one of "
                f"{_listed(algorithm_config_registry)}"
            )
    for clash in clashing_yaml_files() if not left else ():
        warnings.warn(clash, ExtensionWarning, stacklevel=3)
    return not left


def _is_being_imported(entry: EntryPoint) -> bool:
    """Whether the module of an entry point, or a package that it is in, is being imported now: what it defines is not
    there yet, and registering waits for the next call.
    """
    parts = entry.module.split(".")
    names = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return any(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False) for name in names)


def _checked(name: str) -> str:
    if not (name.isidentifier() and name == name.lower()):
        raise ValueError(f"a name must be in lower case, of letters, digits and underscores, but is {name!r}")
    return name


def _refuse_taken_algorithm(name: str, config: type[AlgorithmConfig]) -> None:
    known = algorithm_config_registry.get(name, config)
    # The same class defined anew, as in a notebook, is the same algorithm.
    if (known.__module__, known.__qualname__) != (config.__module__, config.__qualname__):
        raise NameTakenError(
            f"an algorithm must have a name of its own, but {name!r} of {config.__module__} is that of "
            f"{known.__module__} ({provider_of(known.__module__) or 'of no package'}) already"
        )
    if name in declared("players"):
        raise NameTakenError(
            f"an algorithm must have a name that no player has, but {name!r} is a player of "
            f"{package_of(declared('players')[name])}"
        )


def _options_without_yaml_folder(config: type[AlgorithmConfig], name: str) -> dict[str, Any] | None:
    """What Hydra is to take for ``algorithm=<name>``; ``None`` where it finds a yaml file by itself.

    Raises:
        ValueError: if an option would have no value.
    """
    if find_yaml(GROUP, name) is not None:
        return None
    file = yaml_of(config, name)
    if file is not None:
        return _with_defaults(file, f"{name}_config")
    parent = inherits_from(config)
    inherited = {field.name for field in fields(algorithm_config_registry[parent])} if parent is not None else set()
    refuse_wrong_options(config, inherited, f"{config.__module__}.{config.__name__}")
    return {"defaults": [*([parent] if parent is not None else []), f"{name}_config", "_self_"]}


def _with_defaults(file: Path, schema: str) -> dict[str, Any]:
    """A yaml file's content, checked by the dataclass ``schema`` where its defaults list does not say so."""
    return {"defaults": [schema, "_self_"], **read_mapping(file)}


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _add_task(module: ModuleType, name: str, member: Task) -> None:
    task_config_registry[f"{ENVIRONMENT}/{name}"] = member
    declare_task_options(ENVIRONMENT, name, module)
    ConfigStore.instance().store(name=f"{ENVIRONMENT}_{name}_config", group="task", node=module.TaskConfig)


def _refuse_what_would_fail(experiment: Experiment) -> None:
    """Raise if a device is not there, or, with a social dilemma, if a model cannot take what its agents observe, or the
    experiment could not go on or evaluate.
    """
    refuse_missing_devices(experiment.config)
    if isinstance(experiment.task, SocialDilemmaClass):
        experiment.task.check_model("model", experiment.model_config)
        if experiment.algorithm_config.has_critic():
            experiment.task.check_model("model@critic_model", experiment.critic_model_config)
        refuse_evaluation_that_never_comes(experiment)


def _settle_the_grouping(experiment: Experiment) -> None:
    """Pick a social dilemma's grouping by the algorithm where it is left to it, before it is saved."""
    if isinstance(experiment.task, SocialDilemmaClass):
        experiment.task = experiment.task.for_algorithm(needs_joint_group(experiment.algorithm_config))
        refuse_another_checkpoint(experiment)


def _settle_the_schedule(experiment: Experiment) -> None:
    """Let experiments on social dilemmas, and those that ask for a :class:`Schedule`, go by the frames that they
    collect.
    """
    if isinstance(experiment.task, SocialDilemmaClass) or _has_schedule(experiment):
        settle_schedule(experiment)


def _attach_callbacks(experiment: Experiment) -> None:
    """Attach :class:`TaskCallback` and :class:`Schedule` to experiments on social dilemmas, whatever the algorithm: the
    task's measures belong in the evaluation JSON of the stock algorithms too. To these, and to all that ask for a
    :class:`Schedule`, a :class:`BestPolicy`. After the callbacks were saved, else they would come twice.
    """
    if isinstance(experiment.task, SocialDilemmaClass):
        add_callback(experiment, TaskCallback())
        if not _has_schedule(experiment):
            add_callback(experiment, Schedule())
    if _has_schedule(experiment):
        add_callback(experiment, BestPolicy())


def _has_schedule(experiment: Experiment) -> bool:
    return any(isinstance(callback, Schedule) for callback in experiment.callbacks)
