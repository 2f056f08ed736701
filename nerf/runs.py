"""A trained field with everything that rendering needs, and the folder in which ``train`` and ``distill`` write it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from accelerate import PartialState
from safetensors import SafetensorError

from mappers.pixels import check_side, check_views
from mappers.training.run_report import REPORT, write_run_report
from mappers.training.trainer import FitReport

from .cameras import Cameras, orbit
from .checkpoints import CHECKPOINTS
from .fields import Field, FieldError, VolumeField, load_field, save_field
from .fields.splat import SplatField
from .rendering.hierarchical import CoarseField
from .rendering.occupancy import OccupancyGrid
from .rendering.rasterizer import draw_splats
from .rendering.renderer import Picture, render_picture
from .rendering.samplers import Sampler, UniformSampler
from .rendering.sampling import Marching
from .splats.files import READERS, read_splats
from .viewpoints import Viewpoints

if TYPE_CHECKING:
    from .scenes import Scene

FIELD = "field.safetensors"
DISTANCE = 2.5
"""Distance of the cameras around a file of Gaussians, as a multiple of half its diagonal."""
FILE_SIZE = 128
"""Width and height of their pictures, pixels."""
CELLS, REFRESHES, FAINT, INTERVALS = 64, 3, 0.5, 384
"""Of checkpoints: cells of the occupancy grid along an axis, random points in each, density below which a cell is
empty, and samples along the diagonal of the box."""
SMALLEST = 2
"""Least width and height of a drawn picture, pixels: H.264 has no smaller frames."""


@dataclass
class Run:
    """The result of a training: a field of any family, and what is known of its scene.

    Subclasses add how it is drawn.
    """

    field: Field
    viewpoints: Viewpoints
    """The region of the photos' cameras."""
    scene: str
    """The scene that the photos belong to: folder or id."""
    downscale: float
    """Factor by which its photos were read smaller."""
    report: FitReport
    figures: dict[str, float | str] = dataclasses.field(default_factory=dict)
    """Measurements after training by name; a sentence says why one is missing."""
    format: str = "auto"
    """The format that its scene was read as."""

    def photos(self, scene: str | Path | None = None) -> Scene:
        """The scene that the field was trained on, or another one, with pictures as small as in training.

        Raises:
            FileNotFoundError: it is not there; the message says how to name another place.
            SceneError: its files are missing or malformed.
        """
        from .scenes import load_scene  # drawing needs no reader of scenes

        if scene is not None:
            return load_scene(scene, downscale=self.downscale, ndc=False)
        try:
            # The frame of NDC is the run's own.
            return load_scene(self.scene, downscale=self.downscale, ndc=False, format=self.format)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; name the folder of the photos (--scene)") from error

    def count_cost(self, started: float) -> None:
        """Note the field's parameters and the processor seconds since ``started`` (`time.process_time`)."""
        self.figures["parameters"] = sum(p.numel() for p in self.field.parameters())
        self.figures["processor_seconds"] = round(time.process_time() - started, 2)

    def to(self, device: torch.device | str) -> Self:
        """Everything that draws moved to ``device``, in place."""
        self.field.to(device)
        return self

    def draw(self, camera: Cameras, *, background: float = 1.0) -> Picture:
        """The view of a camera of the world.

        Args:
            camera: viewpoint and picture size; the first, if there are several.
            background: grey level behind the field, 0..1.
        """
        raise NotImplementedError

    def volume(self) -> VolumeRun:
        """The run itself, where its field has a density at every point.

        Raises:
            FieldError: it has none.
        """
        self.field.volume()
        raise NotImplementedError

    def splats(self) -> SplatField:
        """The field, where it is a cloud of Gaussians.

        Raises:
            FieldError: it is not.
        """
        raise FieldError(
            f"{self.field.name} fields are no Gaussians; turn the field into splats first"
            " (mapfield nerf distill --field splat)"
        )

    def save(self, folder: Path, config: Any) -> None:
        """Write the field, what draws it, ``report.json`` and ``loss.png``, each under a temporary name first.

        Of several processes only the first one writes.
        """
        if not PartialState().is_main_process:
            return
        save_field(self.field, folder / FIELD)
        contents = {
            "scene": self.scene,
            "downscale": self.downscale,
            "format": self.format,
            "family": self.field.name,
            **self.save_renderer(folder),
            "viewpoints": dataclasses.asdict(self.viewpoints),
            "figures": self.figures,
        }
        write_run_report(folder, self.report, contents, settings=config)

    def save_renderer(self, folder: Path) -> dict[str, Any]:
        """Write the files of what draws the field, and return its settings for the report."""
        return {}

    @classmethod
    def load_renderer(cls, folder: Path, field: Field, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Further arguments of the class, from what `save_renderer` wrote and returned."""
        return {}


@dataclass
class VolumeRun(Run):
    """A field with a density at every point, drawn by marching rays through it."""

    field: VolumeField
    _: dataclasses.KW_ONLY
    sampler: Sampler
    marching: Marching

    def to(self, device: torch.device | str) -> Self:
        self.sampler.to(device)
        return super().to(device)

    def draw(self, camera: Cameras, *, background: float = 1.0, chunk: int = 8192) -> Picture:
        """The view of a camera of the world; see `renderer.render_picture`."""
        if camera.ndc != self.viewpoints.ndc:
            camera = dataclasses.replace(camera, ndc=self.viewpoints.ndc)
        return render_picture(
            self.field, camera, self.marching, sampler=self.sampler, background=background, chunk=chunk
        )

    def volume(self) -> VolumeRun:
        return self

    def save_renderer(self, folder: Path) -> dict[str, Any]:
        self.sampler.save(folder)
        return {"marching": dataclasses.asdict(self.marching), "fine": self.sampler.fine}

    @classmethod
    def load_renderer(cls, folder: Path, field: Field, settings: Mapping[str, Any]) -> dict[str, Any]:
        marching = Marching(**settings["marching"])
        marching.check(field.bounds)
        return {"marching": marching, "sampler": _load_sampler(folder, field, settings.get("fine", 0))}


@dataclass
class SplatRun(Run):
    """A cloud of Gaussians, drawn by blending them front to back."""

    field: SplatField

    def splats(self) -> SplatField:
        return self.field

    def draw(self, camera: Cameras, *, background: float = 1.0) -> Picture:
        return draw_splats(self.field, camera, background=background)


def run_class(field: Field) -> type[Run]:
    """The class of the runs of a field's family."""
    return SplatRun if isinstance(field, SplatField) else VolumeRun


def turntable(
    run: Run, count: int, *, size: int, elevation: float | None = None, radius: float | None = None
) -> Cameras:
    """Cameras on a circle around the centre of the photos' views, with the photos' angle of view.

    Where the photos were taken from one side, the cameras move on an ellipse among their positions instead. In a scene
    that moves, time runs from 0 to 1 along the path.

    Args:
        run: the trained field.
        count: cameras.
        size: width and height of their pictures.
        elevation: degrees above the horizon, -90..90; None takes 25.
        radius: distance from the centre; None takes the mean distance of the photos' cameras.

    Raises:
        ValueError: an argument is out of its range, or elevation or radius are given for photos from one side.
    """
    seen = run.viewpoints
    check_views(count)
    check_side(size, least=SMALLEST)
    if seen.kind == "box":
        for name, value in (("elevation", elevation), ("radius", radius)):
            if value is not None:
                raise ValueError(
                    f"the photos were taken from one side, so cameras move among their positions; leave out {name}"
                )
        focal = seen.focal * size / max(seen.width, seen.height)
        cameras = dataclasses.replace(seen, width=size, height=size, focal=focal).sweep(count)
        return _with_times(run, cameras)
    elevation = 25.0 if elevation is None else elevation
    if not -90 <= elevation <= 90:
        raise ValueError(f"elevation must be in -90..90 degrees, got {elevation:g}")
    radius = sum(seen.radius) / 2 if radius is None else radius
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius must be positive, got {radius:g}")
    cameras = orbit(
        count,
        radius=radius,
        elevation=elevation,
        width=size,
        height=size,
        focal=seen.focal * size / max(seen.width, seen.height),
        center=seen.center,
    )
    return _with_times(run, cameras)


def _with_times(run: Run, cameras: Cameras) -> Cameras:
    """The cameras of a path; in a scene that moves, time runs from 0 to 1 along it."""
    if not run.field.moves:
        return cameras
    return dataclasses.replace(cameras, times=torch.linspace(0, 1, len(cameras)))


def load_run(folder: str | Path) -> Run:
    """Read a folder that ``train`` or ``distill`` wrote, a file of Gaussian splats, or a checkpoint of TensoRF or
    Plenoxels.

    Raises:
        FileNotFoundError: a file of the run is missing.
        FieldError: a file is not readable, or of an unknown family.
    """
    folder = Path(folder)
    if folder.suffix.lower() in (*READERS, *CHECKPOINTS) and not folder.is_dir():
        return _run_of_file(folder)
    path = folder / REPORT
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run ({REPORT} is missing); train one with --output")
    field = load_field(folder / FIELD)
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        viewpoints = Viewpoints.from_json(result["viewpoints"])
        metrics = result["metrics"]
        report = FitReport(metrics["steps"], metrics["seconds"], metrics["stopped"])
        kind = run_class(field)
        return kind(
            field, viewpoints, result["scene"], result["downscale"], report,
            result.get("figures", {}), result.get("format", "auto"), **kind.load_renderer(folder, field, result),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FieldError(f"{folder} is not a readable run ({said}); train or copy it again") from error


def _run_of_file(path: Path) -> Run:
    """The field of another program's file, seen from all around its box."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    reader = CHECKPOINTS.get(path.suffix.lower())
    field = read_splats(path) if reader is None else reader(path)
    low, high = field.bounds
    center = ((low + high) / 2).tolist()
    distance = DISTANCE * float((high - low).norm()) / 2
    focal = FILE_SIZE * distance / float((high - low).norm())
    x, y, z = center
    viewpoints = Viewpoints(
        kind="orbit", center=(x, y, z), radius=(distance, distance), elevation=(-10.0, 60.0), lower=(0.0, 0.0, 0.0),
        upper=(0.0, 0.0, 0.0), width=FILE_SIZE, height=FILE_SIZE, focal=focal,
    )  # fmt: skip
    if isinstance(field, SplatField):
        return SplatRun(field, viewpoints, str(path), 1.0, FitReport())
    grid, generator = OccupancyGrid(field.bounds, CELLS, threshold=FAINT), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(REFRESHES):
            grid.refresh(lambda points: field(points, None)[0], generator=generator, warm=True)
    grid.occupied.copy_(grid.dilated())
    marching = Marching.through(field.bounds, INTERVALS, near=0.0, far=10 * distance)
    return VolumeRun(field, viewpoints, str(path), 1.0, FitReport(), sampler=grid, marching=marching)


def _load_sampler(folder: Path, field: Field, fine: int) -> Sampler:
    if fine:
        return CoarseField.load(folder, fine)
    if (folder / OccupancyGrid.file).is_file():
        return OccupancyGrid.load(folder)
    return UniformSampler(field.bounds)
