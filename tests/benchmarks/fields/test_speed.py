"""The benchmark of speed, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.results import Results
from benchmarks.fields import speed
from mappers.command_line import run_script


def test_our_fields_are_trained_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"occupancy": 0.1, "everywhere": 0.2, "ratio": 2.0}
    monkeypatch.setattr(speed, "drawing", lambda scene, trained: drawn)
    monkeypatch.setattr(speed, "PIXELS", 20)
    output = tmp_path / "speed.json"
    assert run_script(speed.main, ["--steps", "2", "--rays", "16", "--output", str(output)]) == 0
    results = Results(output, {"scene": "robot", "steps": 2, "rays": 16})
    ours, plain = results.rows["hash"]["fields"].values()
    assert ours["parameters"] == plain["parameters"]
    assert len(results.tables[0].rows) == 2
