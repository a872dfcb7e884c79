"""The floors of the package: nobody imports upwards."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "benchmarl_reciprocator"
# Lines of a file, and modules of a folder, that a reader can still take in.
LONGEST, MOST_FILES = 350, 20
# From the ground up. A floor knows those below it, and others of its own height.
FLOORS = {
    # What knows nothing of this package
    "conf": 0,
    "extensions": 0,
    "plugin.benchmarl_private": 0,
    "influence": 1,
    "tasks": 2,
    "agents": 3,
    "algorithms": 4,
    "evaluation": 5,
    "plugin": 5,
    "suites": 6,
    "commands": 7,
    "testing": 7,
    # The package's front door and what Hydra finds load what is asked for.
    "__init__": 8,
    "__main__": 8,
    "hydra_plugins": 8,
}


def floor_of(module: str) -> int:
    """The floor of a module, named from below the package: that of its longest prefix in ``FLOORS``."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return FLOORS[next(name for name in names if name in FLOORS)]


def modules() -> dict[str, Path]:
    """Files by the name of their module, from below the package."""
    # Links are not followed below a folder: tasks/ and conf/ at the top.
    folders = {ROOT / PACKAGE: "", ROOT / "tasks": "tasks.", ROOT / "conf": "conf."}
    files = {
        prefix + ".".join(file.relative_to(folder).with_suffix("").parts): file
        for folder, prefix in folders.items()
        for file in sorted(folder.rglob("*.py"))
    }
    return {name.removesuffix(".__init__"): file for name, file in files.items()}


def imports(file: Path) -> set[str]:
    """Modules of this package that a file imports, anywhere in it, named from below the package."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A module's floor is read from its whole name.
            assert node.level == 0, (
                f"{file} must import by whole names, but imports from {'.' * node.level}{node.module}"
            )
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix(f"{PACKAGE}.") if name != PACKAGE else "__init__" for name in names if is_ours(name)}


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


@pytest.mark.parametrize("module", modules())
def test_no_import_runs_upwards(module: str) -> None:
    above = {name for name in imports(modules()[module]) if floor_of(name) > floor_of(module)}
    assert not above, f"{module} is on floor {floor_of(module)} and imports from above: {sorted(above)}"


def test_the_rule_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "low.py"
    file.write_text(f"def late():\n    from {PACKAGE}.commands import report\n")
    (found,) = imports(file)
    assert floor_of(found) > floor_of("influence.balance")


def test_influence_knows_torchrl_alone() -> None:
    for module, file in modules().items():
        if module.startswith("influence"):
            assert "benchmarl." not in file.read_text().replace(PACKAGE, ""), module


@pytest.mark.parametrize("module", modules())
def test_long_files_say_why(module: str) -> None:
    lines = modules()[module].read_text().splitlines()
    docstring = ast.get_docstring(ast.parse("\n".join(lines))) or ""
    assert len(lines) <= LONGEST or re.search(r"one file,? (because|since|so that)", docstring), (
        f"{module} must be at most {LONGEST} lines, or say in its docstring that it is 'one file because ...', "
        f"but is {len(lines)}"
    )


@pytest.mark.parametrize("folder", sorted({file.parent for file in modules().values()}), ids=lambda folder: folder.name)
def test_no_folder_is_a_heap(folder: Path) -> None:
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= MOST_FILES, f"{folder} must hold at most {MOST_FILES} modules, but holds {len(files)}"


def test_every_folder_has_its_floor() -> None:
    assert {name.split(".")[0] for name in modules()} <= {name.split(".")[0] for name in FLOORS}


def test_type_checkers_follow_links_to_what_stands_at_the_top() -> None:
    links = {f"{PACKAGE}/conf": "conf", f"{PACKAGE}/tasks": "tasks", f".editable/{PACKAGE}": PACKAGE}
    links[".editable/hydra_plugins"] = f"{PACKAGE}/hydra_plugins"
    assert all((ROOT / link).resolve() == ROOT / folder for link, folder in links.items())
