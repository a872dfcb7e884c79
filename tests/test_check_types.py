"""The list of modules that the type checker excuses only shrinks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = """
[tool.mypy]
files = ["somewhere"]

[[tool.mypy.overrides]]
ignore_errors = true
module = [
    "package.tasks.one",
    "package.tasks.two",
]
"""


@pytest.fixture
def check_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, over settings that excuse two modules of which the second is clean."""
    spec = importlib.util.spec_from_file_location("check_types", ROOT / ".ci" / "check_types.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "errors_by_module", lambda settings: {"package.tasks.one": ["one.py:1: error: x"]})
    monkeypatch.setattr(sys, "argv", ["check_types.py"])
    return module


def test_an_excuse_without_need_fails(check_types: ModuleType, capsys) -> None:
    assert check_types.main() == 1
    assert "package.tasks.two is clean, or gone" in capsys.readouterr().out


def test_the_list_shrinks_to_what_is_needed(check_types: ModuleType, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["check_types.py", "--write"])
    assert check_types.main() == 0
    assert (tmp_path / "pyproject.toml").read_text() == SETTINGS.replace('    "package.tasks.two",\n', "")


def test_errors_elsewhere_fail_and_are_not_added(check_types: ModuleType, monkeypatch, tmp_path: Path, capsys) -> None:
    errors = {f"package.tasks.{name}": [f"{name}.py:1: error: x"] for name in ("one", "two", "three")}
    monkeypatch.setattr(check_types, "errors_by_module", lambda settings: errors)
    monkeypatch.setattr(sys, "argv", ["check_types.py", "--write"])
    assert check_types.main() == 1
    assert "three.py:1: error" in capsys.readouterr().out
    assert (tmp_path / "pyproject.toml").read_text() == SETTINGS


def test_some_folders_are_never_excused(check_types: ModuleType, monkeypatch, tmp_path: Path, capsys) -> None:
    errors = {"package.influence.loss": ["loss.py:1: error: x"]}
    monkeypatch.setattr(check_types, "errors_by_module", lambda settings: errors)
    monkeypatch.setattr(sys, "argv", ["check_types.py", "--write", "--all"])
    assert check_types.main() == 1
    assert "loss.py:1: error" in capsys.readouterr().out
    assert "influence" not in (tmp_path / "pyproject.toml").read_text()


def test_the_settings_of_this_package_are_read(check_types: ModuleType) -> None:
    listed = check_types.excused((ROOT / "pyproject.toml").read_text())
    assert all(module.startswith("benchmarl_reciprocator.") for module in listed)
    assert not any(module.split(".")[1] in check_types.ALWAYS_CLEAN for module in listed)
