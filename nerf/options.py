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
    Formats of folders: NeRF-synthetic, nerfstudio, instant-ngp, LLFF, or plain pictures with cameras."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for checkpoints, metrics, views and the trained field."""
    field: str = "hash"
    """Family of the field: hash, mlp, voxel, vm, cp or cam. Of these, only cam can learn a scene that moves."""
    size: str = "small"
    """Named size of the family: small or paper."""
    downscale: float = 1
    """Read the pictures this many times smaller."""


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
    """Folder of the teacher's run."""
    output_dir: Annotated[Path, tyro.conf.arg(name="output")]
    """Folder for checkpoints, metrics, views and the student."""
    field: str = "mlp"
    """Family of the student: hash, mlp, voxel, vm, cp, cam, or cam-time for a teacher that moves."""
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
