"""Docstrings of this package as Markdown: the few forms of reStructuredText that they use."""

from __future__ import annotations

import re

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([\w.]+)`")
RULE = re.compile(r"^=+(?: +=+)+ *$")


def as_markdown(text: str) -> str:
    """A docstring with its roles, literal blocks and tables in Markdown."""
    text = ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)
    text = re.sub(r"::$", ":", text, flags=re.M)
    return "\n".join(_with_tables(text.split("\n")))


def _with_tables(lines: list[str]) -> list[str]:
    """Lines in which each simple table, between rules of ``=``, is one of Markdown."""
    found = [number for number, line in enumerate(lines) if RULE.match(line.strip())]
    if len(found) < 3:
        return lines
    top, head, bottom = found[:3]
    starts = [match.start() for match in re.finditer("=+", lines[top])]
    columns = [slice(start, end) for start, end in zip(starts, [*starts[1:], None])]
    rows: list[list[str]] = []
    for line in [*lines[top + 1 : head], *lines[head + 1 : bottom]]:
        cells = [line[column].strip() for column in columns]
        if cells[0]:
            rows.append(cells)
        else:  # goes on from the line above
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells)]
    table = [f"| {' | '.join(cells)} |" for cells in rows]
    table.insert(1, f"|{' --- |' * len(columns)}")
    return [*lines[:top], *table, *_with_tables(lines[bottom + 1 :])]
