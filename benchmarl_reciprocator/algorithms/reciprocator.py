"""The Reciprocator on independent PPO."""

from __future__ import annotations

from dataclasses import dataclass, fields

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import Ippo, IppoConfig
from benchmarl.utils import _read_yaml_config

from benchmarl_reciprocator.algorithms import CONF_FOLDER
from benchmarl_reciprocator.algorithms.reciprocity import Reciprocity, ReciprocityConfig


class ReciprocatorMixin:
    """Makes a policy-gradient algorithm a Reciprocator: everything of its own happens to the reward, before it
    is optimised.
    """

    def __init__(self, experiment, **options) -> None:
        names = [field.name for field in fields(ReciprocityConfig)]
        self.reciprocity_config = ReciprocityConfig(**{name: options.pop(name) for name in names})
        self.reciprocity_config.check()
        super().__init__(experiment=experiment, **options)
        self.reciprocity = Reciprocity.of(experiment)

    def _get_loss(self, group: str, policy_for_loss, continuous: bool):
        self.reciprocity.add_group(group, self.reciprocity_config)
        return super()._get_loss(group, policy_for_loss, continuous)


class YamlInThisPackage:
    """Loads the default yaml of an algorithm's configuration from this package instead of BenchMARL's."""

    @classmethod
    def get_from_yaml(cls, path: str | None = None):
        """The configuration of the yaml file at ``path``, or of the one that ships."""
        default = CONF_FOLDER / f"{cls.__module__.rpartition('.')[2]}.yaml"
        return cls(**_read_yaml_config(str(path if path is not None else default)))


class Reciprocator(ReciprocatorMixin, Ippo):
    """Reciprocator (Zhou, Hong and Kao 2024, arXiv 2406.01641) on :class:`~benchmarl.algorithms.Ippo`.

    PPO on the task's reward plus a reciprocal reward for paying back the influence that others' actions had on the
    agent's return. The options are those of :class:`ReciprocityConfig` and of
    :class:`~benchmarl.algorithms.Ippo`.
    """


@dataclass
class ReciprocatorConfig(YamlInThisPackage, ReciprocityConfig, IppoConfig):
    """Configuration dataclass for :class:`Reciprocator`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Reciprocator
