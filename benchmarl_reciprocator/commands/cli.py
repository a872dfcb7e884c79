"""``benchmarl-reciprocator <command>``: every module of this folder that has a ``main`` is a command of its name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "benchmarl-reciprocator"
# Modules of this folder that are no commands.
SHARED = ("__init__", "arguments", "cli")


def commands() -> dict[str, str]:
    """What each command does, in a line, by its name; read off the files, so that ``--help`` loads none of them."""
    files = sorted(file for file in Path(__file__).parent.glob("*.py") if file.stem not in SHARED)
    return {file.stem: file.read_text().split('"""', 2)[1].splitlines()[0] for file in files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the command line to the command that it names.

    Args:
        arguments (sequence of str, optional): default: those of the process.

    Returns:
        int: the exit code: that of the command, 2 where there is no such command.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known = commands()
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, known))
        lines = [f"  {name:{width}}  {line}" for name, line in known.items()]
        sys.stdout.write("\n".join([f"usage: {PROGRAM} <command> ...", "", *lines, "", HELP]) + "\n")
        return 0
    name, *rest = arguments
    if name not in known:
        sys.stderr.write(f"{PROGRAM}: command must be one of {', '.join(known)}, but is {name!r}\n")
        return 2
    return importlib.import_module(f"{__package__}.{name}").main(rest)


HELP = f"{PROGRAM} <command> --help tells what goes in and what comes out."
