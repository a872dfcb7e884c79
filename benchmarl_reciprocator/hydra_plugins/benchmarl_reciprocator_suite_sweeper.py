"""Hydra's way to a suite: a sweeper that lets the program expand it into runs and hand them to any launcher.

Hydra loads every module of the ``hydra_plugins`` namespace in every Hydra program, so this one imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class SuiteSweeper(Sweeper):
    """Runs what is missing of ``suite``, see :class:`benchmarl_reciprocator.suites.sweep.SuiteTask`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.task_function: Any = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        return self.task_function.sweep(self.config, self.hydra_context.config_loader, self.launcher, arguments)


# Hydra executes this module without importing it, which dataclasses could not bear.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="suite",
    node={"_target_": f"hydra_plugins.benchmarl_reciprocator_suite_sweeper.{SuiteSweeper.__name__}"},
    provider="benchmarl-reciprocator",
)
