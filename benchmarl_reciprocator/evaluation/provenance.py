"""Where results come from: command, hardware, versions and git commit."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("benchmarl-reciprocator", "benchmarl", "torchrl", "tensordict", "torch")


def setting() -> dict[str, Any]:
    """Hardware, versions and git commit behind a result."""
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
        "commit": commit.stdout.strip() or None,
    }


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
    earlier = [entry for entry in json.loads(file.read_text()) if entry != now] if file.is_file() else []
    file.write_text(json.dumps([*earlier, now], indent=1))
