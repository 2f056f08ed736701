"""The report of a training: its contents, its curve, and a run without any logged loss."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mappers.training.run_report import write_run_report
from mappers.training.trainer import FitReport


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1


def test_report_and_curve(tmp_path: Path) -> None:
    report = FitReport(
        steps=20, seconds=1.234, stopped="time", losses=[(10, 0.5), (20, 0.25)], metrics={"val/psnr": 30.0}
    )
    write_run_report(tmp_path, report, {"scene": "robot"}, settings=Settings(), title="robot")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["scene"] == "robot"
    assert found["metrics"] == {"steps": 20, "stopped": "time", "seconds": 1.23, "final_loss": 0.25, "val/psnr": 30.0}
    assert found["settings"] == {"rate": 0.1}
    assert {"mapfield", "torch"} <= set(found["versions"])
    with Image.open(tmp_path / "loss.png") as curve:
        assert curve.width > curve.height


def test_a_run_without_losses_has_no_curve(tmp_path: Path) -> None:
    write_run_report(tmp_path, FitReport(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text())["metrics"]["final_loss"] is None


def test_a_title_may_have_dollar_signs(tmp_path: Path) -> None:
    for title in ("Learning $toy_^$", r"Learning <a$\frac$b>"):
        write_run_report(tmp_path, FitReport(losses=[(1, 0.5), (2, 0.4)]), {}, title=title)
