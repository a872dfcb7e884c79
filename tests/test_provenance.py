"""Where results come from is told as far as it is known, and fails nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarl_reciprocator.evaluation.provenance import add_setting, setting


def test_without_git(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = setting()
    assert found["commit"] is None
    assert found["versions"]["torch"]


def test_a_git_that_hangs(monkeypatch) -> None:
    def hang(command: list[str], timeout: float, **_) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert setting()["commit"] is None


@pytest.mark.parametrize("content", ["{", "3"])
def test_a_setting_that_cannot_be_read_is_kept_and_begun_anew(content: str, tmp_path: Path) -> None:
    file = tmp_path / "setting.json"
    file.write_text(content)
    with pytest.warns(UserWarning, match=r"kept as setting.unreadable, written anew"):
        add_setting(file, "benchmarl-reciprocator crossplay")
    assert file.with_suffix(".unreadable").read_text() == content
    assert [entry["command"].startswith("benchmarl-reciprocator") for entry in json.loads(file.read_text())] == [True]
