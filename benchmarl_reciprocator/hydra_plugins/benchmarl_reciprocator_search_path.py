"""Lets BenchMARL's own commands find this package's names, without anything imported by hand.

Hydra loads every module of the ``hydra_plugins`` namespace in every Hydra program on the machine, so this one
imports nothing heavy and does nothing unless the program uses BenchMARL.
"""

import os
import sys

from hydra.core.config_search_path import ConfigSearchPath, SearchPathElement
from hydra.plugins.search_path_plugin import SearchPathPlugin


class BenchmarlReciprocatorSearchPath(SearchPathPlugin):
    """Registers the package, and puts its yaml files and those of packages that add to it on the search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if "benchmarl" not in sys.modules:
            return
        from benchmarl_reciprocator.extensions import conf_folders
        from benchmarl_reciprocator.plugin.registration import register

        register()
        _add_tuning(search_path)
        for package, folder in conf_folders().items():
            # As files: another package's folder need not be importable as Hydra wants it.
            search_path.append(provider=package, path=f"file://{folder}")


def _add_tuning(search_path: ConfigSearchPath) -> None:
    """Before the yamls of BenchMARL's and of this package's algorithms, after those of a user's own program."""
    tuning = SearchPathElement("benchmarl-reciprocator", "benchmarl-reciprocator-tuning://")
    elements = search_path.get_path()
    main = next((place for place, element in enumerate(elements) if element.provider == "main"), None)
    if main is not None and _is_ours(elements[main].path):
        elements.insert(main, tuning)
    else:
        elements.append(tuning)


def _is_ours(path: str | None) -> bool:
    """Whether a search path's element is the folder of yamls of BenchMARL or of this package."""
    import benchmarl

    import benchmarl_reciprocator.conf

    folders = [os.path.join(os.path.dirname(benchmarl.__file__), "conf"), benchmarl_reciprocator.conf.__path__[0]]
    packages = ["pkg://benchmarl.conf", "pkg://benchmarl_reciprocator.conf"]
    known = [*packages, *(os.path.realpath(folder) for folder in folders)]
    return path is not None and (path in known or os.path.realpath(path.removeprefix("file://")) in known)
