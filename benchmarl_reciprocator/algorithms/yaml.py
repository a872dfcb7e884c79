"""Where the default yaml of an algorithm's configuration is, and what is in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from benchmarl.algorithms import algorithm_config_registry
from omegaconf import OmegaConf

from benchmarl_reciprocator.agents.setup import name_of_algorithm
from benchmarl_reciprocator.extensions import find_yaml, read_mapping

GROUP = "algorithm"
# What Hydra wants behind the name of a file from a folder below.
HERE = "@_here_"
Config = TypeVar("Config", bound="ConfigFromYaml")


class ConfigFromYaml:
    """Finds the default yaml of an algorithm's configuration wherever it is, where BenchMARL looks in its own folder.

    For a dataclass, before BenchMARL's ``AlgorithmConfig`` or what derives from it::

        @dataclass
        class MyConfig(ConfigFromYaml, IppoConfig):
            my_option: float = MISSING

    Its yaml is ``algorithm/<name>.yaml`` in a folder of yaml files of an installed package, see
    :mod:`benchmarl_reciprocator.extensions`, or ``<name>.yaml`` beside its module. An algorithm without one has the
    options of the algorithm that it derives from, and its dataclass's defaults.
    """

    @classmethod
    def get_from_yaml(cls: type[Config], path: str | None = None) -> Config:
        """The configuration of the yaml file at ``path``, or of its own.

        Raises:
            ValueError: if an option has no value, or there is no such option.
        """
        file = Path(path) if path is not None else yaml_of(cls)
        # Under the key that it has on the command line, so that what it reads from a preset's tuning is missing.
        loaded = OmegaConf.create({GROUP: options_in(file) if file is not None else inherited_options(cls)})
        options: Any = OmegaConf.to_container(loaded[GROUP], resolve=True)
        refuse_wrong_options(cls, options, f"{cls.__module__}.{cls.__name__}", file)
        return cls(**options)


def yaml_of(config: type, name: str | None = None) -> Path | None:
    """The yaml file of an algorithm: in a folder of yaml files, else beside its module; ``None`` where it has none.

    Args:
        config (type): its configuration dataclass.
        name (str, optional): its name; default: the one by which it is registered, else its module's.
    """
    name = name or name_of_algorithm(config) or config.__module__.rpartition(".")[2]
    return find_yaml(GROUP, name, config.__module__)


def inherits_from(config: type) -> str | None:
    """Name of the nearest registered algorithm that a configuration derives from; ``None`` where there is none."""
    names = {known: name for name, known in algorithm_config_registry.items()}
    return next((names[base] for base in config.__mro__[1:] if base in names), None)


def inherited_options(config: type) -> dict[str, Any]:
    """The options of the algorithm that a configuration derives from, as its yaml has them; empty without one."""
    name = inherits_from(config)
    return options_in_yaml_of(name) if name is not None else {}


def options_in_yaml_of(name: str) -> dict[str, Any]:
    """The options that ``algorithm=<name>`` has, in all its yaml files: interpolations as they are."""
    config: Any = algorithm_config_registry.get(name)
    file = yaml_of(config, name) if config is not None else find_yaml(GROUP, name)
    if file is not None:
        return options_in(file)
    if config is None:
        raise ValueError(f"defaults of an {GROUP}'s yaml must name others, but {name!r} is none")
    if issubclass(config, ConfigFromYaml):
        return inherited_options(config)
    return dict(vars(config.get_from_yaml()))


def options_in(file: Path) -> dict[str, Any]:
    """What is in a yaml file and in those of its ``defaults`` list, as Hydra composes it: later ones come on top."""
    content = read_mapping(file)
    defaults = content.pop("defaults", [])
    options: dict[str, Any] = {}
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            options |= content
        # A dataclass that Hydra checks types by has no values.
        elif not _is_schema(entry):
            name = _name_in_defaults(entry, file)
            beside = file.parent / f"{name}.yaml"
            options |= options_in(beside) if beside.is_file() else options_in_yaml_of(name)
    return options


def refuse_wrong_options(config: type, given: Collection[str], name: str, file: Path | None = None) -> None:
    """Raise one ``ValueError`` unless the options that are given, and those that have a default, are all that a
    dataclass has.

    Args:
        config (type): the dataclass.
        given (collection of str): names of options.
        name (str): what the dataclass is called.
        file (Path, optional): where they are from.
    """
    known = {field.name: field for field in fields(config)}
    for option in given:
        if option not in known:
            raise ValueError(f"{file or name} must have options of {name} ({', '.join(known)}), but has {option!r}")
    for option, field in known.items():
        if option not in given and field.default_factory is MISSING and field.default in (MISSING, "???"):
            raise ValueError(
                f"{name}.{option} must have a default, or a value in {file or 'a yaml file'}, but has neither"
            )


def _is_schema(entry: Any) -> bool:
    return isinstance(entry, str) and entry.endswith("_config") and find_yaml(GROUP, entry) is None


def _name_in_defaults(entry: Any, file: Path) -> str:
    if not isinstance(entry, str) or "@" in entry.removesuffix(HERE) or entry.startswith("/"):
        raise ValueError(f"defaults of {file} must be names of other yaml files of its folder, but one is {entry!r}")
    return entry.removesuffix(HERE)
