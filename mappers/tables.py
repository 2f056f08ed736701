"""Tables of figures in Markdown: the one writer that reports, model cards, benchmarks, demos and documents use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> str:
    """A table in Markdown, without a line break at its end.

    Args:
        columns: their heads; "" for a column without one.
        rows: a cell for each column; see `markdown_cell`. Format numbers before, where four digits do not suit.
        title: in bold above the table; "" leaves it out.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells does not fit {len(columns)} columns: {list(row)}")
    lines = [list(columns), ["---"] * len(columns), *([markdown_cell(cell) for cell in row] for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{title}**\n\n{table}" if title else table


def markdown_cell(value: Any) -> str:
    """A cell's text: floats with four significant digits, lists with semicolons, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "; ".join(
            f"({markdown_cell(one)})" if isinstance(one, list) else markdown_cell(one) or "-" for one in value
        )
    return str(value)
