"""The package as users get it: built, installed beside BenchMARL, and found by its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import benchmarl_reciprocator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = benchmarl_reciprocator.__name__
# Where the folders of a checkout are installed.
PLACES = {PACKAGE: PACKAGE, "conf": f"{PACKAGE}/conf", "tasks": f"{PACKAGE}/tasks"}
PLUGINS = f"{PACKAGE}/hydra_plugins/"
TWO_SHORT_ITERATIONS = (
    "algorithm=reciprocator",
    "+preset=prisoners_dilemma",
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=128",
    "experiment.on_policy_n_minibatch_iters=1",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=2",
    "experiment.loggers=[]",
)
UNRELATED_APP = """
import sys
import hydra

@hydra.main(version_base=None, config_path=".", config_name="unrelated")
def main(cfg):
    assert cfg.greeting == "hello"
    assert "hydra_plugins.benchmarl_reciprocator_search_path" in sys.modules
    heavy = {"torch", "benchmarl", "benchmarl_reciprocator", "benchmarl_reciprocator.plugin.registration"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    print("reached the end")

main()
"""
USER = """
import benchmarl_reciprocator.conf
from benchmarl_reciprocator import MisspeltName, ReciprocatorConfig, influence_balance
from benchmarl_reciprocator.tasks.matrix.prisoners_dilemma import TaskConfig

config = ReciprocatorConfig.get_from_yaml()
config.reward_weight_end = 2.0
config.reward_wieght_end = 2.0
config.clip_epsilon_of_ippo = 0.2
influence_balance(gama=0.9)


def steps(options: TaskConfig) -> int:
    return options.max_stps
"""
FOUND_IN_USER = ["MisspeltName", "reward_wieght_end", "clip_epsilon_of_ippo", "gama", "max_stps"]
# BenchMARL ships no py.typed: this is what its users tell mypy. Torch is large, and says nothing here.
USER_SETTINGS = """
[mypy]
[mypy-benchmarl.*]
follow_untyped_imports = True
[mypy-torch.*]
follow_imports = skip
"""
NO_WARNINGS = """
import warnings
import benchmarl
import benchmarl.hydra_config
import hydra

warnings.simplefilter("error")
import benchmarl_reciprocator

with hydra.initialize_config_module("benchmarl.conf", version_base=None):
    for name in benchmarl_reciprocator.SocialDilemmaTask.__members__:
        task = f"social_dilemmas/{name.lower()}"
        cfg = hydra.compose("config", overrides=["algorithm=reciprocator", f"task={task}"])
        benchmarl.hydra_config.load_task_config_from_hydra(cfg.task, task)
"""


def output_of(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**variables, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run(*command: str | Path, cwd: Path) -> str:
    done = output_of(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(source: Path, output: Path, *options: str) -> Path:
    """Build with the setuptools at hand, without a download; returns the wheel."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, *options, cwd=source)
    (wheel,) = output.glob("*.whl")
    return wheel


def files_in(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from: in the checkout, leftovers of earlier builds would get in."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, folder)
    for name in (*PLACES, ".editable"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"), "--wheel")


def environment(folder: Path, *what: str | Path) -> Path:
    """The Python of an environment with what is told, and with what this one has but for its editable install."""
    venv.create(folder, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    python = Path(paths["scripts"]) / "python"
    # Python reads no .pth file in a folder that a .pth file names: that is how editable installs are found.
    lines = [folder for folder in sys.path if folder.endswith("-packages")]
    (Path(paths["purelib"]) / "packages_of_the_tests.pth").write_text("\n".join(lines))
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=folder)
    return python


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="session")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Of a copy: an installation leaves files in its source.
    copied = tmp_path_factory.mktemp("editable") / "source"
    shutil.copytree(source, copied, symlinks=True)
    return environment(tmp_path_factory.mktemp("editable_environment"), "--editable", copied)


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy_cache")


def test_wheel_holds_every_module_and_its_data(wheel: Path) -> None:
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert f"{PACKAGE}/py.typed" in expected
    assert f"{PLUGINS}benchmarl_reciprocator_search_path.py" in expected
    assert files_in(wheel) == {name.replace(PLUGINS, "hydra_plugins/") for name in expected}
    # Else Hydra would find no other package's plugins.
    assert "hydra_plugins/__init__.py" not in files_in(wheel)


def test_sdist_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    rebuilt = build(source, tmp_path)
    assert files_in(rebuilt) == files_in(wheel)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.getnames())


@pytest.mark.parametrize("where", ["elsewhere", "in the checkout"])
def test_wheel_works_with_the_commands_of_benchmarl(installed: Path, where: str, tmp_path: Path) -> None:
    cwd = tmp_path if where == "elsewhere" else ROOT
    output = tmp_path / "output"
    printed = run(installed, "-m", "benchmarl.run", *TWO_SHORT_ITERATIONS, f"hydra.run.dir={output}", cwd=cwd)
    assert "TaskConfig python dataclass not found" not in printed
    (results,) = output.rglob("reciprocator_*/*.json")
    assert "p_cooperate" in results.read_text()


def test_wheel_is_what_the_environment_imports(installed: Path, tmp_path: Path) -> None:
    modules = (PACKAGE, "hydra_plugins.benchmarl_reciprocator_search_path")
    for module in modules:
        place = run(installed, "-c", f"import {module} as module; print(module.__file__)", cwd=tmp_path)
        assert Path(place.strip()).is_relative_to(installed.parent.parent)


def test_unrelated_hydra_program_loads_nothing_heavy(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "unrelated.yaml").write_text("greeting: hello\n")
    (tmp_path / "app.py").write_text(UNRELATED_APP)
    assert "reached the end" in run(installed, "app.py", cwd=tmp_path)


@pytest.mark.parametrize(("module", "absent"), [(PACKAGE, "torch"), (f"{PACKAGE}.influence", "benchmarl")])
def test_import_loads_no_more_than_needed(installed: Path, module: str, absent: str, tmp_path: Path) -> None:
    run(installed, "-c", f"import sys, {module}; assert {absent!r} not in sys.modules", cwd=tmp_path)


@pytest.mark.parametrize("how", ["installed", "editable", "in the checkout"])
def test_type_checkers_find_what_is_misspelt(
    how: str, mypy_cache: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    in_checkout = how == "in the checkout"
    python = request.getfixturevalue("installed" if in_checkout else how)
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(USER_SETTINGS)
    command = [
        *(sys.executable, "-m", "mypy", "--python-executable", python, "--config-file", tmp_path / "mypy.ini"),
        *("--cache-dir", mypy_cache, "--show-column-numbers", "--no-color-output", tmp_path / "user.py"),
    ]
    printed = output_of(*command, cwd=ROOT if in_checkout else tmp_path).stdout
    errors = [line for line in printed.splitlines() if "user.py" in line and ": error:" in line]
    assert len(errors) == len(FOUND_IN_USER), printed
    assert all(word in error for word, error in zip(FOUND_IN_USER, errors)), printed


def test_editable_install_follows_the_checkout(editable: Path, tmp_path: Path) -> None:
    package = run(editable, "-c", f"import {PACKAGE} as module; print(module.__file__)", cwd=tmp_path)
    checkout = Path(package.strip()).resolve().parent.parent
    assert (checkout / "setup.py").is_file()
    (checkout / "tasks" / "matrix" / "written_later.py").write_text("")
    inside = ("conf", "tasks.matrix.written_later")
    for name in (*(f"{PACKAGE}.{module}" for module in inside), "hydra_plugins.benchmarl_reciprocator_search_path"):
        found = run(editable, "-c", f"import {name} as module; print(module.__file__)", cwd=tmp_path)
        assert Path(found.strip()).resolve().is_relative_to(checkout), name
    # What else lies in the checkout is no module of the user's.
    others = ("conf", "tasks", "tests", "examples")
    run(editable, "-c", f"import importlib.util as u; assert not any(map(u.find_spec, {others}))", cwd=tmp_path)


def test_registering_and_loading_tasks_warns_of_nothing(installed: Path, tmp_path: Path) -> None:
    run(installed, "-c", NO_WARNINGS, cwd=tmp_path)


def test_citation_names_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {benchmarl_reciprocator.__version__}" in lines
