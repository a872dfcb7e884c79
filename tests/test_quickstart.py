"""The quick start: runs what is missing, reports what is there, loses nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarl_reciprocator import quickstart
from benchmarl_reciprocator.results import final_rows, interval, read_evaluations

TINY = [
    "--seeds=1",
    "--iterations=2",
    "--processes=1",
    "--only",
    "Reciprocator + IPPO",
    "MAPPO",
    "--",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
]


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstart", f"--folder={folder}", *arguments])
    return quickstart.main()


def test_quickstart_reports_and_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, tmp_path, *TINY) == 0
    printed = capsys.readouterr().out
    assert "Reciprocator + IPPO" in printed
    table = pd.read_csv(tmp_path / "table.csv")
    assert table["population"].tolist() == ["Reciprocator + IPPO", "MAPPO"]
    assert table["grouping"].tolist() == ["per_agent", "one_group"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    (setting,) = json.loads((tmp_path / "setting.json").read_text())
    assert setting["command"].endswith("experiment.evaluation_episodes=4")

    records = {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/*/run.json")}
    assert len(records) == 2
    lost = sorted(records)[0]
    lost.unlink()
    assert run(monkeypatch, tmp_path, *TINY) == 0
    for file, written in records.items():
        assert (file.stat().st_mtime_ns != written) == (file == lost)


def test_a_failed_run_is_told_and_the_others_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    # MAPPO has no reciprocal reward: the override fails its run alone.
    assert (
        run(
            monkeypatch,
            tmp_path,
            "--only",
            "Reciprocator + Rec",
            "MAPPO",
            *TINY[:3],
            "--",
            *TINY[7:],
            "algorithm.warmup=0",
        )
        == 1
    )
    printed = capsys.readouterr().out
    assert "FAILED MAPPO, seed 0" in printed
    assert pd.read_csv(tmp_path / "table.csv")["population"].tolist() == ["Reciprocator + Reciprocator"]


@pytest.mark.parametrize("arguments", [["--seeds=0"], ["--iterations=-1"], ["--only", "Nobody"]])
def test_bad_arguments_are_named(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, *arguments)
    assert "is not allowed, allowed: " in capsys.readouterr().err


def test_evaluations_are_read_by_hand_worked_numbers(tmp_path: Path) -> None:
    steps = {
        "absolute_metrics": {"return": [3.0]},
        "step_0": {"step_count": 10, "return": [1.0, 3.0]},
        "step_1": {"step_count": 20, "return": [2.0, 6.0]},
    }
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"env": {"task": {"ippo": {"seed_3": steps}}}}))
    frame = read_evaluations(file)
    assert frame["frames"].tolist() == [10, 20]
    assert frame["return"].tolist() == [2.0, 4.0]
    assert frame["seed"].tolist() == [3, 3]
    # The last fifth of 20 frames begins after frame 16.
    assert final_rows(frame, by=["seed"])["return"].tolist() == [4.0]
    file.write_text("{")
    with pytest.raises(ValueError, match="is not an evaluation JSON"):
        read_evaluations(file)


def test_interval_shows_the_range() -> None:
    assert interval(pd.Series([0.0, 0.5, 1.0])) == "0.50 [0.00, 1.00]"
