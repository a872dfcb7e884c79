"""What the command lines share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def split_inputs(inputs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Places on disk, and overrides of the task, as they come on the command line."""
    overrides = [entry for entry in inputs if entry.startswith(("task=", "task."))]
    return [Path(entry) for entry in inputs if entry not in overrides], overrides
