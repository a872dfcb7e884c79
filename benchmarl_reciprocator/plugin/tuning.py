"""What a preset sets of algorithms: under ``tuning``, for whichever algorithm is chosen, and by names that are checked.

A preset is for any algorithm, so it cannot set ``algorithm.entropy_coef``: the chosen one may have no such option. It
sets ``tuning.entropy_coef``, and every algorithm that has the option takes it in place of its yaml's value. For this

- the presets compose ``/tuning: options`` (``conf/preset/social_dilemma.yaml``): an empty ``tuning`` that may be filled
  by other presets and by the command line (``tuning.entropy_coef=0.1``);
- the yamls of BenchMARL's algorithms, of this package's, and of packages that add to it, are then read with
  ``${tuned:entropy_coef,0.02}`` in place of ``0.02``. What is set on the command line (``algorithm.entropy_coef=0.1``)
  comes after that and wins;
- whoever reads an option of the algorithm so, before anything is trained, is told of every name in ``tuning`` that is
  no option of a registered algorithm.

Where nobody composes ``tuning``, BenchMARL's yamls are read as they are.
"""

from __future__ import annotations

import re
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import benchmarl
from benchmarl.algorithms import algorithm_config_registry
from omegaconf import DictConfig, OmegaConf

from benchmarl_reciprocator.extensions import conf_folders

# What presets compose, as a defaults list has it
TUNING = "tuning/options"
GROUP = "algorithm/"
# An algorithm with an option of this name hands on what is tuned, to the members of a population.
HANDS_ON = "tuning"


def nothing_tuned() -> DictConfig:
    """``tuning`` to begin with: empty, and open for keys that it does not have yet."""
    return OmegaConf.create({}, flags={"struct": False})


def tunable_options() -> set[str]:
    """Names of all options of all registered algorithms."""
    by_algorithm = [{option.name for option in fields(config)} for config in algorithm_config_registry.values()]
    return set().union(*(options for options in by_algorithm if HANDS_ON not in options))


def given(root: DictConfig) -> dict[str, Any]:
    """The options that are tuned in a composed config.

    Raises:
        ValueError: if one of them is no algorithm's.
    """
    tuning = OmegaConf.select(root, "tuning")
    if not isinstance(tuning, DictConfig):
        return {}
    known = tunable_options()
    for option in map(str, tuning):
        if option not in known:
            like = get_close_matches(option, known, n=1)
            hint = f" (did you mean {like[0]}?)" if like else ""
            raise ValueError(f"tuning.{option} must be the option of an algorithm, but none has it{hint}")
    return cast("dict[str, Any]", OmegaConf.to_container(tuning, resolve=True))


def register_resolvers() -> None:
    """Let OmegaConf know the interpolations that tunable yamls have. Calling it again changes nothing."""
    OmegaConf.register_new_resolver(
        "tuned", lambda option, own, *, _root_: given(_root_).get(option, own), replace=True
    )
    OmegaConf.register_new_resolver("all_tuned", lambda *, _root_: given(_root_) or None, replace=True)


def resolved(file: Path) -> str:
    """A composed config that Hydra left on disk (``.hydra/config.yaml``), as a yaml of plain values."""
    register_resolvers()
    return OmegaConf.to_yaml(OmegaConf.load(file), resolve=True)


def tunable(path: str) -> DictConfig | None:
    """The yaml of an algorithm, with what is tuned in place of its own values.

    Args:
        path (str): in Hydra's search path: ``"algorithm/ippo"``.

    Returns:
        DictConfig: with its defaults list as it is; ``None`` if it is no yaml in a folder that is known.
    """
    file = yaml_file(path)
    if file is None:
        return None
    register_resolvers()
    config = OmegaConf.load(file)
    if not isinstance(config, DictConfig):
        return None
    options = [str(key) for key in config if key != "defaults"]
    if HANDS_ON in options:
        config[HANDS_ON] = "${all_tuned:}"
        return config
    for option in options:
        # Not what is an interpolation already.
        if not OmegaConf.is_interpolation(config, option) and not OmegaConf.is_missing(config, option):
            value = config[option]
            own = literal(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)
            config[option] = f"${{tuned:{option},{own}}}"
    return config


def yaml_file(path: str, stock: bool = True) -> Path | None:
    """Where the yaml of an algorithm is, if it is BenchMARL's (with ``stock``), this package's, or that of a package
    that adds to it.
    """
    if not path.startswith(GROUP):
        return None
    folders = [*conf_folders().values()]
    if stock:
        folders.insert(0, Path(benchmarl.__file__).parent / "conf")
    files = (folder / f"{path}.yaml" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def literal(value: Any) -> str:
    """A plain value as it is written in an interpolation of OmegaConf's.

    Examples:
        >>> literal([None, True, 0.5, "a b", {"c": 1}])
        "[null,true,0.5,'a b',{c:1}]"
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{literal(one)}' for key, one in value.items())}}}"
    # Backslashes count before a quote alone.
    quoted = re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), str(value))
    return f"'{quoted}'"
