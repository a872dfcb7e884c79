"""How an experiment comes to its co-players: from the config's ``co_players``, by its own configuration."""

from __future__ import annotations

from typing import Any, cast

from benchmarl.algorithms import algorithm_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig
from omegaconf import DictConfig, OmegaConf

from benchmarl_reciprocator.agents.setup import CO_PLAYERS, algorithms_by_group
from benchmarl_reciprocator.algorithms.co_players.callback import CoPlayers
from benchmarl_reciprocator.algorithms.co_players.options import CoPlayerOptions, options_in
from benchmarl_reciprocator.plugin.benchmarl_private import add_callback


def take_co_players(config: ExperimentConfig, whole: DictConfig) -> None:
    """Let an experiment's configuration carry what the whole config says of co-players, if it says anything.

    Raises:
        ValueError: if an option is bad, naming the key, the value and what it must be.
    """
    given = OmegaConf.select(whole, CO_PLAYERS)
    if given is None:
        return
    if not isinstance(given, DictConfig):
        raise ValueError(f"co_players must be a mapping with share and pool, but is {given!r}")
    options = cast("dict[str, Any]", OmegaConf.to_container(given, resolve=True))
    setattr(config, CO_PLAYERS, CoPlayerOptions.of(options))


def seat_co_players(experiment: Experiment) -> None:
    """Let the co-players take part in an experiment that has some and whose collector is not made yet.

    Raises:
        ValueError: if the task, the algorithm or the pool do not allow for it, naming the key.
    """
    options = options_in(experiment.config)
    if options is None:
        return
    if options.learners is not None:
        for name in options.learners:
            if name not in algorithm_config_registry:
                known = ", ".join(sorted(algorithm_config_registry))
                raise ValueError(f"co_players.learners must be names of algorithms ({known}), but one is {name!r}")
        names = algorithms_by_group(experiment.algorithm_config, experiment.group_map).values()
        if set(names).isdisjoint(options.learners):
            return
    co_players = CoPlayers(options)
    co_players.experiment = experiment
    if options.learners is not None and not co_players.open_seats():
        # As in a preset that is for any population: here nobody is left to meet them.
        return
    add_callback(experiment, co_players)
    co_players.settle()
