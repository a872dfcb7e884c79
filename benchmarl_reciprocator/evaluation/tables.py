"""Tables as files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarl_reciprocator.evaluation.sections import Table, unmarked


def write_table(table: Table, file: Path) -> None:
    """Write ``table`` as CSV and as LaTeX, marked rows of the latter in bold.

    Args:
        table (Table): whose cells are written as text.
        file (Path): without its ending.
    """
    rows = [[unmarked(str(cell)) for cell in row] for row in table.rows]
    frame = pd.DataFrame(rows, columns=[unmarked(column) for column in table.columns])
    frame.to_csv(file.with_suffix(".csv"), index=False)
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    marked = style.apply(
        lambda row: ["textbf: --rwrap;" if row.name in set(table.best) else ""] * len(row), axis="columns"
    )
    file.with_suffix(".tex").write_text(marked.to_latex(hrules=True).replace("†", r"\dag"), encoding="utf-8")
