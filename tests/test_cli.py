"""The command line as a whole: its help, its errors, what it says when a package is missing."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarl_reciprocator.commands import cli
from benchmarl_reciprocator.commands.arguments import (
    add_episodes,
    add_inputs,
    add_integer,
    add_number_above_zero,
    add_output,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.evaluation import provenance

tomllib = pytest.importorskip("tomllib") if sys.version_info >= (3, 11) else pytest.importorskip("tomli")
ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(cli.commands())


def parser() -> argparse.ArgumentParser:
    made = command_parser("weigh", "Weigh things.", reads="things", writes="<output>/weights.csv: their weights")
    add_inputs(made, overrides_of=("task", "experiment"))
    add_episodes(made, "of each thing")
    add_output(made, "weights/<task>")
    add_integer(made, "--turns", None, "of a thing (default: as many as it has)", least=2)
    add_number_above_zero(made, "--scale", 0.5, "of the weights")
    return made


def test_help_of_the_whole_lists_every_command_with_a_line(capsys) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert {"animate", "benchmark", "crossplay", "exploitability", "report", "tournament"} <= set(COMMANDS)
    for name, line in cli.commands().items():
        assert f"  {name}" in shown
        assert line and line in shown, name
    assert "arguments" not in COMMANDS


def test_version_names_what_the_package_stands_on(capsys) -> None:
    assert cli.main(["--version"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("benchmarl-reciprocator ")
    assert "torchrl " in shown


def test_unknown_command_is_one_line(capsys) -> None:
    assert cli.main(["analyse"]) == 2
    error = capsys.readouterr().err
    assert "the command must be one of absolute, animate, benchmark" in error and error.endswith("but is 'analyse'\n")
    assert error.count("\n") == 1


def test_missing_extra_is_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for module in [*sys.modules]:
        # Those that tests before this one have loaded do not miss pandas.
        if module.startswith(("benchmarl_reciprocator.commands.crossplay", "benchmarl_reciprocator.evaluation")):
            monkeypatch.delitem(sys.modules, module)
    assert cli.main(["crossplay", "somewhere"]) == 1
    error = capsys.readouterr().err
    assert error == 'benchmarl-reciprocator crossplay needs pandas: pip install "benchmarl-reciprocator[crossplay]"\n'


def imports_of(module: str, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """What a module of this package imports, anywhere in it, and what those of this package import in turn; not what it
    does without where it is missing.
    """
    spec = find_spec(module) if module not in found else None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return found
    names = found[module] = set()
    nodes = list(ast.walk(ast.parse(Path(spec.origin).read_text())))
    spared = {
        part
        for node in nodes
        if isinstance(node, ast.Try) and any(ast.unparse(x.type) == "ImportError" for x in node.handlers if x.type)
        for part in node.body
    }
    for node in nodes:
        if node in spared:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in sorted(names):
        if name.startswith("benchmarl_reciprocator."):
            try:
                imports_of(name, found)
            except ModuleNotFoundError:  # a name in a module
                continue
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_the_extra_that_is_named_brings_all_that_the_command_imports(command: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        """Names of packages, those of this package's own extras resolved."""
        found = set()
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement)[0].lower()
            own = re.match(r"benchmarl-reciprocator\[(.*)\]", requirement)
            found |= set().union(*(names(extras[extra]) for extra in own[1].split(","))) if own else {name}
        return found

    optional = set().union(*(names(extra) for extra in extras.values())) - names(project["dependencies"])
    wanted = [extra for extra in cli.EXTRAS.get(command, cli.OTHERS_NEED).split(",") if extra]
    brought = names([f"benchmarl-reciprocator[{extra}]" for extra in wanted if extra in extras])
    imported = imports_of(f"benchmarl_reciprocator.commands.{command}", {})
    assert imported
    lacking = {
        module: missing
        for module, found in imported.items()
        if (missing := {name.partition(".")[0].lower() for name in found} & optional - brought)
    }
    assert not lacking


def test_what_is_missing_for_another_reason_is_not_explained_away(monkeypatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="somebody_elses_module")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ModuleNotFoundError, match=r"commands\.crossplay"):
        cli.main(["crossplay", "somewhere"])


def test_an_interrupt_is_no_traceback(monkeypatch, capsys) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert cli.main(["report", "somewhere"]) == 130
    assert "benchmarl-reciprocator report: interrupted" in capsys.readouterr().err


def test_help_of_a_command_tells_what_goes_in_and_what_comes_out(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(parser(), ["--help"], lambda arguments: 0)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "reads:\n  things" in shown
    assert "writes:\n  <output>/weights.csv" in shown
    assert "task=social_dilemmas/<name>" in shown and "experiment.<option>=<value>" in shown
    assert "weights/<task>" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_that_form(command: str, capsys) -> None:
    try:
        code = cli.main([command, "--help"])
    except SystemExit as ended:
        code = ended.code
    assert code == 0
    shown = capsys.readouterr().out
    assert cli.commands()[command] in shown
    assert "\nreads:\n  " in shown and "\nwrites:\n  " in shown


def test_places_and_overrides_come_in_any_order() -> None:
    seen = {}
    line = ["a", "task=coins", "--episodes", "3", "b/task.pt", "experiment.lr=1", "--output", "here"]
    assert run_command(parser(), line, lambda arguments: seen.update(vars(arguments))) == 0
    assert seen["places"] == [Path("a"), Path("b/task.pt")]
    assert seen["overrides"] == ["task=coins", "experiment.lr=1"]
    assert (seen["episodes"], seen["output"], seen["turns"], seen["scale"]) == (3, Path("here"), None, 0.5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["a", "--episodes", "0"], "--episodes must be an integer >= 1, but is 0\n"),
        (["a", "--episodes=many"], "--episodes must be an integer >= 1, but is 'many'\n"),
        (["a", "--turns", "1"], "--turns must be an integer >= 2, but is 1\n"),
        (["a", "--scale", "-1"], "--scale must be a number > 0, but is -1.0\n"),
        ([], "the following arguments are required"),
    ],
)
def test_bad_options_say_what_they_must_be(line: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(parser(), line, lambda arguments: 0)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_what_the_user_can_mend_is_one_line(capsys) -> None:
    def refuse(arguments: argparse.Namespace) -> None:
        raise ValueError("task.max_steps must be an integer >= 1, but is 0")

    with pytest.raises(SystemExit) as ended:
        run_command(parser(), ["a"], refuse)
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == "benchmarl-reciprocator weigh: error: task.max_steps must be an integer >= 1, but is 0\n"
    )


def test_exit_code_is_that_of_the_work() -> None:
    assert run_command(parser(), ["a"], lambda arguments: 1) == 1


def test_setting_names_the_command_as_it_was_typed(monkeypatch, tmp_path: Path) -> None:
    for start in (["benchmarl-reciprocator", "crossplay"], ["/somewhere/crossplay.py"]):
        monkeypatch.setattr(sys, "argv", [*start, "results", "--episodes", "3"])
        provenance.add_setting(tmp_path / "setting.json", "benchmarl-reciprocator crossplay")
    (setting,) = json.loads((tmp_path / "setting.json").read_text())
    assert setting["command"] == "benchmarl-reciprocator crossplay results --episodes 3"


def test_provenance_names_what_is_installed_alone() -> None:
    assert list(provenance.versions(["torch", "no-such-package"])) == ["torch"]
