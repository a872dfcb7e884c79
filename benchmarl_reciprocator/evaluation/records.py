"""Records on disk: how they are named, written as a whole and found again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# File systems allow 255 bytes for a name, of which others take their part.
LONGEST = 80


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
    """``name`` for use in the name of a file or folder. Different names can come to the same: what must not meet needs
    a digest beside it.
    """
    words = re.sub(r"\W+", "_", unicodedata.normalize("NFC", name).lower()).strip("_") or "run"
    return words.encode()[:LONGEST].decode(errors="ignore")


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A :func:`slug` for each of ``names``, no two the same: those that meet an earlier one have a digest behind it."""
    chosen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        word = slug(name)
        chosen[name] = f"{word}_{digest_of({'name': name})}" if word in chosen.values() else word
    return chosen
