"""Tables in Markdown: heads, cells of every kind, and rows that do not fit."""

from __future__ import annotations

import pytest

from mappers.tables import markdown_table


def test_cells_are_text_with_four_digits_and_nothing_for_none() -> None:
    table = markdown_table(["", "PSNR"], [["hash", 31.23456], ["mlp", None], ["cam", 100], ["vm", [1.5, None, [2.0]]]])
    assert table.splitlines() == [
        "|  | PSNR |",
        "| --- | --- |",
        "| hash | 31.23 |",
        "| mlp |  |",
        "| cam | 100 |",
        "| vm | 1.5; -; (2) |",
    ]
    assert markdown_table(["a"], [], title="Crops").startswith("**Crops**\n\n| a |")


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells does not fit 2 columns"):
        markdown_table(["a", "b"], [["x"]])
