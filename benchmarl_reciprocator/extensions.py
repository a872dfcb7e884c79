"""What other installed packages add to this one, as their entry points say.

A package declares in its ``pyproject.toml``, all of them optional::

    [project.entry-points."benchmarl_reciprocator.tasks"]
    snowdrift = "snowdrift_games.snowdrift"          # a module with a TaskConfig

    [project.entry-points."benchmarl_reciprocator.algorithms"]
    cautious_reciprocator = "snowdrift_games.cautious_reciprocator"  # a module with one AlgorithmConfig

    [project.entry-points."benchmarl_reciprocator.players"]
    two_tits = "snowdrift_games.players:two_tits"    # a function of the task's options: a Player, or None

    [project.entry-points."benchmarl_reciprocator.conf"]
    snowdrift_games = "snowdrift_games.conf"         # yaml: task/, algorithm/, preset/, suite/, scenario/

Nothing of another package is imported before it is asked for. One that cannot be loaded is told of by a warning, and
leaves all others as they are.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import (
    Distribution,
    EntryPoint,
    EntryPoints,
    PackageNotFoundError,
    entry_points,
    packages_distributions,
    version,
)
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

PACKAGE = __name__.partition(".")[0]
DISTRIBUTION = "benchmarl-reciprocator"
GROUPS = ("tasks", "algorithms", "players", "conf")
CONF = f"{PACKAGE}.conf"


class ExtensionWarning(UserWarning):
    """What an installed package adds cannot be used."""


class NameTakenError(ValueError):
    """Two packages give the same name to a task, an algorithm or a player."""


def declared(group: str) -> dict[str, EntryPoint]:
    """What installed packages declare.

    Args:
        group (str): one of :data:`GROUPS`.

    Returns:
        dict[str, EntryPoint]: by name.

    Raises:
        NameTakenError: if two packages declare the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in _declared(group):
        other = found.setdefault(entry.name, entry)
        if (other.value, package_of(other)) != (entry.value, package_of(entry)):
            raise NameTakenError(
                f"{group} of installed packages must have names of their own, but {entry.name!r} is in "
                f"{package_of(other)} and in {package_of(entry)}: uninstall one of the two"
            )
    return found


def load(entry: EntryPoint) -> Any | None:
    """What an entry point names, or ``None``, with an :class:`ExtensionWarning`, where that cannot be loaded."""
    try:
        return entry.load()
    except Exception as error:  # importing what others wrote can end in anything
        warn_of(entry, error)
        return None


def warn_of(entry: EntryPoint, error: Exception | str) -> None:
    """Say that something of another package is left out, and why."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    warnings.warn(
        f"left out: {entry.name!r} of the package {package_of(entry)} (entry point {entry.group}, "
        f"{entry.value!r}) cannot be used: {reason}",
        ExtensionWarning,
        stacklevel=3,
    )


def package_of(entry: EntryPoint) -> str:
    """Name and version of the distribution that declares an entry point."""
    return _named(entry.dist) if entry.dist is not None else "an unknown package"


def conf_folders() -> dict[str, Path]:
    """Folders of yaml files by the package that they are, this package's own first."""
    folders = {CONF: _folder_of(CONF)}
    for entry in declared("conf").values():
        try:
            folders[entry.value] = _folder_of(entry.value)
        except Exception as error:  # its parent package is imported
            warn_of(entry, error)
    return folders


def yaml_files(group: str) -> dict[str, Path]:
    """The yaml files of a config group over all folders, those of this package first.

    Args:
        group (str): such as ``"suite"``, ``"algorithm"`` or ``"task/social_dilemmas"``.

    Returns:
        dict[str, Path]: by name, without the ending. Of several with one name the first counts, as for Hydra.
    """
    files: dict[str, Path] = {}
    for folder in conf_folders().values():
        for file in sorted(folder.joinpath(group).glob("*.yaml")):
            files.setdefault(file.stem, file)
    return files


def find_yaml(group: str, name: str, module: str | None = None) -> Path | None:
    """The yaml file of a name in a config group, see :func:`yaml_files`, else ``<name>.yaml`` beside a module.

    Args:
        group (str): the config group.
        name (str): of the file.
        module (str, optional): full name of a module.

    Returns:
        Path: the file; ``None`` where there is none.
    """
    files = [folder / group / f"{name}.yaml" for folder in conf_folders().values()]
    source = getattr(sys.modules.get(module or ""), "__file__", None)
    if source is not None:
        files.append(Path(source).with_name(f"{name}.yaml"))
    return next((file for file in files if file.is_file()), None)


def provider_of(module: str) -> str | None:
    """Name and version of the distribution that a module belongs to; ``None`` for one of no package, as in a script.

    Args:
        module (str): its full name.
    """
    top = module.partition(".")[0]
    if top == PACKAGE:
        return own_package()
    for group in GROUPS:
        for entry in _declared(group):
            if entry.value.partition(":")[0].partition(".")[0] == top:
                return package_of(entry)
    names = _distributions_by_package().get(top, [])
    return f"{names[0]} {version(names[0])}" if names else None


def own_package() -> str:
    """Name and version of this package; the name alone where it is not installed, but on the path."""
    try:
        return f"{DISTRIBUTION} {version(DISTRIBUTION)}"
    except PackageNotFoundError:
        return DISTRIBUTION


def is_installed(package: str) -> bool:
    """Whether there is a distribution of that name, in any version.

    Args:
        package (str): its name, or name and version as :func:`provider_of` gives them.
    """
    try:
        version(package.partition(" ")[0])
    except PackageNotFoundError:
        return False
    return True


def read_mapping(file: Path) -> dict[str, Any]:
    """What is in a yaml file, by name, as Hydra reads it; interpolations as they are.

    Raises:
        ValueError: if it holds something else.
    """
    content = OmegaConf.to_container(OmegaConf.load(file))
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold values by name, but holds {content!r}")
    return {str(key): value for key, value in content.items()}


def clashing_yaml_files() -> Iterator[str]:
    """What packages have under one name in one config group, of which Hydra takes the first: a line for each."""
    seen: dict[Path, str] = {}
    for package, folder in conf_folders().items():
        for file in sorted(folder.rglob("*.yaml")):
            name = file.relative_to(folder)
            first = seen.setdefault(name, package)
            if first != package:
                yield f"{name} of {package} is hidden by that of {first}"


@lru_cache
def _distributions_by_package() -> dict[str, list[str]]:
    """Names of distributions by the top-level packages that they bring."""
    return {package: list(names) for package, names in packages_distributions().items()}


def _declared(group: str) -> EntryPoints:
    """Entry points of all installed packages in one of :data:`GROUPS`."""
    folders = [Path(folder or ".") for folder in sys.path]
    return _entry_points_of(tuple((folder, _changed_at(folder)) for folder in folders))[group]


@lru_cache(maxsize=1)
def _entry_points_of(folders: tuple[tuple[Path, int | None], ...]) -> dict[str, EntryPoints]:
    # Reads a file of every installed package: half the time of an import, when it was done anew for each name.
    found = entry_points()
    return {group: found.select(group=f"{PACKAGE}.{group}") for group in GROUPS}


def _changed_at(folder: Path) -> int | None:
    """When something was last installed into a folder of the path, in nanoseconds."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return None


def _folder_of(package: str) -> Path:
    """Where a package is, found without being imported (its parents are)."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} must be a package of yaml files, but is not found")
    return Path(next(iter(spec.submodule_search_locations)))


def _named(distribution: Distribution) -> str:
    return f"{distribution.name} {distribution.version}"
