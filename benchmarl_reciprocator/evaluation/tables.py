"""Tables as text."""

from __future__ import annotations

import pandas as pd


def markdown(table: pd.DataFrame) -> str:
    """``table`` as markdown, columns aligned."""
    cells = [list(table.columns), *table.astype(str).values.tolist()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    rows = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]])
