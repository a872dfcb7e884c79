"""How a bad option of a task is told."""

from __future__ import annotations


def check_option(key: str, value: object, valid: bool, allowed: str) -> None:
    """Raise one ``ValueError`` that names the config key, the value and what is allowed, unless ``valid``."""
    if not valid:
        raise ValueError(f"{key}={value!r} is not allowed, allowed: {allowed}")
