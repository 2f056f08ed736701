"""The ``frames`` of transforms files in the dialects of Blender, instant-ngp and nerfstudio."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mappers.pictures import PICTURE_ENDINGS

from ...cameras import Cameras
from ..pictures import picture_size
from ..scene import SceneError
from .listing import make_cameras

LENS = ("k1", "k2", "p1", "p2", "k3", "k4")
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        SceneError: it is not there, not JSON, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SceneError(f"{path} is missing; restore it") from error
    except (ValueError, OSError) as error:
        raise SceneError(f"{path} is not valid JSON ({error}); correct or export it again") from error
    if not isinstance(content, dict):
        raise SceneError(f"{path} must hold a JSON object with a list 'frames'; export it again")
    return content


def read_frames(source: Path, content: Mapping[str, Any]) -> tuple[tuple[Path, ...], Cameras]:
    """Picture files and cameras of a transforms file; numbers of a frame override those of the file.

    Args:
        source: the file that ``content`` was read from; pictures are relative to its folder.

    Raises:
        SceneError: frames, pictures, matrices or intrinsics are missing or malformed.
    """
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise SceneError(f"{source} has no frames; it must list them under 'frames'")
    files = tuple(_file(source, frame) for frame in frames)
    size = picture_size(files[0])
    poses = torch.stack([_pose(source, frame) for frame in frames])
    focal, center, lens = [], [], []
    for frame in frames:
        numbers = _Numbers(source, {**content, **frame})
        numbers.check_model()
        numbers.check_size(size)
        focal.append(numbers.focal(size))
        center.append((numbers.get("cx", size[0] / 2), numbers.get("cy", size[1] / 2)))
        lens.append([numbers.get(name, 0.0) for name in LENS])
    cameras = make_cameras(
        source, files, poses, torch.tensor(focal).double(), torch.tensor(center).double(), size,
        distortion=torch.tensor(lens).double(), times=_times(source, frames),
    )  # fmt: skip
    return files, cameras


def _times(source: Path, frames: Sequence[Mapping[str, Any]]) -> Float[Tensor, " n"] | None:
    """Times of the frames of a scene that moves, as in D-NeRF (arXiv 2011.13961); None if no frame has one."""
    times = [number(source, frame, "time") for frame in frames]
    if all(time is None for time in times):
        return None
    if None in times:
        missing = frames[times.index(None)].get("file_path")
        raise SceneError(f"{source}: some frames have a time but {missing} has none; add it, in 0..1")
    if not all(0 <= time <= 1 for time in times if time is not None):
        raise SceneError(f"{source}: times must lie in 0..1, got {min(times):g} to {max(times):g}; scale them")  # pyright: ignore
    return torch.tensor(times, dtype=torch.float64)


def number(source: Path, content: Mapping[str, Any], name: str) -> float | None:
    """The number of that name; None if it is missing.

    Raises:
        SceneError: there is something else.
    """
    value = content.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise SceneError(f"{source}: {name} must be a number, got {value!r}; correct the file")
    return None if value is None else float(value)


class _Numbers:
    """The intrinsics of a frame, with checks."""

    def __init__(self, source: Path, values: Mapping[str, Any]):
        self.source, self.values = source, values

    def get(self, name: str, default: float) -> float:
        found = number(self.source, self.values, name)
        return default if found is None else found

    def focal(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels along x and y, from fl_x and fl_y or from angles of view."""
        x = self._focal("fl_x", "camera_angle_x", size[0])
        y = self._focal("fl_y", "camera_angle_y", size[1])
        x = y if x is None else x
        if x is None:
            raise SceneError(f"{self.source} has no focal length; add fl_x (pixels) or camera_angle_x (radians)")
        return x, x if y is None else y

    def _focal(self, length: str, angle: str, pixels: int) -> float | None:
        given = number(self.source, self.values, length)
        if given is not None:
            return given
        view = number(self.source, self.values, angle)
        if view is None:
            return None
        return pixels / 2 / math.tan(view / 2) if 0 < view < math.pi else math.nan

    def check_model(self) -> None:
        model = self.values.get("camera_model", "OPENCV")
        if model not in PERSPECTIVE or self.values.get("is_fisheye"):
            name = "fisheye" if self.values.get("is_fisheye") else model
            raise SceneError(f"{self.source} has the camera model {name}; undistort the pictures to a perspective one")

    def check_size(self, size: tuple[int, int]) -> None:
        width, height = self.get("w", size[0]), self.get("h", size[1])
        if (width, height) != size:
            said, found = f"{width:g}x{height:g}", f"{size[0]}x{size[1]}"
            raise SceneError(f"{self.source} says {said} pixels but the pictures have {found}; make them agree")


def _file(source: Path, frame: Mapping[str, Any]) -> Path:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise SceneError(f"{source} has a frame without file_path; add it or remove the frame")
    path = source.parent / name.replace("\\", "/")
    if path.suffix.lower() in PICTURE_ENDINGS:
        candidates = [path]
    else:
        candidates = [path.with_name(path.name + suffix) for suffix in PICTURE_ENDINGS]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise SceneError(f"the picture {candidates[0]} that {source.name} lists is missing; restore it")
    return found


def _pose(source: Path, frame: Mapping[str, Any]) -> Float[Tensor, "3 4"]:
    where = f"{source}: transform_matrix of {frame.get('file_path')}"
    try:
        matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SceneError(f"{where} must be 4 rows of 4 numbers; correct it") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise SceneError(f"{where} must be 4 rows of 4 numbers, got the shape {list(matrix.shape)}; correct it")
    return torch.from_numpy(matrix[:3])
