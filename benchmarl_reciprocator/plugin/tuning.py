"""What a preset sets of algorithms: under ``tuning``, for whichever algorithm is chosen, and by names that are checked.

A preset is for any algorithm, so it cannot set ``algorithm.entropy_coef``: the chosen one may have no such option. It
sets ``tuning.entropy_coef``, and every algorithm that has the option takes it in place of its yaml's value. Two things
make this work, both where ``/tuning: options`` is composed, as ``conf/preset/social_dilemma.yaml`` does:

- ``tuning`` is a structured config of the options of all registered algorithms, all of them missing. Any other name, on
  the command line or in a preset, is an error that names the key, before anything is trained.
- The yamls of BenchMARL's algorithms, and of those in this package's ``conf``, are read with
  ``${tuned:entropy_coef,0.02}`` in place of ``0.02``. What is set on the command line (``algorithm.entropy_coef=0.1``)
  comes after that and wins.

Where nobody composes ``tuning``, BenchMARL's yamls are read as they are.
"""

from __future__ import annotations

import re
from dataclasses import field, fields, make_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import benchmarl
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.algorithms.common import AlgorithmConfig
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import benchmarl_reciprocator.conf

# The path of the structured config, as a defaults list has it
SCHEMA = "tuning/options"
GROUP = "algorithm/"
# An algorithm with an option of this name hands on what is tuned, to the members of a population.
HANDS_ON = "tuning"


def schema() -> DictConfig:
    """All options of all registered algorithms, missing, of the type that they have there."""
    options = [(option, kind, field(default=MISSING)) for option, kind in sorted(_options().items())]
    return OmegaConf.structured(make_dataclass("Tuning", options))


def given(root: DictConfig) -> dict[str, Any]:
    """The options that are tuned in a composed config, without those that are missing.

    Raises:
        ValueError: if one of them is no algorithm's: Hydra lets ``+tuning.<anything>=...`` pass.
    """
    tuning = OmegaConf.select(root, "tuning")
    if not isinstance(tuning, DictConfig):
        return {}
    known, options = _options(), {}
    for option in map(str, tuning):
        if option not in known:
            like = get_close_matches(option, known, n=1)
            hint = f" (did you mean {like[0]}?)" if like else ""
            raise ValueError(f"tuning.{option} must be the option of an algorithm, but none has it{hint}")
        if not OmegaConf.is_missing(tuning, option):
            value = tuning[option]
            options[option] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return options


def register_resolvers() -> None:
    """Let OmegaConf know the interpolations that tunable yamls have. Calling it again changes nothing."""
    OmegaConf.register_new_resolver(
        "tuned", lambda option, own, *, _root_: given(_root_).get(option, own), replace=True
    )
    OmegaConf.register_new_resolver("all_tuned", lambda *, _root_: given(_root_) or None, replace=True)


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
    """Where the yaml of an algorithm is, if it is BenchMARL's (with ``stock``) or this package's."""
    if not path.startswith(GROUP):
        return None
    folders = [Path(benchmarl_reciprocator.conf.__path__[0])]
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


def _options() -> dict[str, Any]:
    """The type of every option that can be tuned; ``Any`` where algorithms differ, or a structured config knows none
    such.
    """
    types: dict[str, Any] = {}
    for config in algorithm_config_registry.values():
        own = _types(config)
        if HANDS_ON in own:
            continue
        for option, kind in own.items():
            types[option] = kind if types.setdefault(option, kind) == kind else Any
    return types


@cache
def _types(config: type[AlgorithmConfig]) -> dict[str, Any]:
    hints = get_type_hints(config)
    types = {option.name: hints[option.name] for option in fields(config)}
    for option, kind in types.items():
        try:
            OmegaConf.structured(make_dataclass("One", [(option, kind, field(default=MISSING))]))
        except (OmegaConfBaseException, ValueError):
            types[option] = Any
    return types
