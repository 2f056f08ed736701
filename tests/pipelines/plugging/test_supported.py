"""What the list says is what tests draw and learn with, and what the manual says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mappers.tables import markdown_table
from pipelines.cli import main
from pipelines.plugging.supported import COLUMNS, supported, table

from . import test_transformer_hooks, test_transformer_training
from .test_conventions import PIPELINES

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "learned-word-on-transformers.md"


def test_tests_draw_and_learn_with_every_class() -> None:
    moved = [one for one in supported() if one.mode == "bypass"]
    assert {one.network for one in moved} == {*PIPELINES, *test_transformer_hooks.CONTROLNETS}
    assert {one.network for one in moved if one.training} == {*test_transformer_training.KINDS}


def test_the_manual_has_the_list() -> None:
    assert markdown_table(COLUMNS, table()) in PAGE.read_text(encoding="utf-8")


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--supported"]) == 0
    assert "Flux2Transformer2DModel\tFLUX.2\tbypass\tno\tno" in capsys.readouterr().out
    assert main(["models", "--supported", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["network"] for row in rows] == [one.network for one in supported()]
