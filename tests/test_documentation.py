"""What the documentation says by code: the examples of docstrings run, those of the README have the right types, and
BenchMARL knows what README and site tell users to type.
"""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException

import benchmarl_reciprocator
from benchmarl_reciprocator.plugin.experiments import hydra_left_as_it_was

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / benchmarl_reciprocator.__name__
FOLDERS = (PACKAGE, ROOT / "tasks")
WITH_EXAMPLES = sorted(file for folder in FOLDERS for file in folder.rglob("*.py") if ">>> " in file.read_text())
PIECE = re.compile(r"```python\n(.*?)```", re.S)
PROGRAMS = PIECE.findall((ROOT / "README.md").read_text())
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^ *python -m benchmarl\.run (.*)$", re.M)


def module_of(file: Path) -> str:
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name if file.is_relative_to(PACKAGE) else f"{PACKAGE.name}.{name}"


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=lambda file: file.stem)
def test_examples_of_docstrings(file: Path) -> None:
    module = importlib.import_module(module_of(file))
    failed, attempted = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert attempted and not failed


def test_programs_of_the_readme_have_the_right_types(tmp_path: Path) -> None:
    programs = [program for program in PROGRAMS if "import" in program]
    assert programs
    assert errors_in(programs, tmp_path) == ""
    misspelt = [program.replace("ReciprocatorConfig", "ReciprocatrConfig") for program in programs]
    assert "ReciprocatrConfig" in errors_in(misspelt, tmp_path)


def errors_in(programs: list[str], folder: Path) -> str:
    for number, program in enumerate(programs):
        (folder / f"program_{number}.py").write_text(program)
    settings = folder / "mypy.ini"
    settings.write_text(
        "[mypy]\nfollow_imports = silent\nignore_missing_imports = True\n[mypy-torch.*]\nfollow_imports = skip\n"
    )
    options = ("--config-file", settings, "--cache-dir", folder / "cache", "--no-error-summary")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *sorted(folder.glob("*.py"))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def test_pieces_of_the_documentation_are_python() -> None:
    pieces = [(page, piece) for page in PAGES for piece in PIECE.findall(page.read_text())]
    assert len(pieces) > 5
    for page, piece in pieces:
        # A file that is shown as it is has tests of its own.
        if "--8<--" not in piece:
            compile(piece, str(page), "exec")


def test_files_that_pages_show_are_named_as_mkdocs_reads_them() -> None:
    # Formatters of Python know nothing of them: in a block of ```python `--8<--` becomes `--8 < --`.
    lines = [line for page in PAGES for line in page.read_text().splitlines() if line.strip().startswith("--8")]
    assert len(lines) > 3
    for line in lines:
        (file,) = re.findall(r'^ *--8<-- "([^":]+)"$', line)
        assert (ROOT / file).is_file(), file


def commands() -> list[list[str]]:
    """The overrides of every call of ``benchmarl.run`` in README and site, of sweeps the first of each."""
    text = "\n".join(page.read_text() for page in PAGES).replace("\\\n", "")
    found = [shlex.split(line, comments=True) for line in dict.fromkeys(COMMAND.findall(text))]
    return [[re.sub(r"^([\w.+]+=\w+)(,\w+)+$", r"\1", word) for word in line if word != "-m"] for line in found]


def test_commands_of_the_documentation_can_be_typed() -> None:
    assert len(commands()) > 15
    with hydra_left_as_it_was(), initialize_config_module("benchmarl.conf", version_base=None):
        for overrides in commands():
            overrides = [override.replace("<file>", "file") for override in overrides]
            assert compose("config", overrides=overrides).algorithm, overrides
        with pytest.raises(ConfigCompositionException):
            compose("config", overrides=["algorithm=reciprocator", "+preset=coins", "algorithm.no_such_option=1"])


def test_commands_of_the_documentation_that_have_files_name_files() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    for file in re.findall(r"^ *python (examples/[\w/]+\.py)", text, re.M):
        assert (ROOT / file).is_file(), file
