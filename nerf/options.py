"""Options that functions of `nerf` share with the commands of ``mapfield nerf``. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Arguments of `nerf.train`."""

    scene: str
    """Shipped scene (robot, lighthouse, still-life, or clockwork, which moves), or the folder of a scene.
    Formats of folders: NeRF-synthetic, nerfstudio, instant-ngp, LLFF, COLMAP, or plain pictures with cameras."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for checkpoints, metrics, views and the trained field."""
    field: str = "hash"
    """Family of the field: hash, mlp, voxel, vm, cp, cam or splat. Of these, only cam can learn a scene that moves."""
    size: str = "small"
    """Named size of the family: small or paper."""
    downscale: float = 1
    """Read the pictures this many times smaller."""
    bounds: tuple[float, float, float, float, float, float] | None = None
    """Lower and upper corner of the box that the field fills, in the world of the scene's files (x y z x y z).
    If not given, the box is found from sparse points, outlines or cameras."""
    ndc: bool = True
    """Whether forward-facing LLFF captures are learned in normalized device coordinates."""
    format: Literal["auto", "blender", "nerfstudio", "llff", "folder", "colmap"] = "auto"
    """Format of the scene's folder; auto goes by its files."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Arguments of `nerf.drawing.render`."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    output: Path | None = None
    """File .mp4 or .gif, or a folder for single views; if not given, turntable.mp4 in the run's folder."""
    camera_path: Path | None = None
    """Draw along the cameras of this JSON file: a camera path of nerfstudio's viewer, or a transforms file."""
    split: Literal["train", "val", "test"] | None = None
    """Draw the views of these photos."""
    scene: str | None = None
    """With --split: scene of the photos; if not given, the one that the field was trained on."""
    views: int | None = None
    """Turntable: number of pictures; if not given, 48. Where the photos were taken from one side, the camera moves
    among their positions instead of around the scene."""
    size: int | None = None
    """Pixels along the longer side; if not given, 200, or the size of the camera path or photos."""
    elevation: float | None = None
    """Turntable: elevation of the camera in degrees above the horizon; if not given, 25."""
    radius: float | None = None
    """Turntable: distance of the camera from the scene's centre; if not given, that of the photos."""
    depth: bool = False
    """Also show the depth: in a video next to the picture, otherwise as a file of its own."""
    fps: int | None = None
    """Frames per second; if not given, those of the camera path, or 24."""
    overwrite: bool = False
    """Replace the output if it exists."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Arguments of `nerf.drawing.export`."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    output: Path
    """File to write; its ending chooses the format: .ply, .glb or .obj for a mesh, .ply for points, .ply, .spz,
    .splat or .html (a page with a viewer) for splats."""
    kind: Literal["mesh", "points", "splats"] | None = None
    """mesh: a surface by marching cubes. points: where the rays of a turntable end. splats: the Gaussians of a run of
    the family splat. If not given, splats for such a run, and mesh for all others."""
    resolution: int = 128
    """Mesh: grid nodes along each axis."""
    threshold: float = 10.0
    """Mesh: density at the surface, per unit length."""
    smallest_piece: float = 0.0
    """Mesh: drop loose pieces with fewer faces than this share of the largest piece's; 0 keeps all."""
    views: int = 24
    """Points: number of pictures of the turntable."""
    size: int = 100
    """Points: width and height of these pictures in pixels."""
    overwrite: bool = False
    """Replace the output if it exists."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Arguments of `nerf.fit_media`."""

    media: Positional[Path]
    """Picture or video file, or a folder with the frames of a video."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for checkpoints, metrics, the field, and the picture or video drawn from it."""
    field: Literal["cam", "normed", "plain"] = "cam"
    """cam has feature normalization and modulation grids, normed has normalization alone, plain has neither."""
    size: str = "small"
    """Named size: small or paper."""
    overwrite: bool = False
    """Write into a folder that has files in it, and replace those of the same names. A run in it is never replaced."""


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """Arguments of `nerf.distill`."""

    teacher: Path
    """Folder of the teacher's run, a file of Gaussian splats (.ply, .spz, .splat), or a checkpoint of TensoRF (.th) or
    Plenoxels (.npz)."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for checkpoints, metrics, views and the student."""
    field: str = "mlp"
    """Family of the student: hash, mlp, voxel, vm, cp, cam, splat, or cam-time for a teacher that moves."""
    size: str = "small"
    """Named size of the family: small or paper."""
    scratch: bool = False
    """Also train the same family and size on the scene's photos for the same processor time, for comparison."""


@dataclass(frozen=True, kw_only=True)
class MakeSceneOptions:
    """Arguments of `nerf.make_scene`."""

    name: str
    """Name of a scene of solids, or a mesh file (OBJ, PLY or GLB), for which the extra "meshes" must be installed."""
    output: Path
    """Folder to write, which must be new or empty."""
    size: int = 100
    """Width and height of the pictures in pixels."""
    views: tuple[int, int, int] = (24, 4, 8)
    """Numbers of pictures for training, validation and test."""
    seed: int = 0
    """Seed of the camera positions."""
