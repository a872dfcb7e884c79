"""Lets BenchMARL's own commands find this package's names, without anything imported by hand.

Hydra loads every module of the ``hydra_plugins`` namespace in every Hydra program on the machine, so this one
imports nothing heavy and does nothing unless the program uses BenchMARL.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class BenchmarlReciprocatorSearchPath(SearchPathPlugin):
    """Registers the package, and puts its yaml files and those of packages that add to it on the search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if "benchmarl" not in sys.modules:
            return
        from benchmarl_reciprocator.extensions import conf_folders
        from benchmarl_reciprocator.plugin.registration import register

        register()
        for package, folder in conf_folders().items():
            # As files: another package's folder need not be importable as Hydra wants it.
            search_path.append(provider=package, path=f"file://{folder}")
