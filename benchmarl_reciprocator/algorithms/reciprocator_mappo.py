"""The Reciprocator on multi-agent PPO with a centralised critic."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.mappo import Mappo, MappoConfig

from benchmarl_reciprocator.algorithms.reciprocator import ReciprocatorMixin
from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


class ReciprocatorMappo(ReciprocatorMixin, Mappo):
    """Reciprocator (Zhou, Hong and Kao 2024, arXiv 2406.01641) on :class:`~benchmarl.algorithms.Mappo`.

    The options are those of :class:`ReciprocityConfig` and of :class:`~benchmarl.algorithms.Mappo`.
    """


@dataclass
class ReciprocatorMappoConfig(ConfigFromYaml, ReciprocityConfig, MappoConfig):
    """Configuration dataclass for :class:`ReciprocatorMappo`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return ReciprocatorMappo
