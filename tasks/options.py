"""How users are told of a bad option: one readable sentence, ``<key> must be <what>, but is <value>``."""

from __future__ import annotations

from collections.abc import Iterable

PROBABILITY = "a probability from 0 to 1"


def check_option(key: str, value: object, valid: bool, must_be: str) -> None:
    """Raise the ``ValueError`` of :func:`bad_option` unless ``valid``."""
    if not valid:
        raise bad_option(key, value, must_be)


def bad_option(key: str, value: object, must_be: str) -> ValueError:
    """The error that names a config key, what it must be and what it is.

    Args:
        key (str): the key, such as ``"task.max_steps"``.
        value (object): what it is.
        must_be (str): what it must be, such as ``"an integer >= 1"``; for choices see :func:`one_of`.
    """
    return ValueError(f"{key} must be {must_be}, but is {value!r}")


def one_of(choices: Iterable[object]) -> str:
    """Choices as a sentence names them: ``"a, b or c"``."""
    *names, last = map(str, choices)
    return f"{', '.join(names)} or {last}" if names else last
