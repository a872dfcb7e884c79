"""What a suite stands for, on disk and as overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import benchmarl_reciprocator.conf
from benchmarl_reciprocator.evaluation.layout import FAILURE, PROGRESS, RECORD
from benchmarl_reciprocator.suites.earlier import made_otherwise
from benchmarl_reciprocator.suites.suite import Run, expand, failure, is_done, iterations_done

SUITES = Path(benchmarl_reciprocator.conf.__file__).parent / "suite"
SUITE = {
    "seeds": 2,
    "tasks": {"pd": ["+preset=prisoners_dilemma"], "balance": "vmas/balance"},
    "populations": {"IPPO": "ippo", "mine": ["algorithm=mine", "algorithm.x=1"]},
}


def test_a_suite_is_populations_by_tasks_by_seeds() -> None:
    runs = expand(SUITE, ["experiment.lr=0.1"])
    assert len(runs) == 8
    # The first seed of everything comes first, so that a suite that is cut short is whole for fewer seeds.
    assert [run.seed for run in runs] == [0] * 4 + [1] * 4
    assert runs[0].overrides == ("+preset=prisoners_dilemma", "algorithm=ippo", "experiment.lr=0.1")
    assert runs[3].overrides == ("task=vmas/balance", "algorithm=mine", "algorithm.x=1", "experiment.lr=0.1")
    assert [run.seed for run in expand({**SUITE, "seeds": [7, 3, 7]})] == [7] * 4 + [3] * 4


def test_other_overrides_have_another_folder() -> None:
    folders = {run.folder for common in ([], ["experiment.lr=0.1"]) for run in expand(SUITE, common)}
    assert len(folders) == 16
    assert expand(SUITE)[0].folder == expand(SUITE)[0].folder


@pytest.mark.parametrize(
    ("entry", "value", "named"),
    [
        ("seeds", 0, "suite.seeds must be .* but is 0"),
        ("seeds", [], r"suite.seeds must be .* but is \[\]"),
        ("seeds", ["a"], r"suite.seeds must be .* but is \['a'\]"),
        ("tasks", {}, "suite.tasks must be a mapping .* but is {}"),
        ("tasks", ["pd"], "suite.tasks must be a mapping"),
        ("populations", {"x": 3}, "suite.populations.x must be the name of an algorithm"),
        ("populations", {"x": []}, r"suite.populations.x must be .* but is \[\]"),
        ("seed", 1, r"suite must have .* but has \['seed'\] too"),
    ],
)
def test_a_bad_suite_is_told_by_its_key(entry: str, value: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        expand({**SUITE, entry: value})


@pytest.mark.parametrize("file", sorted(SUITES.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_suites_are_well_formed(file: Path) -> None:
    runs = expand(yaml.safe_load(file.read_text()))
    assert len({run.folder for run in runs}) == len(runs)


def test_only_a_whole_record_with_its_results_is_done(tmp_path: Path) -> None:
    run = Run("pd", "IPPO", 0, ("algorithm=ippo",))
    place = tmp_path / run.folder
    place.mkdir(parents=True)
    assert not is_done(tmp_path, run)
    (place / RECORD).write_text('{"json": "a/')
    assert not is_done(tmp_path, run)
    (place / RECORD).write_text(json.dumps({"json": "results.json"}))
    assert not is_done(tmp_path, run)
    (place / "results.json").write_text("{}")
    assert is_done(tmp_path, run)


def test_progress_and_failure_are_read_off_the_disk(tmp_path: Path) -> None:
    runs = expand(SUITE)
    for run, done in zip(runs, ("3", "4", "")):
        (tmp_path / run.folder).mkdir(parents=True)
        (tmp_path / run.folder / PROGRESS).write_text(done)
    assert iterations_done(tmp_path, runs) == 7
    assert "ended from outside" in failure(tmp_path, runs[0])
    (tmp_path / runs[0].folder / FAILURE).write_text(
        "Traceback\n  ...\nValueError: task.n_agents must be an integer >= 2, but is 1\n"
    )
    assert failure(tmp_path, runs[0]) == "ValueError: task.n_agents must be an integer >= 2, but is 1"


def test_results_made_with_other_options_are_told(tmp_path: Path) -> None:
    run = Run("pd", "mine", 0, ("+preset=one",))
    options = {"algorithm": {"share_policy": "${tuned}", "lmbda": 0.9}, "tuned": False, "folder": "there"}
    file = tmp_path / run.folder / ".hydra" / "config.yaml"
    file.parent.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(options), file)
    # What is new, and where a run goes, are no differences.
    same = OmegaConf.create({**options, "folder": "here", "co_players": {"share": 0.0}})
    assert made_otherwise(tmp_path, [run], lambda _: same) == []
    changed = OmegaConf.merge(same, {"tuned": True})
    (told,) = made_otherwise(tmp_path, [run, Run("pd", "mine", 1, ("+preset=one",))], lambda _: changed)
    assert "pd, mine" in told and "algorithm.share_policy was False, is True" in told
    assert str(file.parent.parent.parent) in told
