"""What the documentation says by code: the examples of docstrings run, and those of the README have the right types."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarl_reciprocator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / benchmarl_reciprocator.__name__
FOLDERS = (PACKAGE, ROOT / "tasks")
WITH_EXAMPLES = sorted(file for folder in FOLDERS for file in folder.rglob("*.py") if ">>> " in file.read_text())
# A line of a shell, or of Python that shows no import, is no program.
PROGRAMS = [block for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)]


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


def test_pieces_of_the_readme_are_python() -> None:
    for piece in PROGRAMS:
        compile(piece, "README.md", "exec")
