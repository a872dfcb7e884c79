"""Everything that this package uses of BenchMARL and TorchRL which they do not promise to keep.

Read off benchmarl 1.5.2 and torchrl 0.11.1. What each function counts on is checked by its test in
``tests/test_private_benchmarl.py``, which says what has changed where a new version breaks it. Nothing here knows
anything of this package: what it needs is handed in.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import benchmarl
import benchmarl.experiment.experiment as benchmarl_experiment
import benchmarl.hydra_config as benchmarl_hydra
from benchmarl.algorithms.common import Algorithm
from benchmarl.environments import _task_class_registry
from benchmarl.environments.common import _get_task_config_class
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.experiment.callback import Callback
from benchmarl.models.common import ModelConfig
from benchmarl.utils import _read_yaml_config
from omegaconf import DictConfig
from torchrl.data import Composite
from torchrl.record.loggers.csv import CSVLogger

C = TypeVar("C", bound=Callback)
# What ``Experiment._setup_name`` writes into ``config.pkl``, one pickle after the other (benchmarl 1.5.2).
PICKLED = ("task", "options", "algorithm", "model", "seed", "experiment", "critic_model", "callbacks")
# What an ``Algorithm`` keeps of its groups, made when first asked for (benchmarl 1.5.2).
NETWORKS = ("_losses_and_updaters", "_policies_for_loss", "_policies_for_collection")


def hook_into_setup(
    before: Sequence[Callable[[Experiment], None]],
    after: Sequence[Callable[[Experiment], None]],
    before_collector: Sequence[Callable[[Experiment], None]] = (),
) -> None:
    """Let functions take part in the set-up of every experiment, around the step that names it and pickles its parts.

    ``Experiment._setup`` calls ``Experiment._setup_name`` once the kind of actions is known and before the environment
    and the algorithm are made (benchmarl 1.5.2). There is no public way in: callbacks come only from whoever constructs
    the experiment, and BenchMARL's commands have no option for them.

    Args:
        before (sequence of callable): called with the experiment, in order; what they change of it is saved.
        after (sequence of callable): the same; what they change is not saved.
        before_collector (sequence of callable): called once the environments, the algorithm and its losses are made,
            before ``Experiment._setup_collector`` makes the collector of ``Experiment.env_func``.
    """
    setup_name, setup_collector = Experiment._setup_name, Experiment._setup_collector

    def hooked(experiment: Experiment) -> None:
        for job in before:
            job(experiment)
        setup_name(experiment)
        for job in after:
            job(experiment)

    def with_all_but_the_collector(experiment: Experiment) -> None:
        for job in before_collector:
            job(experiment)
        setup_collector(experiment)

    setattr(Experiment, "_setup_name", hooked)  # noqa: B010
    setattr(Experiment, "_setup_collector", with_all_but_the_collector)  # noqa: B010


def hook_into_loading(take: Callable[[ExperimentConfig, DictConfig], None]) -> None:
    """Let a function see the whole config whenever BenchMARL makes a configuration of an experiment from it.

    ``hydra_config.load_experiment_from_hydra`` hands ``cfg.experiment`` to ``load_experiment_config_from_hydra`` of the
    same module (benchmarl 1.5.2), and leaves alone what it does not know at the top level, where a key for every
    algorithm belongs. From a part of a config OmegaConf tells the whole by ``_get_root`` (omegaconf 2.3).

    Args:
        take (callable): called with the configuration and the whole config that it is a part of.
    """
    load = benchmarl_hydra.load_experiment_config_from_hydra

    def hooked(cfg: DictConfig) -> ExperimentConfig:
        config = load(cfg)
        take(config, cast("DictConfig", cfg._get_root()))
        return config

    benchmarl_hydra.load_experiment_config_from_hydra = hooked


def add_callback(experiment: Experiment, callback: Callback, before: type[Callback] | None = None) -> None:
    """Add a callback to an experiment that is being set up: its ``callbacks`` are a list, or a tuple where Hydra made
    it, and are called in order (benchmarl 1.5.2).

    Args:
        experiment (Experiment): the experiment.
        callback (Callback): is called after those that are there.
        before (type, optional): but before the first of this class.
    """
    callback.experiment = experiment
    others = list(experiment.callbacks)
    later = (index for index, other in enumerate(others) if before is not None and isinstance(other, before))
    others.insert(next(later, len(others)), callback)
    experiment.callbacks = others


def callback_of(experiment: Experiment, kind: type[C], before: type[Callback] | None = None) -> C:
    """The one callback of a class that an experiment has, which is made and added where there is none.

    Args:
        experiment (Experiment): being set up.
        kind (type): the class, whose callbacks are made of nothing.
        before (type, optional): see :func:`add_callback`.
    """
    for callback in experiment.callbacks:
        if isinstance(callback, kind):
            return callback
    callback = kind()
    add_callback(experiment, callback, before=before)
    return callback


def declare_task_options(environment: str, task: str, module: ModuleType) -> None:
    """Let BenchMARL type-check a task's options by ``module.TaskConfig``.

    It looks the dataclass up in ``environments._task_class_registry`` to tell Hydra of it, and imports
    ``benchmarl.environments.<environment>.<task>`` to check by it (benchmarl 1.5.2).
    """
    _task_class_registry[f"{environment}_{task}"] = module.TaskConfig
    parent = f"{benchmarl.environments.__name__}.{environment}"
    sys.modules.setdefault(parent, ModuleType(parent))
    sys.modules[f"{parent}.{task}"] = module


def task_options_class(environment: str, task: str) -> type | None:
    """The dataclass of a task's options, ``None`` where BenchMARL knows none: what
    ``environments.common._get_task_config_class`` gives (benchmarl 1.5.2).
    """
    return _get_task_config_class(environment, task)


def read_yaml(file: Path) -> dict[str, Any]:
    """What is in a yaml file but for its ``defaults`` list: ``utils._read_yaml_config`` (benchmarl 1.5.2)."""
    return _read_yaml_config(str(file))


def share_networks(ensemble: Algorithm, members: Iterable[Algorithm]) -> None:
    """Let members of an ensemble work on its losses and policies in place of their own: see :data:`NETWORKS`."""
    for member in members:
        for kept in NETWORKS:
            setattr(member, kept, getattr(ensemble, kept))


def hidden_state_spec(model: ModelConfig, group: str) -> Composite:
    """The spec of the hidden states of one agent of a group, empty without memory: of
    ``ModelConfig._get_model_state_spec_inner`` (benchmarl 1.5.2).
    """
    return model._get_model_state_spec_inner(group=group)


def read_pickled(file: Path) -> dict[str, Any]:
    """What BenchMARL saved of an experiment in its ``config.pkl``, by the names in :data:`PICKLED`, without the
    callbacks: those of whoever made it need not be there any more.

    Raises:
        Exception: anything that unpickling raises, such as ``ModuleNotFoundError``.
    """
    with open(file, "rb") as opened:
        return {name: pickle.load(opened) for name in PICKLED if name != "callbacks"}


def results_of(json_writer: Any) -> dict[str, Any]:
    """All that ``Logger.json_writer`` writes each time, to be added to in place: its ``data`` (benchmarl 1.5.2)."""
    return json_writer.data


def choose_steps(json_writer: Any, choose: Callable[[dict[str, Any], int], int]) -> None:
    """Choose the numbers under which ``Logger.json_writer`` writes evaluations, in place of the
    ``total_frames // evaluation_interval`` that its callers hand to ``write``, which overwrites the last evaluation by
    one that comes off the interval (benchmarl 1.5.2).

    Args:
        json_writer (JsonWriter): of an experiment.
        choose (callable): gets ``JsonWriter.run_data``, which holds what was written by ``step_<number>``, and the
            frames collected so far; gives the number.
    """
    write = json_writer.write

    def chosen(total_frames: int, metrics: dict[str, Any], evaluation_step: int) -> None:
        write(total_frames=total_frames, metrics=metrics, evaluation_step=choose(json_writer.run_data, total_frames))

    json_writer.write = chosen


def collect_without_end(collector: Any) -> None:
    """Let a collector yield as often as it is asked: its ``total_frames`` (torchrl 0.11.1)."""
    collector.total_frames = float("inf")


def drop_videos(logger: Any) -> None:
    """Let a TorchRL logger take videos without doing anything with them: its ``log_video`` (torchrl 0.11.1)."""
    logger.log_video = lambda *_, **__: None


def encodes_videos(logger: Any) -> bool:
    """Whether TorchRL's csv logger encodes videos as mp4, its ``video_format`` (torchrl 0.11.1)."""
    return isinstance(logger, CSVLogger) and logger.video_format == "mp4"


def keep_videos_as_tensors(logger: CSVLogger) -> None:
    """Let TorchRL's csv logger save videos as ``.pt``: its ``experiment.video_format`` (torchrl 0.11.1)."""
    logger.experiment.video_format = "pt"


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Let experiments that run in here draw no progress bar, where several run under one of this package's.

    The training loop draws it by the name ``tqdm`` of ``experiment.experiment`` (benchmarl 1.5.2). The variable
    ``TQDM_DISABLE`` is no way around that, since tqdm reads it once, when it is imported, for the whole process.
    """
    shown = benchmarl_experiment.tqdm
    benchmarl_experiment.tqdm = partial(shown, disable=True)
    try:
        yield
    finally:
        benchmarl_experiment.tqdm = shown
