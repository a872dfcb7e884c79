"""Results held against earlier ones: what changed, and whether that is beyond noise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarl_reciprocator.commands import compare
from benchmarl_reciprocator.evaluation import comparison
from benchmarl_reciprocator.evaluation.comparison import interval_of_difference
from benchmarl_reciprocator.evaluation.result_files import read_results

MEASURE = {"metric": "p_cooperate", "label": "P(cooperate)", "low": 0.0, "high": 1.0}
SEEDS = (0, 1, 2)


def write_run(
    folder: Path, seed: int, score: float, share: float, task: str = "pd", population: str = "IPPO", **record: Any
) -> None:
    """A finished run as a suite leaves it: two evaluations, the last of which is the end of training."""
    place = folder / "runs" / task / population / f"seed_{seed}"
    (place / "experiment").mkdir(parents=True)
    steps = {
        f"step_{step}": {"step_count": 100 * (step + 1), "return": [at, at], "p_cooperate": [share, share]}
        for step, at in enumerate((0.0, score))
    }
    evaluations = {"social_dilemmas": {"prisoners_dilemma": {"ippo": {f"seed_{seed}": steps}}}}
    (place / "experiment" / "experiment.json").write_text(json.dumps(evaluations))
    told = {
        "task": task,
        "population": population,
        "seed": seed,
        "json": "experiment/experiment.json",
        "frames": 200,
        "agents": ["ippo", "ippo"],
        "overrides": ["algorithm=ippo"],
        "commit": "abc",
        "task_version": 1,
        "cooperation": MEASURE,
    }
    (place / "run.json").write_text(json.dumps({**told, **record}))


def write_runs(folder: Path, scores: Sequence[float], seeds: Sequence[int] = SEEDS, **record: Any) -> Path:
    for seed, score in zip(seeds, scores):
        write_run(folder, seed, score, share=0.5, **record)
    return folder


def run(old: Path, new: Path, output: Path, *options: str) -> tuple[int, str]:
    """The exit code and the markdown."""
    code = compare.main([str(old), str(new), "--output", str(output), *options])
    return code, (output / "compare.md").read_text()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "old", [10.0, 11.0, 12.0])


def test_identical_runs_are_said_to_be_so(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    for options in ((), ("--exact",)):
        code, text = run(old, tmp_path / "new", tmp_path / "out", *options)
        assert code == 0
        assert "All 3 runs that both have are identical to the last digit." in text
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert table["measure"].tolist() == ["return", "p_cooperate"]
    assert set(table["verdict"]) == {"identical"}
    assert (tmp_path / "out" / "section.json").is_file()


def test_a_shift_of_all_seeds_is_beyond_noise(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    # Each seed gains about as much, which seeds in other order would hide.
    new = write_runs(tmp_path / "new", [13.0, 14.1, 14.9])
    code, text = run(old, new, tmp_path / "out")
    assert code == 1
    assert "1 of 2 differences are beyond noise" in text and "IPPO on pd, return +3.00" in text
    (changed,) = (row for row in pd.read_csv(tmp_path / "out" / "compare.csv").itertuples() if row.verdict == "changed")
    assert changed.measure == "return" and changed.paired
    assert (changed.old, changed.new, changed.difference) == (11.0, 14.0, 3.0)
    assert 2.5 < changed.low < 3 < changed.high < 3.5
    assert text in capsys.readouterr().out
    assert "Of 2 such intervals about 0.1 fail to hold zero by chance" in text


def test_what_seeds_differ_by_anyway_is_noise(old: Path, tmp_path: Path) -> None:
    # All three went up, which happens by chance in one of four cases: a bootstrap of three seeds alone would call it
    # a change.
    new = write_runs(tmp_path / "new", [10.1, 13.0, 12.3])
    code, text = run(old, new, tmp_path / "out")
    assert code == 0
    assert "Nothing changed beyond noise" in text
    # But nothing less than identity satisfies --exact.
    assert run(old, new, tmp_path / "out", "--exact")[0] == 1


def test_the_last_digit_is_no_change(old: Path, tmp_path: Path) -> None:
    new = write_runs(tmp_path / "new", [10 + 1e-7, 11 + 1e-7, 12 + 1e-7])
    code, text = run(old, new, tmp_path / "out")
    assert code == 0
    assert "identical to the last digit" not in text


def test_other_seeds_are_compared_unpaired(old: Path, tmp_path: Path) -> None:
    new = write_runs(tmp_path / "new", [20.0, 21.0, 22.0], seeds=(7, 8, 9))
    code, text = run(old, new, tmp_path / "out")
    assert code == 1
    assert "3 and 3, not paired" in text
    assert "Only in the old results" in text and "pd, IPPO: seeds 7, 8, 9" in text


def test_one_seed_cannot_tell(old: Path, tmp_path: Path) -> None:
    new = write_runs(tmp_path / "new", [30.0])
    code, text = run(old, new, tmp_path / "out")
    assert code == 0
    assert "one seed: cannot tell" in text
    assert "pd, IPPO: seeds 1, 2" in text


def test_runs_on_one_side_only_are_listed(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    write_runs(old, [1.0], seeds=[4], population="gone")
    write_runs(tmp_path / "new", [1.0], seeds=[4], task="hunt")
    code, text = run(old, tmp_path / "new", tmp_path / "out")
    assert code == 0
    assert "2 runs are on one side only" in text
    assert "## Only in the old results\n\n- pd, gone: seed 4" in text
    assert "## Only in the new results\n\n- hunt, IPPO: seed 4" in text
    assert run(old, tmp_path / "new", tmp_path / "out", "--exact")[0] == 1


def test_other_versions_of_a_task_are_refused(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    new = write_runs(tmp_path / "new", [10.0, 11.0, 12.0], task_version=2)
    with pytest.raises(SystemExit) as ended:
        run(old, new, tmp_path / "out")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert (
        "pd must be of one task version to be compared, but is version 1 in the old results and 2 in the new" in error
    )
    assert error.count("\n") == 1
    # Beside tasks of one version it is left out, with the reason, and that is a change.
    for side in (old, new):
        write_runs(side, [1.0, 2.0, 3.0], task="hunt")
    code, text = run(old, new, tmp_path / "out")
    assert code == 1
    assert "## Not compared\n\n- pd must be of one task version" in text
    assert set(pd.read_csv(tmp_path / "out" / "compare.csv")["task"]) == {"hunt"}


def test_results_of_before_there_were_versions_are_compared_and_marked(old: Path, tmp_path: Path) -> None:
    new = write_runs(tmp_path / "new", [10.0, 11.0, 12.0])
    for file in old.rglob("run.json"):
        record = json.loads(file.read_text())
        del record["task_version"], record["cooperation"]
        file.write_text(json.dumps(record))
    code, text = run(old, new, tmp_path / "out")
    assert code == 0
    assert "All 3 runs that both have are identical" in text
    assert "only one side tells the version of the task" in text


def test_what_else_is_not_the_same_is_told(old: Path, tmp_path: Path) -> None:
    overrides = ["algorithm=ippo", "experiment.lr=0.1"]
    new = write_runs(tmp_path / "new", [10.0, 11.0, 12.0], overrides=overrides, commit="def", frames=400)
    _, text = run(old, new, tmp_path / "out")
    assert "pd, IPPO: the new runs are with `experiment.lr=0.1`" in text
    assert "pd, IPPO: trained for 400 frames, before for 200" in text
    assert "git commit: abc before, def now" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda new: None, "new must be a folder of results, but is "),
        (lambda new: new.mkdir(), "the new results must hold at least one finished run, but there is none"),
        (
            lambda new: write_runs(new, [1.0], task="hunt"),
            "must have a population on a task in common, but old has IPPO on pd; new has IPPO on hunt",
        ),
    ],
)
def test_nothing_to_compare_is_one_line(old: Path, tmp_path: Path, make: Any, message: str, capsys) -> None:
    make(tmp_path / "new")
    with pytest.raises(SystemExit) as ended:
        run(old, tmp_path / "new", tmp_path / "out")
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_identity_is_of_all_measures_that_both_have(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    (file,) = (tmp_path / "new").glob("runs/*/*/seed_1/experiment/experiment.json")
    content = json.loads(file.read_text())
    steps = content["social_dilemmas"]["prisoners_dilemma"]["ippo"]["seed_1"]
    steps["step_1"]["peace"] = [1.0]
    file.write_text(json.dumps(content))
    sides = [read_results(folder) for folder in (old, tmp_path / "new")]
    assert comparison.compare(*sides).all_identical
    steps["step_0"]["p_cooperate"] = [0.4, 0.5]
    file.write_text(json.dumps(content))
    found = comparison.compare(sides[0], read_results(tmp_path / "new"))
    assert found.differing == [("pd", "IPPO", 1)]
    assert not found.all_identical


def test_intervals_hold_zero_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for paired in (True, False):
        held = 0
        for _ in range(200):
            old, new = rng.normal(size=(2, 3))
            interval = interval_of_difference(old, new, paired)
            held += interval.low <= 0 <= interval.high
        # A bootstrap alone would hold it in about 150 of the 200.
        assert held >= 183
