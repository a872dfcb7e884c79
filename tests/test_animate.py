"""Pictures of trained policies: GIFs of checkpoints and evaluation videos."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from benchmarl.experiment import ExperimentConfig
from PIL import Image

from benchmarl_reciprocator.commands import animate
from benchmarl_reciprocator.plugin.task_callback import TaskCallback


def saved(small_experiment, preset: str) -> tuple[Path, Path]:
    """A checkpoint and the folder of its experiment."""
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.observe_balance=True",
        "experiment.checkpoint_at_end=True",
        "experiment.max_n_iters=1",
        preset=preset,
    )
    experiment.run()
    return next((experiment.folder_name / "checkpoints").iterdir()), experiment.folder_name


def test_gif_of_a_checkpoint(small_experiment, tmp_path: Path) -> None:
    checkpoint, folder = saved(small_experiment, "coins")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    gif = tmp_path / "new" / "coins.gif"
    assert animate.animate(checkpoint, gif, seed=1) == 33
    with Image.open(gif) as image:
        # Frames like the one before them are stored as a longer one.
        assert 10 <= image.n_frames <= 33
        assert image.size == (192, 192)
    # What is played is not what was saved: the run's folder is left as it is.
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    again = tmp_path / "again.gif"
    animate.animate(checkpoint, again, seed=1)
    assert again.read_bytes() == gif.read_bytes()


def test_task_without_pictures_is_refused(small_experiment, tmp_path: Path) -> None:
    checkpoint, _ = saved(small_experiment, "prisoners_dilemma")
    with pytest.raises(ValueError, match=r"task must be one that renders, but is 'prisoners_dilemma'"):
        animate.animate(checkpoint, tmp_path / "a.gif")


def test_missing_checkpoint_is_one_clear_error(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        animate.main([str(tmp_path / "none.pt"), str(tmp_path / "a.gif")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "error: checkpoint must be a file that an experiment saved, but is " in error and "none.pt'" in error
    assert error.count("\n") == 1


def test_checkpoint_of_another_machine_and_of_an_earlier_version(small_experiment, tmp_path: Path) -> None:
    """A task of BenchMARL's, trained on a GPU, with a callback of a module that is there no more."""
    overrides = ("task=vmas/balance", "task.max_steps=5", "algorithm=ippo", "experiment.checkpoint_at_end=True")
    experiment = small_experiment(*overrides, preset=None)
    experiment.run()
    config = experiment.folder_name / "config.pkl"
    with open(config, "rb") as opened:
        *parts, _ = (pickle.load(opened) for _ in range(8))
    for part in parts:
        if isinstance(part, ExperimentConfig):
            part.train_device = part.sampling_device = part.buffer_device = "cuda"
    callback = b"cmodule_that_is_gone\nCallback\n."
    config.write_bytes(b"".join(map(pickle.dumps, parts)) + callback)
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    assert animate.animate(checkpoint, tmp_path / "balance.gif") == 6


def test_evaluation_video_is_kept_whether_or_not_it_can_be_encoded(small_experiment, monkeypatch) -> None:
    monkeypatch.setattr("benchmarl_reciprocator.plugin.task_callback._why_no_mp4", lambda: "no encoder")
    overrides = ("algorithm=ippo", "experiment.render=True", "experiment.loggers=[csv]", "experiment.max_n_iters=1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        experiment = small_experiment(*overrides, preset="coins")
    assert any("saved as tensors" in str(warning.message) for warning in caught)
    assert any(isinstance(callback, TaskCallback) for callback in experiment.callbacks)
    experiment.run()
    (video,) = experiment.folder_name.rglob("eval_video*.pt")
    assert torch.load(video).shape[-3:] == (3, 192, 192)
