"""benchmarl-reciprocator: the Reciprocator and social dilemmas as native BenchMARL components.

Names load when they are first used: the influence parts bring in TorchRL alone, any other name BenchMARL, and with it
this package's registration. If BenchMARL is loaded already, importing the package registers it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "influence": (
        "InfluenceEstimator",
        "InfluenceLearner",
        "InfluenceLoss",
        "InfluenceSchedule",
        "ObservedBalance",
        "ReservoirWriter",
        "SharedInfluenceEstimator",
        "agreement",
        "exact_influence",
        "influence_balance",
        "next_balance",
        "reciprocal_reward",
        "unilateral_deviations",
        "value_influence",
    ),
    "agents.agent": ("Agent", "ScriptedAgent"),
    "agents.trained": ("load_agents",),
    "algorithms.frozen": ("Frozen", "FrozenConfig"),
    "algorithms.mixed": ("Mixed", "MixedConfig"),
    "algorithms.reciprocator": ("Reciprocator", "ReciprocatorConfig"),
    "algorithms.reciprocator_mappo": ("ReciprocatorMappo", "ReciprocatorMappoConfig"),
    "algorithms.reciprocity.diagnostics": ("ReciprocityWarning",),
    "algorithms.scripted": ("Scripted", "ScriptedConfig"),
    "plugin.registration": ("register", "register_algorithm", "register_task"),
    "plugin.task_callback": ("GroupingWarning",),
    "tasks.grid.cleanup": ("CleanupEnv", "CleanupRules"),
    "tasks.coins.players": ("CoinPlayer", "scripted_bounds"),
    "tasks.coins.game": ("CoinRules", "CoinsEnv"),
    "tasks.environment": ("SocialDilemmaEnv",),
    "tasks.grid.players": ("GridPlayers",),
    "tasks.grid.rules": ("Beam", "GridRules"),
    "tasks.grid.world": ("GridWorldEnv",),
    "tasks.grid.harvest": ("HarvestEnv", "HarvestRules"),
    "tasks.matrix.matrix_game": ("MatrixGameEnv",),
    "tasks.matrix.players": ("MatrixGame", "MemoryOne"),
    "tasks.pasture.players": ("Grazer",),
    "tasks.players": ("Player", "play"),
    "tasks.pasture.scenario": ("PastureRules", "SharedPasture"),
    "tasks.pasture.shared_pasture": ("SharedPastureEnv",),
    "tasks.task": ("SocialDilemmaClass", "SocialDilemmaTask"),
    "plugin.experiments": ("load_experiment",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_KNOW_NO_BENCHMARL = (
    "influence",
    "tasks.grid.cleanup",
    "tasks.coins.game",
    "tasks.coins.players",
    "tasks.environment",
    "tasks.grid.players",
    "tasks.grid.rules",
    "tasks.grid.world",
    "tasks.grid.harvest",
    "tasks.matrix.matrix_game",
    "tasks.matrix.players",
    "tasks.pasture.players",
    "tasks.players",
    "tasks.pasture.scenario",
    "tasks.pasture.shared_pasture",
)

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME_OF[name]
    if home not in _KNOW_NO_BENCHMARL:
        importlib.import_module(f"{__name__}.plugin.registration").register()
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if "benchmarl" in sys.modules:
    importlib.import_module(f"{__name__}.plugin.registration").register()
