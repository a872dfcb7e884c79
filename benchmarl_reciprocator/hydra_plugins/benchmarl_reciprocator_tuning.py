"""Where Hydra finds ``tuning``, and the algorithms that take it: see ``benchmarl_reciprocator.plugin.tuning``.

Hydra loads this in every Hydra program on the machine, so it imports nothing heavy; the search path of a program that
uses BenchMARL alone leads here.
"""

from __future__ import annotations

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource


class BenchmarlReciprocatorTuning(ConfigSource):
    """The config ``tuning/options``, and tunable forms of the algorithms' yamls: of BenchMARL's, once
    ``tuning`` was asked for.

    Hydra reads a defaults list from its end, so a preset, which comes last, is read before the algorithm.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        self.tuned = False

    @staticmethod
    def scheme() -> str:
        return "benchmarl-reciprocator-tuning"

    def load_config(self, config_path: str) -> ConfigResult:
        from benchmarl_reciprocator.plugin import tuning

        path = config_path.removesuffix(".yaml")
        self.tuned |= path == tuning.TUNING
        config = tuning.nothing_tuned() if path == tuning.TUNING else tuning.tunable(path)
        if config is None:
            raise ConfigLoadError(f"Config not found : {config_path}")
        return ConfigResult(provider=self.provider, path=f"{self.scheme()}://", config=config, header={"package": None})

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") == "tuning"

    def is_config(self, config_path: str) -> bool:
        from benchmarl_reciprocator.plugin import tuning

        path = config_path.removesuffix(".yaml")
        return path == tuning.TUNING or tuning.yaml_file(path, stock=self.tuned) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return ["options"] if self.is_group(config_path) and results_filter != ObjectType.GROUP else []
