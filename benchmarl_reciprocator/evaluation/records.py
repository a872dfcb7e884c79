"""Records on disk: how they are named, written as a whole and found again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any


def digest_of(identity: dict[str, Any]) -> str:
    """A short name for all that decides what comes out."""
    return hashlib.sha1(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:12]


def earlier_record(file: Path) -> dict[str, Any] | None:
    """The record that an earlier command left, if it can be read."""
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        warnings.warn(f"{file} cannot be read ({error!r}): played again", stacklevel=2)
        return None


def write_json(file: Path, content: Any) -> None:
    """Write ``content`` as a whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, default=str))
    os.replace(partial, file)


def slug(name: str) -> str:
    """``name`` for use in the name of a file or folder."""
    return re.sub(r"\W+", "_", name.lower()).strip("_") or "run"
