"""``benchmarl-reciprocator <command>``: every module of this folder that has a ``main`` is a command of its name."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarl_reciprocator.commands.arguments import BAD_INPUT, FAILED, FINE, PROGRAM

# Which extras a command needs besides the core. Asked for only when something is missing.
EXTRAS = {
    "animate": "",
    "benchmark": "suite",
    "crossplay": "crossplay",
    "demo": "suite",
    "league": "crossplay",
    "tournament": "axelrod",
}
OTHERS_NEED = "report"
# As shells have it for a program that was ended by Ctrl-C.
INTERRUPTED = 130
VERSIONS_OF = ("benchmarl", "torchrl", "torch")

USAGE = f"""usage: {PROGRAM} <command> [arguments]
       {PROGRAM} <command> --help
       {PROGRAM} --version

Train populations of learning agents in social dilemmas, and measure whether they cooperate, whom they cooperate with
and what it takes to exploit them.

commands:
"""
FIRST_STEPS = f"""first steps:
  {PROGRAM} demo                          two populations of the prisoner's dilemma, in about a minute
  {PROGRAM} benchmark suite=quick         five populations, two games, three seeds, and a report on them
  {PROGRAM} crossplay benchmark_quick task=social_dilemmas/prisoners_dilemma

A single run is BenchMARL's own:
  python -m benchmarl.run algorithm=reciprocator +preset=prisoners_dilemma

`{PROGRAM} <command> --help` says what a command reads and which files it writes.
Every command exits with 0 when all went well, with 1 when something failed, and with 2 when its arguments were wrong;
`compare` exits with 1 when results have changed.
"""


def commands() -> dict[str, str]:
    """What each command does, in a line, by its name; read off the files, so that ``--help`` loads none of them."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if file.stem != "cli" and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[file.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand the command line to the command that it names.

    Args:
        arguments (sequence of str, optional): default: those of the process.

    Returns:
        int: the exit code: that of the command, 2 where there is no such command.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    known = commands()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, known))
        lines = [f"  {name:{width}}  {line}" for name, line in known.items()]
        sys.stdout.write("\n".join([USAGE.rstrip("\n"), *lines, "", FIRST_STEPS]))
        return FINE
    if arguments[0] == "--version":
        sys.stdout.write(f"{versions()}\n")
        return FINE
    name, *rest = arguments
    if name not in known:
        sys.stderr.write(f"{PROGRAM}: error: the command must be one of {', '.join(known)}, but is {name!r}\n")
        return BAD_INPUT
    try:
        return importlib.import_module(f"{__package__}.{name}").main(rest)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{PROGRAM} {name}: interrupted; what was finished is on disk\n")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        message = what_to_install(name, error)
        if message is None:
            raise
        sys.stderr.write(f"{message}\n")
        return FAILED


def versions() -> str:
    """This package's version, and those of what it stands on."""
    below = []
    for package in VERSIONS_OF:
        try:
            below.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            below.append(f"{package} not installed")
    return f"{PROGRAM} {importlib.metadata.version(PROGRAM)} ({', '.join(below)})"


def what_to_install(command: str, error: ModuleNotFoundError) -> str | None:
    """One line that names what a command lacks and the extra that brings it; ``None`` where no extra does: what is
    missing is then not this package's to name.
    """
    missing = (error.name or "").removeprefix("hydra_plugins.").partition(".")[0]
    if _normal(missing) not in _dependencies():
        return None
    extra = EXTRAS.get(command, OTHERS_NEED)
    wanted = f"{PROGRAM}[{extra}]" if extra else PROGRAM
    return f'{PROGRAM} {command} needs {missing}: pip install "{wanted}"'


def _dependencies() -> set[str]:
    """What this package declares that it depends on, extras included."""
    declared = importlib.metadata.requires(PROGRAM) or []
    return {_normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in declared}


def _normal(name: str) -> str:
    """The form in which names of packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
