"""The benchmark of modulated fields, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.results import Results
from benchmarks.fields import cam
from mappers.command_line import run_script


def test_four_fields_are_compared_on_a_small_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cam, "REPEATS", 1)
    output = tmp_path / "cam.json"
    words = ["--tasks", "picture", "--size", "16", "--steps", "2", "--seeds", "1", "--output", str(output)]
    assert run_script(cam.main, words) == 0
    results = Results(output)
    rows = {field: results.rows[f"picture: astronaut, middle 16x16, {field}"] for field in cam.FIELDS}
    assert rows["larger"]["parameters"] >= rows["cam"]["parameters"] > rows["plain"]["parameters"]
    (table,) = results.tables
    assert [row[0] for row in table.rows] == list(cam.FIELDS)
