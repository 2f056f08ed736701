"""A trained field with all that is needed to draw it: the folder that ``train`` and ``distill`` leave."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.figure
import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mappers.files import replacing
from mappers.monitoring import TrainingError
from mappers.trainer import FitReport

from .cameras import Cameras, orbit
from .fields import Field, FieldError, load_field, save_field
from .rendering.hierarchical import CoarseField
from .rendering.occupancy import OccupancyGrid
from .rendering.renderer import Picture, Sampler, render_picture
from .rendering.sampling import Marching
from .viewpoints import Viewpoints

FIELD, COARSE, OCCUPANCY, REPORT = "field.safetensors", "coarse.safetensors", "occupancy.safetensors", "report.json"


@dataclass
class Run:
    """What training leaves."""

    field: Field
    sampler: Sampler | None
    marching: Marching
    viewpoints: Viewpoints
    """Where the cameras of the photos stood."""
    scene: str
    """The scene that the photos belong to: folder or id."""
    downscale: float
    """How many times smaller its photos were read."""
    report: FitReport
    figures: dict[str, float | str] = dataclasses.field(default_factory=dict)
    """What was measured after training, by name; a sentence where something was not."""

    def count_cost(self, started: float) -> None:
        """Note the field's parameters and the processor seconds since ``started`` (`time.process_time`)."""
        self.figures["parameters"] = sum(p.numel() for p in self.field.parameters())
        self.figures["processor_seconds"] = round(time.process_time() - started, 2)

    def to(self, device: torch.device | str) -> Run:
        """Field and sampler moved to ``device``, in place."""
        self.field.to(device)
        if self.sampler is not None:
            self.sampler.to(device)
        return self

    def draw(self, camera: Cameras, *, background: float = 1.0, chunk: int = 8192) -> Picture:
        """The view of a camera; see `renderer.render_picture`."""
        return render_picture(
            self.field, camera, self.marching, sampler=self.sampler, background=background, chunk=chunk
        )

    def save(self, folder: Path, config: Any) -> None:
        """Write field, sampler, ``report.json`` and ``loss.png``, each under a temporary name first.

        Of several processes only the first one writes.
        """
        if not PartialState().is_main_process:
            return
        save_field(self.field, folder / FIELD)
        if isinstance(self.sampler, CoarseField):
            save_field(self.sampler.field, folder / COARSE)
        elif self.sampler is not None:
            with replacing(folder / OCCUPANCY) as temporary:
                save_file({name: value.contiguous() for name, value in self.sampler.state_dict().items()}, temporary)
        if self.report.losses:
            plot_losses(self.report, folder / "loss.png")
        result = {
            "scene": self.scene,
            "downscale": self.downscale,
            "family": self.field.name,
            "marching": dataclasses.asdict(self.marching),
            "fine": self.sampler.fine if isinstance(self.sampler, CoarseField) else 0,
            "viewpoints": dataclasses.asdict(self.viewpoints),
            "metrics": {
                "steps": self.report.steps,
                "stopped": self.report.stopped,
                "seconds": round(self.report.seconds, 2),
                **self.report.metrics,
            },
            "figures": self.figures,
            "settings": dataclasses.asdict(config) if config else {},
            "versions": {package: version(package) for package in ("mapfield", "torch", "accelerate")},
        }
        with replacing(folder / REPORT) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def output_folder(folder: str | Path | None, resume: bool | str) -> Path | None:
    """Where a run goes, if anywhere.

    Raises:
        TrainingError: another run is there already, of whatever family and stages, and is not to be resumed.
    """
    if folder is None:
        return None
    folder = Path(folder)
    if not resume and any((folder / name).exists() for name in (REPORT, "checkpoints", "stage_0")):
        raise TrainingError(f"{folder} already holds a run; resume it or choose another output folder")
    return folder


def turntable(run: Run, count: int, *, size: int, elevation: float = 25.0, radius: float | None = None) -> Cameras:
    """Cameras on a circle around what the photos looked at, with their angle of view, while time passes from 0 to 1.

    Args:
        run: what to look at.
        count: cameras.
        size: width and height of their pictures.
        elevation: degrees above the horizon.
        radius: distance from the middle; None takes that of the photos.
    """
    seen = run.viewpoints
    cameras = orbit(
        count,
        radius=sum(seen.radius) / 2 if radius is None else radius,
        elevation=elevation,
        width=size,
        height=size,
        focal=seen.focal * size / max(seen.width, seen.height),
        center=seen.center,
    )
    if not run.field.moves:
        return cameras
    return dataclasses.replace(cameras, times=torch.linspace(0, 1, count))


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
        sampler = _load_sampler(folder, result.get("fine", 0))
        metrics = result["metrics"]
        report = FitReport(metrics["steps"], metrics["seconds"], metrics["stopped"])
        figures = result.get("figures", {})
        return Run(field, sampler, marching, viewpoints, result["scene"], result["downscale"], report, figures)
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise FieldError(f"{folder} is not a readable run ({error}); train or copy it again") from error


def _load_sampler(folder: Path, fine: int) -> Sampler | None:
    if fine:
        return CoarseField(load_field(folder / COARSE), fine)
    if not (folder / OCCUPANCY).is_file():
        return None
    state = load_file(folder / OCCUPANCY)
    grid = OccupancyGrid(state["bounds"], len(state["occupied"]))
    grid.load_state_dict(state)
    return grid


def plot_losses(report: FitReport, path: Path) -> None:
    """Draw the loss over the steps."""
    figure = matplotlib.figure.Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy([step for step, _ in report.losses], [loss for _, loss in report.losses])
    axes.set(xlabel="step", ylabel="loss")
    figure.savefig(path, dpi=120)
