"""The first command of a newcomer: what it prints, draws and leaves."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from benchmarl_reciprocator import SocialDilemmaTask, extensions
from benchmarl_reciprocator.agents.agent import ScriptedAgent
from benchmarl_reciprocator.commands import cli, demo
from benchmarl_reciprocator.evaluation.play_picture import actions_of_an_episode, draw_actions
from benchmarl_reciprocator.suites import sweep
from benchmarl_reciprocator.suites.demonstration import cooperation_so_far
from benchmarl_reciprocator.suites.suite import Run, expand

# A suite in seconds, in this process.
TINY = [
    "experiment.max_n_iters=2",
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
    "hydra/launcher=basic",
]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    run_suite = sweep.run_suite
    monkeypatch.setattr(sweep, "run_suite", lambda arguments, **further: run_suite([*arguments, *TINY], **further))


def test_demo_prints_draws_and_tells_what_comes_next(tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "demo"
    assert cli.main(["demo", "--output", str(folder), "--seed", "3"]) == 0
    captured = capsys.readouterr()
    assert "| Reciprocator " in captured.out and "| IPPO " in captured.out
    assert "if all cooperate | 100%       | -1.00" in captured.out
    # The package's own method first.
    assert captured.out.index("| Reciprocator ") < captured.out.index("| IPPO ")
    assert "cooperation: Reciprocator " in captured.err
    assert f"benchmarl-reciprocator crossplay {folder}" in captured.out
    assert "](curve.png)" in (folder / "demo.md").read_text()
    for name in ("curve.png", "play.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 200
            assert np.asarray(image.convert("L")).std() > 10
    assert json.loads((folder / "section.json").read_text())["demo"]
    # Another call shows the same and trains nothing.
    records = {file: file.stat().st_mtime_ns for file in folder.rglob("run.record")}
    assert len(records) == 2
    assert cli.main(["demo", "--output", str(folder), "--seed", "3"]) == 0
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("run.record")} == records
    assert capsys.readouterr().out == captured.out


def test_failed_training_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    outcome = sweep.Outcome(tmp_path, [], ["prisoners_dilemma, IPPO, seed 2: MemoryError"])
    monkeypatch.setattr(sweep, "run_suite", lambda *arguments, **further: outcome)
    assert demo.main(["--output", str(tmp_path)]) == 1
    assert "prisoners_dilemma, IPPO, seed 2: MemoryError" in capsys.readouterr().err


def test_the_suite_of_the_demo_is_one_run_for_each_population() -> None:
    runs = expand(yaml.safe_load(extensions.yaml_files("suite")[demo.SUITE].read_text()))
    assert [run.population for run in runs] == ["Reciprocator", "IPPO"]


def test_progress_is_that_of_the_newest_evaluation(tmp_path: Path) -> None:
    run = Run("pd", "IPPO", 0, ("algorithm=ippo",))
    assert cooperation_so_far(tmp_path, [run]) == "starting"
    experiment = tmp_path / run.folder / "experiment"
    experiment.mkdir(parents=True)
    (experiment / "experiment.json").write_text('{"social_dil')
    assert cooperation_so_far(tmp_path, [run]) == "starting"
    steps = {f"step_{step}": {"step_count": step, "p_cooperate": [share]} for step, share in ((1, 0.5), (2, 0.25))}
    (experiment / "experiment.json").write_text(json.dumps({"e": {"pd": {"ippo": {"seed_0": steps}}}}))
    assert cooperation_so_far(tmp_path, [run]) == "cooperation: IPPO 25%"


def test_picture_is_of_what_was_played(tmp_path: Path) -> None:
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    task.config["max_steps"] = 6
    makers = task.players()
    agents = [ScriptedAgent(makers[name]()) for name in ("tit_for_tat", "all_d")]
    before = torch.random.get_rng_state()
    actions = actions_of_an_episode(task, agents)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert actions.tolist() == [[0, 1], *5 * [[1, 1]]]
    draw = partial(draw_actions, names=("cooperate", "defect"), title="", subtitles={})
    draw({"one": actions, "other": 1 - actions}, file=tmp_path / "a" / "play.png")
    draw({"one": actions, "other": actions}, file=tmp_path / "b.png")
    pictures = [
        np.asarray(Image.open(file).convert("RGB")) for file in (tmp_path / "a" / "play.png", tmp_path / "b.png")
    ]
    assert pictures[0].shape == pictures[1].shape
    half = pictures[0].shape[1] // 2
    assert (pictures[0][:, :half] == pictures[1][:, :half]).all()
    assert (pictures[0][:, half:] != pictures[1][:, half:]).any()
