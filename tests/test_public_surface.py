"""The names of the package: listed once, loaded late, and nothing of the process changed by loading them."""

from __future__ import annotations

import ast
import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from fresh_python import fresh_python

import benchmarl_reciprocator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = benchmarl_reciprocator.__name__
# What can be used without BenchMARL
PURE = (
    f"{PACKAGE}.influence",
    f"{PACKAGE}.algorithms.alignment.advantages",
    f"{PACKAGE}.algorithms.intrinsic.next_actions",
    f"{PACKAGE}.algorithms.intrinsic.preferences",
    f"{PACKAGE}.algorithms.intrinsic.tokens",
)
# What extras bring, see pyproject.toml.
EXTRAS = ("pandas", "matplotlib", "rliable", "nashpy", "axelrod", "jinja2", "markdown", "scipy", "seaborn", "joblib")
EXTRAS_OF_THE_TESTS = ("pytest", "hypothesis", "torch_geometric", "pettingzoo", "pygame", "mypy")
WITHOUT = """
import sys
from importlib.machinery import PathFinder

assert not {{name.partition(".")[0] for name in sys.modules}} & set({extras})
found = PathFinder.find_spec

def found_unless_an_extra(name, path=None, target=None):
    return None if name.partition(".")[0] in {extras} else found(name, path, target)

PathFinder.find_spec = found_unless_an_extra
"""
WITHOUT_EXTRAS = WITHOUT.format(extras=(*EXTRAS, *EXTRAS_OF_THE_TESTS))
ALL_NAMES = f"""
import {PACKAGE}

for name in {PACKAGE}.__all__:
    getattr({PACKAGE}, name)
"""
TRAIN = """
import sys

from benchmarl.run import hydra_experiment

sys.argv = ["benchmarl.run", *sys.argv[1:]]
hydra_experiment()
"""
STATE = f"""
import importlib
import io
import logging
import os
import pkgutil
import random
import sys
import warnings

import numpy
import torch
from hydra.core.global_hydra import GlobalHydra

# What others change when they are loaded is not this package's doing.
import benchmarl.hydra_config, jinja2, markdown, matplotlib.pyplot, nashpy, pandas, rliable.library
import rliable.metrics, scipy.stats, torchrl.envs, tqdm, vmas


def state():
    return {{
        "matplotlib's backend": matplotlib.get_backend(),
        "matplotlib's settings": dict(matplotlib.rcParams),
        "open figures": matplotlib.pyplot.get_fignums(),
        "tqdm": tqdm.tqdm([], file=io.StringIO()).disable,
        "environment variables": dict(os.environ),
        "warnings filters": list(warnings.filters),
        "Hydra": GlobalHydra.instance().is_initialized(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch's modes": (torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()),
        "random states": (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()),
        "pandas's options": {{key: str(pandas.get_option(key)) for key in ("display.width", "display.precision")}},
        "log handlers": (logging.root.level, list(logging.root.handlers)),
        "search path": list(sys.path),
        "command line": list(sys.argv),
        "working directory": os.getcwd(),
    }}


def import_everything():
    package = importlib.import_module("{PACKAGE}")
    modules = list(pkgutil.walk_packages(package.__path__, package.__name__ + "."))
    assert "{PACKAGE}.tasks.coins.coins" in [module.name for module in modules]
    for module in modules:
        # Hydra runs those itself, and the command line is what starts with it.
        if ".hydra_plugins" not in module.name and not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                if "axelrod" not in str(error).lower():
                    raise


def changed_by(function):
    before = state()
    function()
    after = state()
    return sorted(key for key in before if before[key] != after[key])
"""


def run(code: str, *arguments: str, cwd: Path | None = None) -> str:
    """What a fresh Python prints."""
    done = fresh_python(code, *arguments, cwd=cwd or ROOT)
    assert done.code == 0, done.printed
    return done.printed


@pytest.mark.parametrize("name", benchmarl_reciprocator.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(benchmarl_reciprocator, name) is vars(benchmarl_reciprocator)[name]


def test_the_stub_gives_each_name_once_and_as_itself() -> None:
    # Type checkers take `import name as name` as a public name, and the last of two as the one.
    stub = ast.parse((ROOT / PACKAGE / "__init__.pyi").read_text())
    aliases = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert all(alias.asname == alias.name for alias in aliases)
    assert sorted(alias.name for alias in aliases) == benchmarl_reciprocator.__all__
    assert set(benchmarl_reciprocator.__all__) < set(dir(benchmarl_reciprocator))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Reciprocatr'"):
        getattr(benchmarl_reciprocator, "Reciprocatr")  # noqa: B009
    with pytest.raises(ImportError, match="Reciprocatr"):
        exec(f"from {PACKAGE} import Reciprocatr")


def test_names_that_know_torchrl_alone_load_without_benchmarl() -> None:
    names = [
        name
        for name in benchmarl_reciprocator.__all__
        if getattr(benchmarl_reciprocator, name).__module__.startswith(PURE)
    ]
    assert {"InfluenceEstimator", "alignment_term", "reward_transfer"} <= set(names)
    run(f"import sys; from {PACKAGE} import {', '.join(names)}; assert 'benchmarl' not in sys.modules")


@pytest.mark.parametrize(
    "code",
    [
        f"import benchmarl, {PACKAGE}",
        f"import {PACKAGE} as ours; ours.ReciprocatorConfig",
        # Loads nothing of BenchMARL by itself
        f"import {PACKAGE} as ours, benchmarl; ours.InfluenceEstimator",
    ],
)
def test_whoever_has_loaded_benchmarl_finds_the_package_registered(code: str) -> None:
    run(f"{code}; from benchmarl.algorithms import algorithm_config_registry as names; assert 'reciprocator' in names")


def test_every_name_loads_without_the_extras() -> None:
    run(WITHOUT_EXTRAS + ALL_NAMES)


def test_benchmarl_trains_without_the_extras(tmp_path: Path) -> None:
    options = (
        *("algorithm=mixed", "+preset=prisoners_dilemma", "experiment.max_n_iters=1", "experiment.loggers=[]"),
        *("experiment.on_policy_n_envs_per_worker=8", "experiment.on_policy_collected_frames_per_batch=256"),
        *("experiment.on_policy_minibatch_size=64", "experiment.on_policy_n_minibatch_iters=1"),
        *("experiment.evaluation_interval=256", "experiment.evaluation_episodes=2", f"hydra.run.dir={tmp_path}"),
    )
    run(WITHOUT_EXTRAS + TRAIN, *options, cwd=tmp_path)
    (results,) = tmp_path.rglob("mixed_*/*.json")
    assert "p_cooperate" in results.read_text()


def test_the_core_requires_none_of_the_extras() -> None:
    core = [line for line in requires("benchmarl-reciprocator") or [] if "extra ==" not in line]
    names = {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for line in core}
    assert "benchmarl" in names
    assert not names & {*EXTRAS, *EXTRAS_OF_THE_TESTS, "hydra_joblib_launcher"}


def test_extras_can_be_missing() -> None:
    # Else the two tests above would pass whatever the package needs.
    with pytest.raises(AssertionError, match="No module named 'pandas'"):
        run(WITHOUT_EXTRAS + "import pandas")


def test_importing_every_module_changes_nothing_of_the_process() -> None:
    # Axelrod takes half a minute to load. A module that needs it from the start may say so.
    code = WITHOUT.format(extras=("axelrod",)) + STATE + "print('changed:', changed_by(import_everything))"
    assert run(code).endswith("changed: []\n")


def test_changes_of_the_process_are_seen() -> None:
    changes = {
        "matplotlib's backend": "matplotlib.use('svg')",
        "environment variables": "os.environ['TQDM_DISABLE'] = '1'",
        "warnings filters": "warnings.simplefilter('ignore')",
        "torch's default dtype": "torch.set_default_dtype(torch.float64)",
        "random states": "torch.rand(1)",
    }
    code = f"for what, code in {changes}.items(): assert what in changed_by(lambda: exec(code)), what"
    run(STATE + code)
