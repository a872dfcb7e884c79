"""What a suite's folder looks like."""

from __future__ import annotations

from pathlib import Path

# In the folder of a run: its record once it has finished, why it failed, and how many iterations it has done.
# The record is json, but not by its name: BenchMARL's plotting and marl-eval take every .json below for results.
RECORD = "run.record"
FAILURE = "failure.txt"
PROGRESS = "progress"
# The record's name until version 0.2
OLD_RECORD = "run.json"
# What cross-play leaves of the worst case of each population, for the report
WORST_CASES = "worst_cases.csv"


def runs_folder(folder: Path) -> Path:
    """Where the runs in ``folder`` are: a suite's in its ``runs/``, beside which other results may lie."""
    runs = folder / "runs"
    return runs if runs.is_dir() else folder


def record_of(run: Path) -> Path | None:
    """The record in the folder of a run, by its name or its earlier one; ``None`` where it has not finished."""
    files = (run / RECORD, run / OLD_RECORD)
    return next((file for file in files if file.is_file()), None)


def find_records(folder: Path) -> list[Path]:
    """The records of all runs at any depth below ``folder``, one for each run."""
    runs = {file.parent for name in (RECORD, OLD_RECORD) for file in folder.rglob(name)}
    return [file for run in sorted(runs) if (file := record_of(run)) is not None]
