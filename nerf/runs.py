"""A trained field with all that is needed to draw it: the folder that ``train`` and ``distill`` leave."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.figure
from safetensors.torch import load_file, save_file

from mappers.trainer import FitReport

from .cameras import Cameras, orbit
from .fields import Field, FieldError, load_field, save_field
from .occupancy import OccupancyGrid
from .renderer import Marching, Picture, render_picture
from .viewpoints import Viewpoints

FIELD, OCCUPANCY, REPORT = "field.safetensors", "occupancy.safetensors", "report.json"


@dataclass
class Run:
    """What training leaves."""

    field: Field
    grid: OccupancyGrid | None
    marching: Marching
    viewpoints: Viewpoints
    """Where the cameras of the photos stood."""
    scene: str
    """The scene that the photos belong to: folder or id."""
    downscale: float
    """How many times smaller its photos were read."""
    report: FitReport

    def draw(self, camera: Cameras, *, background: float = 1.0, chunk: int = 8192) -> Picture:
        """The view of a camera; see `renderer.render_picture`."""
        return render_picture(self.field, camera, self.marching, grid=self.grid, background=background, chunk=chunk)

    def save(self, folder: Path, config: Any) -> None:
        """Write field, occupancy grid, ``report.json`` and ``loss.png``, each under a temporary name first."""
        folder.mkdir(parents=True, exist_ok=True)
        save_field(self.field, folder / FIELD)
        if self.grid is not None:
            temporary = folder / "occupancy.tmp"
            save_file({name: value.contiguous() for name, value in self.grid.state_dict().items()}, temporary)
            temporary.replace(folder / OCCUPANCY)
        _plot(self.report, folder / "loss.png")
        result = {
            "scene": self.scene,
            "downscale": self.downscale,
            "family": self.field.name,
            "parameters": sum(p.numel() for p in self.field.parameters()),
            "marching": dataclasses.asdict(self.marching),
            "viewpoints": dataclasses.asdict(self.viewpoints),
            "metrics": {
                "steps": self.report.steps,
                "stopped": self.report.stopped,
                "seconds": round(self.report.seconds, 2),
                **self.report.metrics,
            },
            "settings": dataclasses.asdict(config),
            "versions": {package: version(package) for package in ("mapfield", "torch", "accelerate")},
        }
        temporary = folder / ".report.json"
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, folder / REPORT)


def turntable(run: Run, count: int, *, size: int, elevation: float = 25.0, radius: float | None = None) -> Cameras:
    """Cameras on a circle around what the photos looked at, with their angle of view.

    Args:
        run: what to look at.
        count: cameras.
        size: width and height of their pictures.
        elevation: degrees above the horizon.
        radius: distance from the middle; None takes that of the photos.
    """
    seen = run.viewpoints
    return orbit(
        count,
        radius=sum(seen.radius) / 2 if radius is None else radius,
        elevation=elevation,
        width=size,
        height=size,
        focal=seen.focal * size / max(seen.width, seen.height),
        center=seen.center,
    )


def load_run(folder: str | Path) -> Run:
    """Read the folder that ``train`` or ``distill`` left.

    Raises:
        FileNotFoundError: a file of the run is missing.
        FieldError: a file is not readable, or of an unknown family.
    """
    folder = Path(folder)
    path = folder / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run ({REPORT} is missing); train one with --output")
    field = load_field(folder / FIELD)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        marching = Marching(**result["marching"])
        seen = {name: tuple(v) if isinstance(v, list) else v for name, v in result["viewpoints"].items()}
        viewpoints = Viewpoints(**seen)
        grid = None
        if (folder / OCCUPANCY).is_file():
            state = load_file(folder / OCCUPANCY)
            grid = OccupancyGrid(state["bounds"], len(state["occupied"]))
            grid.load_state_dict(state)
        metrics = result["metrics"]
        report = FitReport(metrics["steps"], metrics["seconds"], metrics["stopped"])
        return Run(field, grid, marching, viewpoints, result["scene"], result["downscale"], report)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FieldError(f"{folder} is not a readable run ({error}); train or copy it again") from error


def _plot(report: FitReport, path: Path) -> None:
    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy([step for step, _ in report.losses], [loss for _, loss in report.losses])
    axes.set(xlabel="step", ylabel="loss")
    figure.savefig(path, dpi=120)
