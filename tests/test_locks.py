"""One process at a time writes into a folder, and a killed one leaves no lock behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarl_reciprocator.commands import benchmark, crossplay, exploitability, tournament
from benchmarl_reciprocator.evaluation.layout import RECORD
from benchmarl_reciprocator.evaluation.locks import InUseError, in_use, locked

HOLD = """
import sys, time
from pathlib import Path
from benchmarl_reciprocator.evaluation.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""
SHORT = [
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
    "hydra/launcher=basic",
]


def test_a_second_process_is_told_and_a_killed_one_forgotten(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"locked\n"
            whom = f"{tmp_path} is in use by process {process.pid} of "
            with (
                pytest.raises(InUseError, match=f"--output must be a folder that nobody writes to, but {whom}"),
                locked(tmp_path),
            ):
                pass
            assert in_use(tmp_path) is not None
        finally:
            process.kill()
    assert in_use(tmp_path) is None
    with locked(tmp_path), pytest.raises(InUseError), locked(tmp_path):
        pass
    assert in_use(tmp_path) is None


@pytest.mark.slow
def test_a_run_that_is_alive_is_left_to_the_process_that_is_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "conf" / "suite").mkdir(parents=True)
    suite = {"seeds": 2, "tasks": {"pd": ["+preset=prisoners_dilemma"]}, "populations": {"learner": "ippo"}}
    (tmp_path / "conf" / "suite" / "two.yaml").write_text(yaml.safe_dump(suite))
    folder = tmp_path / "suite"
    arguments = [f"--config-dir={tmp_path / 'conf'}", "suite=two", *SHORT, "experiment.max_n_iters=20"]
    arguments += [f"folder={folder}"]
    first = subprocess.Popen(
        [sys.executable, "-m", "benchmarl_reciprocator", "benchmark", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(folder.glob("runs/*/*/seed_0/progress")):
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        (place,) = folder.glob("runs/*/*/seed_0")

        def contents() -> dict[Path, bytes]:
            ours = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
            return {path: content for path, content in ours.items() if ".hydra" not in path.parts}

        before = contents()
        assert benchmark.main(arguments) == 1
        said = f"pd, learner, seed 0: left to the process that is at it: its folder is in use by process {first.pid} of"
        assert said in capsys.readouterr().err
        assert contents() == before
        (done,) = folder.glob(f"runs/*/*/*/{RECORD}")
        written = done.stat().st_mtime_ns
        # The first goes on, and does not repeat what the second has done.
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=120) == 0
        assert len(list(folder.glob(f"runs/*/*/*/{RECORD}"))) == 2
        assert done.stat().st_mtime_ns == written
    finally:
        if first.poll() is None:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()


@pytest.mark.parametrize("command", [crossplay.main, exploitability.main, tournament.main])
def test_a_folder_of_results_is_written_by_one_command_at_a_time(
    command: Callable[[list[str]], int], checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [str(checkpoints / "runs" / "recip_seed_0"), f"--output={tmp_path}"]
    with locked(tmp_path), pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    said = f"--output must be a folder that nobody writes to, but {tmp_path} is in use by process {os.getpid()}"
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}
