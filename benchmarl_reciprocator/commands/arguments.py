"""What all command lines share: the form of their help, the options that several have, and how they end.

A command's ``main`` reads

    parser = command_parser("crossplay", __doc__, reads="checkpoints ...", writes="<output>/crossplay.md ...")
    add_inputs(parser)
    add_episodes(parser, "of each pairing")
    add_output(parser, "crossplay/<task>")
    return run_command(parser, command_line, work)

where ``work(arguments)`` does what is asked for, from ``arguments.places``, ``arguments.overrides``,
``arguments.episodes`` and ``arguments.output``, and returns an exit code or ``None`` for 0. A ``ValueError`` that it
raises is the user's to mend: it becomes one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROGRAM = "benchmarl-reciprocator"
# Exit codes; those of one command that mean something else are told in its help.
FINE, FAILED, BAD_INPUT = 0, 1, 2

Work = Callable[[argparse.Namespace], "int | None"]


def command_parser(name: str, doc: str | None, reads: str, writes: str) -> argparse.ArgumentParser:
    """The parser of one command, whose help tells what goes in and what comes out.

    Args:
        name (str): of the command.
        doc (str): the docstring of its module: a line that ``benchmarl-reciprocator --help`` shows too, then examples.
        reads (str): what it reads, for the help.
        writes (str): which files it writes and what it prints, for the help.
    """
    return argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=doc,
        epilog=inputs_and_outputs(reads, writes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def inputs_and_outputs(reads: str, writes: str) -> str:
    """What goes in and what comes out, as every command's help says it."""
    sections = {"reads": reads, "writes": writes}
    return "\n\n".join(f"{title}:\n{_indented(text)}" for title, text in sections.items())


def _indented(text: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())


def add_inputs(parser: argparse.ArgumentParser, overrides_of: Sequence[str] = ("task",)) -> None:
    """Places and overrides in any order, which come as ``arguments.places`` and ``arguments.overrides``.

    Args:
        parser (ArgumentParser): of the command.
        overrides_of (sequence of str): which config groups can be overridden.
    """
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="input",
        help="checkpoints, folders that hold checkpoints, and overrides: "
        + ", ".join(["task=social_dilemmas/<name>", *(f"{group}.<option>=<value>" for group in overrides_of)]),
    )
    parser.set_defaults(overrides_of=tuple(overrides_of))


def split_inputs(inputs: Sequence[str], overrides_of: Sequence[str] = ("task",)) -> tuple[list[Path], list[str]]:
    """Places on disk, and overrides of the named config groups, as they come on the command line."""
    starts = tuple(f"{group}{sign}" for group in overrides_of for sign in "=.")
    overrides = [entry for entry in inputs if entry.startswith(starts)]
    return [Path(entry) for entry in inputs if entry not in overrides], overrides


def add_output(parser: argparse.ArgumentParser, default: str) -> None:
    """``arguments.output``: a folder, or ``None`` for the default, which the help describes by ``default``."""
    parser.add_argument(
        "--output", type=Path, default=None, metavar="FOLDER", help=f"where the results go (default: {default})"
    )


def add_episodes(parser: argparse.ArgumentParser, of_what: str, default: int = 200) -> None:
    """``arguments.episodes``: how many are played, ``of_what``."""
    add_integer(parser, "--episodes", default, f"episodes {of_what}")


def add_agents(parser: argparse.ArgumentParser) -> None:
    """``arguments.agents``: which agents of every checkpoint are measured, ``"all"`` or ``"first"``."""
    parser.add_argument(
        "--agents",
        default="all",
        choices=("all", "first"),
        help="which agents of every checkpoint are measured (default: all; first: one of each, in less time)",
    )


def add_device(parser: argparse.ArgumentParser, of_what: str, default: str | None = "cpu", text: str = "") -> None:
    """``arguments.device``: where agents play, checked to be one that this machine has.

    Args:
        parser (ArgumentParser): of the command.
        of_what (str): for the help, what is there.
        default (str, optional): is told in the help if there is one; else ``text`` says what ``None`` means.
        text (str): for the help.
    """

    class Device(argparse.Action):
        """Checks when the option is read: torch is loaded for this alone, and the help needs none of it."""

        def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
            from benchmarl_reciprocator.agents.devices import check_device

            try:
                setattr(namespace, self.dest, check_device("--device", values))
            except ValueError as error:
                parser.error(str(error))

    help_text = f"{of_what}: cpu, cuda, cuda:1, ... ({text or f'default: {default}'})"
    parser.add_argument("--device", action=Device, default=default, metavar="DEVICE", help=help_text)


def overrides_of(device: str | None) -> list[str]:
    """The overrides by which experiments are on ``device``; none where it is left to them."""
    return [] if device is None else [f"experiment.{use}_device={device}" for use in ("sampling", "train", "buffer")]


def with_device(program: str, arguments: Sequence[str]) -> list[str]:
    """Hydra's command line with ``--device`` replaced by the overrides that it stands for, before all others.

    Args:
        program (str): for the error.
        arguments (sequence of str): the command line.
    """
    parser = argparse.ArgumentParser(prog=program, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS)
    add_device(parser, "where experiments are", default=None)
    known, others = parser.parse_known_args(arguments)
    return [*overrides_of(known.device), *others]


def add_processes(parser: argparse.ArgumentParser, of_what: str) -> None:
    """``arguments.processes``: how many run at a time, by default one for every core."""
    add_integer(parser, "--processes", os.cpu_count() or 1, f"{of_what} at a time, one core for each")


def add_integer(parser: argparse.ArgumentParser, name: str, default: int | None, text: str, least: int = 1) -> None:
    """An option that takes an integer of at least ``least``.

    Args:
        parser (ArgumentParser): of the command.
        name (str): with its dashes.
        default (int, optional): is told in the help if it is an integer; else ``text`` says what ``None`` means.
        text (str): for the help.
        least (int): allowed value.
    """
    _add_checked(parser, name, default, text, "N", int, lambda value: value >= least, f"an integer >= {least}")


def add_number_above_zero(parser: argparse.ArgumentParser, name: str, default: float, text: str) -> None:
    """An option that takes a number above zero."""
    _add_checked(parser, name, default, text, "X", float, lambda value: value > 0, "a number > 0")


def _add_checked(
    parser: argparse.ArgumentParser,
    name: str,
    default: Any,
    text: str,
    metavar: str,
    convert: Callable[[str], Any],
    is_valid: Callable[[Any], bool],
    must_be: str,
) -> None:
    class Checked(argparse.Action):
        """Says in this package's form of errors what a value must be, which argparse's own ``type`` cannot."""

        def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
            try:
                value = convert(values)
            except ValueError:
                parser.error(f"{name} must be {must_be}, but is {values!r}")
            if not is_valid(value):
                parser.error(f"{name} must be {must_be}, but is {value!r}")
            setattr(namespace, self.dest, value)

    shown = "" if default is None else f" (default: {default})"
    parser.add_argument(name, action=Checked, default=default, metavar=metavar, help=f"{text}{shown}")


def show_meetings(folder: Path, text: str, skipped: Sequence[str]) -> int:
    """Print the report of a command that lets agents meet, and on stderr what was skipped.

    Args:
        folder (Path): where everything is.
        text (str): the report.
        skipped (sequence of str): the meetings that did not take place, with the reasons.

    Returns:
        int: the exit code.
    """
    sys.stdout.write(f"\n{text}\nEverything is in {folder}/\n")
    if not skipped:
        return FINE
    lines = [f"{len(skipped)} meetings were skipped; the same command tries them again:", *skipped]
    sys.stderr.write("\n".join(lines) + "\n")
    return FAILED


def run_command(parser: argparse.ArgumentParser, command_line: Sequence[str] | None, work: Work) -> int:
    """Read the command line and do the work.

    Args:
        parser (ArgumentParser): of the command, see :func:`command_parser`.
        command_line (sequence of str, optional): default: that of the process.
        work (callable): takes the parsed arguments, returns the exit code, or ``None`` for 0.

    Returns:
        int: the exit code.

    Raises:
        SystemExit: with code 2 and one line on stderr, on a bad command line or where ``work`` raises ``ValueError``.
    """
    # Overrides may come between the options.
    arguments = parser.parse_intermixed_args(command_line)
    if hasattr(arguments, "overrides_of"):
        arguments.places, arguments.overrides = split_inputs(arguments.inputs, arguments.overrides_of)
    try:
        return work(arguments) or FINE
    except ValueError as error:
        parser.exit(BAD_INPUT, f"{parser.prog}: error: {error}\n")
