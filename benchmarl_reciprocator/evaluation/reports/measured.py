"""What a command that lets agents meet has measured, and what it could not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarl_reciprocator.evaluation.sections import Bullets, Section, literal


class MeasuredMeetings(NamedTuple):
    """What came of a command.

    Args:
        folder (Path): where everything is.
        text (str): the report in markdown.
        skipped (tuple of str): the meetings that did not take place, with the reasons.
    """

    folder: Path
    text: str
    skipped: tuple[str, ...] = ()


def skipped_section(skipped: Sequence[str]) -> list[Section]:
    """The section of a report that names what was skipped; none where nothing was."""
    return [Section("Skipped meetings", [Bullets([*map(literal, skipped)])])] if skipped else []
