"""BenchMARL experiments from the same overrides that its command line takes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from benchmarl.hydra_config import load_experiment_from_hydra
from hydra import compose, initialize_config_module


def load_experiment(overrides: Sequence[str], callbacks: Sequence[Callback] = ()) -> Experiment:
    """The experiment that ``python -m benchmarl.run <overrides>`` runs.

    Args:
        overrides (sequence of str): Hydra overrides, such as ``"algorithm=reciprocator"`` and
            ``"+preset=prisoners_dilemma"``.
        callbacks (sequence of Callback): BenchMARL callbacks to add.

    Returns:
        Experiment: set up and ready to ``run()``.
    """
    with initialize_config_module("benchmarl.conf", version_base=None):
        cfg = compose("config", overrides=list(overrides), return_hydra_config=True)
    return load_experiment_from_hydra(cfg, task_name=cfg.hydra.runtime.choices.task, callbacks=list(callbacks))
