"""Where the default yaml of an algorithm's configuration is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from typing_extensions import Self

from benchmarl_reciprocator.algorithms import CONF_FOLDER


class YamlInThisPackage:
    """Loads the default yaml of an algorithm's configuration from this package instead of BenchMARL's."""

    @classmethod
    def get_from_yaml(cls, path: str | None = None) -> Self:
        """The configuration of the yaml file at ``path``, or of the one that ships."""
        default = CONF_FOLDER / f"{cls.__module__.rpartition('.')[2]}.yaml"
        return cls(**read_algorithm_yaml(default if path is None else Path(path)))


def read_algorithm_yaml(file: Path) -> dict[str, Any]:
    """The options in an algorithm's yaml, with those that it takes in by ``- <file>@_here_`` in its defaults, as Hydra
    does: from beside it, or from this package.
    """
    options = yaml.safe_load(file.read_text()) or {}
    included: dict[str, Any] = {}
    for entry in options.pop("defaults", []):
        name, _, package = entry.partition("@") if isinstance(entry, str) else ("", "", "")
        if package == "_here_":
            beside, ours = file.parent / f"{name}.yaml", CONF_FOLDER / f"{name}.yaml"
            included.update(read_algorithm_yaml(beside if beside.is_file() else ours))
    return {**included, **options}
