"""The one writer of benchmark results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import results as module
from benchmarks.common.results import RESULTS, ROOT, Results, Table, median_seconds, origin, result_path, timed


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def refuse() -> dict[str, Any]:
    raise AssertionError("measured again")


def test_rows_are_measured_once_and_say_where(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    assert Results(path, {"steps": 3}).row("a", lambda: {"psnr": 1.5}) == {"psnr": 1.5}
    again = Results(path, {"steps": 3})
    assert again.row("a", refuse) == {"psnr": 1.5}
    again.row("b", lambda: {"psnr": 2})
    saved = read(path)
    assert saved["settings"] == {"steps": 3}
    assert list(saved["rows"]) == ["a", "b"]
    (run,) = saved["runs"]
    assert run["rows"] == ["a", "b"]
    assert {key: run[key] for key in ("date", "commit", "versions", "hardware")} == origin()
    assert run["hardware"]["cores"] >= 1
    assert run["hardware"]["processor"]
    assert "torch" in run["versions"]


def test_rows_of_another_origin_are_a_run_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    results = Results(path)
    results.put("a", {"seconds": 1})
    results.put("b", {"seconds": 1})
    monkeypatch.setattr(module, "commit", lambda: "another")
    results.put("a", {"seconds": 2})
    first, second = read(path)["runs"]
    assert (first["rows"], second["rows"]) == (["b"], ["a"])
    assert second["commit"] == "another"
    results.put("b", {"seconds": 2})
    (run,) = read(path)["runs"]  # nothing is left of the first
    assert run["commit"] == "another"


def test_rows_that_another_process_writes_meanwhile_stay(tmp_path: Path) -> None:
    one, other = Results(tmp_path / "file.json"), Results(tmp_path / "file.json")
    one.put("a", {"psnr": 1})
    other.put("b", {"psnr": 2})
    assert list(Results(tmp_path / "file.json").rows) == ["a", "b"]


def test_a_file_of_other_settings_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    Results(path, {"steps": 3}).put("a", {"psnr": 1})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"file.json holds rows of other settings \(steps 3, not 4\)"):
        Results(path, {"steps": 4})
    assert path.read_bytes() == before
    path.write_text('{"rows": {}}')
    with pytest.raises(ValueError, match="not a file of benchmark results"):
        Results(path)


def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    results = Results(path)
    results.put("a", {"psnr": 1})
    before = path.read_bytes()

    class Stop:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.put("b", {"psnr": Stop()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_tables_are_written_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.json"
    results = Results(path)
    results.put("a", {"psnr": 1.23456})
    results.report(Table("Quality", ["field", "PSNR"], [["a", 1.23456], ["b", None]]))
    assert "**Quality**\n\n| field | PSNR |\n| --- | --- |\n| a | 1.235 |\n| b |  |" in capsys.readouterr().out
    assert read(path)["tables"] == [
        {"title": "Quality", "columns": ["field", "PSNR"], "rows": [["a", 1.23456], ["b", None]]}
    ]
    assert Results(path).tables[0].title == "Quality"


def test_the_median_leaves_out_the_warm_up() -> None:
    ticks = iter([0.0, 1.0, 10.0, 13.0, 20.0, 22.0])
    calls = []
    assert median_seconds(lambda: calls.append(1), repeats=3, warm_up=2, clock=lambda: next(ticks)) == 2.0
    assert len(calls) == 5
    assert timed(lambda: "done")[0] == "done"


def test_results_have_the_path_of_their_script() -> None:
    assert result_path(ROOT / "benchmarks" / "fields" / "cam.py") == RESULTS / "fields" / "cam.json"
    for path in RESULTS.rglob("*.json"):
        assert (ROOT / "benchmarks" / path.relative_to(RESULTS).with_suffix(".py")).is_file(), path


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_published_results_can_be_continued(path: Path) -> None:
    saved = read(path)
    results = Results(path, saved["settings"])
    assert results.rows
    assert results.tables, "run the script again: it writes the tables"
    assert {name for run in results.runs for name in run["rows"]} == set(results.rows)
    for run in results.runs:
        assert {"date", "commit", "versions", "hardware"} <= run.keys()
