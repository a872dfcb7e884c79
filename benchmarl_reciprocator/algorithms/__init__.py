"""Algorithms: a file for each, named as its yaml in ``conf/algorithm``."""

from __future__ import annotations

from pathlib import Path

import benchmarl_reciprocator.conf

CONF_FOLDER = Path(benchmarl_reciprocator.conf.__file__).parent / "algorithm"


def shipped_algorithms() -> list[str]:
    """Names of the algorithms in this package: the modules here that have a yaml file of their name."""
    modules = {file.stem for file in Path(__file__).parent.glob("*.py")}
    return sorted(modules & {file.stem for file in CONF_FOLDER.glob("*.yaml")})
