"""The example of a package of one's own, installed into a fresh environment and used by every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "extension_package"
# What this package is built from, beside its code.
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")
SMALL = (
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=128",
    "experiment.on_policy_n_minibatch_iters=1",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
)
# In one process: most of a command's time is the import of torch.
WORK = """
import json, runpy, sys
from pathlib import Path
from benchmarl_reciprocator.commands.cli import main
from benchmarl_reciprocator.testing import check_algorithm, check_task

def benchmarls(command, *arguments):
    sys.argv = [command, *arguments]
    runpy.run_module(f"benchmarl.{command}", run_name="__main__", alter_sys=True)

work = json.load(sys.stdin)
for line in work["ours"]:
    print("command:", line, flush=True)
    code = main(line.split())
    assert not code, (line, code)
benchmarls("run", *work["run"])
(checkpoint,) = Path("output").glob("*/checkpoints/*")
benchmarls("evaluate", str(checkpoint))
sys.path.insert(0, "tests")
check_task("snowdrift", algorithms=("cautious_reciprocator", "qmix"))
check_algorithm("cautious_reciprocator", task="snowdrift")
print("nothing to mend")
"""


def run(*command: str | Path, cwd: Path, stdin: str | None = None) -> str:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**variables, "OMP_NUM_THREADS": "1"},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with both packages as users install them, and all that they need."""
    source, folder = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("environment")
    # Copies: building leaves files behind.
    ignore = shutil.ignore_patterns("__pycache__", "results", ".git", ".pytest_cache", "*.egg-info", "build")
    for place in ROOT.iterdir():
        if place.name in FILES:
            shutil.copy(place, source)
        elif place.name in ("benchmarl_reciprocator", "conf", "tasks", ".editable"):
            shutil.copytree(place, source / place.name, symlinks=True, ignore=ignore)
    shutil.copytree(EXAMPLE, source / "examples", ignore=ignore)
    venv.create(folder, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    # Python reads no .pth file in a folder that a .pth file names: that is how editable installs are found.
    lines = [path for path in sys.path if path.endswith("-packages")]
    (Path(paths["purelib"]) / "packages_of_the_tests.pth").write_text("\n".join(lines))
    made = Path(paths["scripts"]) / "python"
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    run(sys.executable, "-m", "pip", "--python", made, "install", *options, source, source / "examples", cwd=folder)
    return made


@pytest.fixture(scope="module")
def results(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its suite, run with two short iterations each."""
    folder = tmp_path_factory.mktemp("work")
    suite = ("benchmark", "suite=snowdrift", "suite.seeds=1", "folder=results")
    printed = run(python, "-m", "benchmarl_reciprocator", *suite, *SMALL, cwd=folder)
    assert "Cautious" in printed
    return folder / "results"


@pytest.fixture(scope="module")
def printed(python: Path, results: Path) -> str:
    """What is printed by all commands that read the suite, by BenchMARL's own, and by the checks of its tests."""
    checkpoint = next((results / "runs").glob("snowdrift/cautious-*/**/checkpoint_*.pt"))
    ours = [
        "crossplay results --against tit_for_two_tats all_d --episodes 4 --output results/crossplay/snowdrift",
        "exploitability results --budget 1 --episodes 4 --processes 1 --output results/exploitability/snowdrift",
        "tournament results --strategies basic --turns 4 --repetitions 1 --output results/tournament/snowdrift",
        f"animate {checkpoint} snowdrift.gif",
        "report results",
    ]
    population = ("algorithm=mixed", "algorithm.focal=cautious_reciprocator", "algorithm.others=tit_for_two_tats")
    chosen = ("+preset=snowdrift", "experiment.checkpoint_at_end=True", "experiment.loggers=[]", "hydra.run.dir=output")
    run_of_benchmarl = [*population, *chosen, "task.max_steps=8", *SMALL]
    return run(python, "-c", WORK, cwd=results.parent, stdin=json.dumps({"ours": ours, "run": run_of_benchmarl}))


def test_a_suite_and_all_commands_that_read_it(printed: str, results: Path) -> None:
    records = [json.loads(file.read_text()) for file in results.rglob("run.record")]
    assert {record["population"] for record in records} == {"Cautious", "Cautious_with_two_tats", "IPPO"}
    report = (results / "report" / "report.md").read_text()
    assert "P(shovel)" in report, "the task's own measure, by its own name"
    assert "tit_for_two_tats" in (results / "crossplay" / "snowdrift" / "crossplay.md").read_text()
    for name in ("exploitability", "tournament"):
        assert (results / name / "snowdrift" / f"{name}.md").is_file()
    assert (results.parent / "snowdrift.gif").stat().st_size > 200


def test_benchmarls_own_commands(printed: str, results: Path) -> None:
    output = results.parent / "output"
    (experiment,) = output.glob("mixed_1_cautious_reciprocator_others_tit_for_two_tats_snowdrift_*")
    task = (experiment / "task.yaml").read_text()
    assert "task: social_dilemmas/snowdrift" in task and "snowdrift-games 0.1.0" in task and "P(shovel)" in task
    assert "Evaluation results" in printed


def test_its_own_tests_pass(printed: str) -> None:
    assert "nothing to mend" in printed


def test_without_the_package_its_checkpoints_say_what_to_install(results: Path) -> None:
    from benchmarl_reciprocator import load_agents

    checkpoint = next((results / "runs").glob("snowdrift/ippo-*/**/checkpoint_*.pt"))
    with pytest.raises(
        ValueError, match=r"is of task=social_dilemmas/snowdrift, which is not registered: it was made "
    ):
        load_agents(checkpoint)
    checkpoint = next((results / "runs").glob("snowdrift/cautious-*/**/checkpoint_*.pt"))
    with pytest.raises(ValueError, match=r"No module named 'snowdrift_games'.*pip install snowdrift-games"):
        load_agents(checkpoint)
