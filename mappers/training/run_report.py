"""What every training leaves with its result: ``report.json`` and the curve of its loss in ``loss.png``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import matplotlib.figure

from ..files import replacing
from .trainer import FitReport

REPORT, CURVE = "report.json", "loss.png"
PACKAGES = ("mapfield", "torch", "accelerate", "diffusers", "transformers")
"""Packages whose versions are noted."""


def write_run_report(
    folder: Path,
    report: FitReport,
    contents: Mapping[str, Any],
    *,
    settings: Any = None,
    title: str = "",
    loss_scale: Literal["log", "linear"] = "log",
) -> None:
    """Write ``report.json``, and ``loss.png`` where losses were logged, each first under a temporary name.

    ``report.json`` holds ``contents``, and besides "metrics" (steps, why training stopped, seconds, the last loss and
    what was validated last), "settings" and "versions" of the packages.

    Args:
        folder: of the run; it exists.
        report: what the trainer returned.
        contents: what this capability reports; JSON values by name.
        settings: the configuration, a dataclass; None leaves it empty.
        title: of the curve.
        loss_scale: of the curve's axis.

    Raises:
        OSError: a file cannot be written.
    """
    if report.losses:
        plot_losses(report, folder / CURVE, title=title, loss_scale=loss_scale)
    metrics = {
        "steps": report.steps,
        "stopped": report.stopped,
        "seconds": round(report.seconds, 2),
        "final_loss": report.losses[-1][1] if report.losses else None,
        **report.metrics,
    }
    whole = {
        **contents,
        "metrics": metrics,
        "settings": dataclasses.asdict(settings) if settings else {},
        "versions": {package: version(package) for package in PACKAGES},
    }
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def plot_losses(
    report: FitReport, path: Path, *, title: str = "", loss_scale: Literal["log", "linear"] = "log"
) -> None:
    """Draw the loss over the steps."""
    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([step for step, _ in report.losses], [loss for _, loss in report.losses])
    axes.set(xlabel="step", ylabel="loss", yscale=loss_scale)
    axes.set_title(title, parse_math=False)  # a word may have dollar signs
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
