"""Where the default yaml of an algorithm's configuration is."""

from __future__ import annotations

from benchmarl.utils import _read_yaml_config
from omegaconf import OmegaConf

from benchmarl_reciprocator.algorithms import CONF_FOLDER


class YamlInThisPackage:
    """Loads the default yaml of an algorithm's configuration from this package instead of BenchMARL's."""

    @classmethod
    def get_from_yaml(cls, path: str | None = None):
        """The configuration of the yaml file at ``path``, or of the one that ships."""
        default = CONF_FOLDER / f"{cls.__module__.rpartition('.')[2]}.yaml"
        # Under the key that it has on the command line, so that what it reads from a preset's tuning is missing.
        loaded = OmegaConf.create({"algorithm": _read_yaml_config(str(path if path is not None else default))})
        return cls(**OmegaConf.to_container(loaded, resolve=True)["algorithm"])
