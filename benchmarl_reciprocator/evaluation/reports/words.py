"""Names as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What the names of tasks, which are identifiers, leave out.
SPELLING = {"prisoners": "prisoner's"}


def title_of(task: str, n_agents: int | None = None) -> str:
    """A task's name as a title: ``public_goods_5`` as "Public goods, 5 agents".

    Args:
        task (str): an identifier.
        n_agents (int, optional): of the game; a number of the same at the end of the name is that of its agents.
    """
    words = [SPELLING.get(word, word) for word in re.split(r"[_\s]+", task.lower()) if word]
    number = words.pop() if len(words) > 1 and words[-1].isdigit() else None
    title = " ".join(words) or task
    title = title[0].upper() + title[1:]
    if number is None:
        return title
    return f"{title}, {number} agents" if int(number) == n_agents else f"{title} {number}"


def plain(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def listed(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: int, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def told(options: Mapping[str, Any]) -> str:
    """A task's options in a line, without those that are not set or are a matter of training alone."""
    return ", ".join(f"{key}={value}" for key, value in options.items() if value is not None and key != "grouping")
