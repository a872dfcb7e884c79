"""Where results come from: command, hardware, versions and git commit."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("benchmarl-reciprocator", "benchmarl", "torchrl", "tensordict", "torch")


def setting() -> dict[str, Any]:
    """Hardware, versions and git commit behind a result. What cannot be found out is left out: it fails nothing."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Of this package, where it is a git checkout and there is a git."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of ``packages`` that are installed, by name."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def add_setting(file: Path, program: str) -> None:
    """Note the command, hardware and versions behind results. A folder can be filled by several commands: the setting
    of each is kept.

    Args:
        file (Path): json, a list with an entry for each command.
        program (str): the command without its arguments, such as ``"benchmarl-reciprocator crossplay"``.
    """
    arguments = sys.argv[1:]
    if arguments and program.endswith(f" {arguments[0]}"):
        # Entered through the one command line, which has the command's name among its arguments.
        arguments = arguments[1:]
    now = {"command": " ".join([program, shlex.join(arguments)]).strip(), **setting()}
    try:
        earlier = list(json.loads(file.read_text())) if file.is_file() else []
    except (ValueError, TypeError) as error:
        kept = file.with_suffix(".unreadable")
        file.rename(kept)
        warnings.warn(f"{file} cannot be read ({error!r}): kept as {kept.name}, written anew", stacklevel=2)
        earlier = []
    file.write_text(json.dumps([*(entry for entry in earlier if entry != now), now], indent=1))
