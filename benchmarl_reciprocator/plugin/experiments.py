"""BenchMARL experiments from the same overrides that its command line takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from benchmarl.hydra_config import load_experiment_from_hydra
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase


def load_experiment(overrides: Sequence[str], callbacks: Sequence[Callback] = ()) -> Experiment:
    """The experiment that ``python -m benchmarl.run <overrides>`` runs.

    Hydra may be in use already, as in a notebook or in a program of its own. It is left as it was.

    Args:
        overrides (sequence of str): Hydra overrides, such as ``"algorithm=reciprocator"`` and
            ``"+preset=prisoners_dilemma"``.
        callbacks (sequence of Callback): BenchMARL callbacks to add.

    Returns:
        Experiment: set up and ready to ``run()``.
    """
    with hydra_left_as_it_was(), initialize_config_module("benchmarl.conf", version_base=None):
        cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
    return load_experiment_from_hydra(cfg, task_name=cfg.hydra.runtime.choices.task, callbacks=list(callbacks))


@contextmanager
def hydra_left_as_it_was() -> Iterator[None]:
    """Let Hydra be entered from a process that may use it already, and leave its global state as it was found."""
    hydra_before, config_before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    version_before = VersionBase.instance().version_base
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = hydra_before
        HydraConfig.instance().cfg = config_before
        VersionBase.instance().version_base = version_before
