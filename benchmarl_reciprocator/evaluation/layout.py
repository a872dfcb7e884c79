"""What a suite's folder looks like."""

from __future__ import annotations

from pathlib import Path

# In the folder of a run: its record once it has finished, why it failed, and how many iterations it has done.
RECORD = "run.json"
FAILURE = "failure.txt"
PROGRESS = "progress"


def runs_folder(folder: Path) -> Path:
    """Where the runs in ``folder`` are: a suite's in its ``runs/``, beside which other results may lie."""
    runs = folder / "runs"
    return runs if runs.is_dir() else folder
