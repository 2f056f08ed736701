"""Cameras to draw from a file: a camera path of nerfstudio's viewer, or a transforms file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .cameras import Cameras
from .scenes import SceneError
from .scenes.formats.frames import read_json

LISTS = "cameras under 'camera_path' or 'frames'"
LARGEST = 16_384
"""Most pixels along a side of a drawn picture."""


@dataclass(frozen=True)
class CameraPath:
    """Cameras of a film, in the world of the scene's files."""

    cameras: Cameras
    fps: float | None = None
    """Frames per second; None if the file names none."""


def read_camera_path(path: str | Path, *, size: tuple[int, int], moves: bool = False) -> CameraPath:
    """Read the JSON file that nerfstudio's viewer writes, or a transforms file whose pictures need not exist.

    A camera path lists ``camera_path`` with a matrix ``camera_to_world`` of 16 numbers and the vertical angle of view
    ``fov`` in degrees, and ``render_width`` and ``render_height``. A transforms file lists ``frames`` with
    ``transform_matrix``, and ``w``, ``h`` and ``fl_x`` in pixels or ``camera_angle_x`` in radians.

    Args:
        path: the file.
        size: width and height in pixels where the file names none.
        moves: the scene moves: times are those of the file (``render_time``, ``time``), else 0 to 1 along the path.

    Raises:
        SceneError: the file is missing or malformed.
    """
    path = Path(path)
    content = read_json(path, LISTS)
    entries = content.get("camera_path", content.get("frames"))
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SceneError(f"{path} must hold a JSON object with {LISTS}; export it again")
    if content.get("camera_type", "perspective") != "perspective":
        raise SceneError(f"{path} has the camera type {content['camera_type']}; export a perspective path")
    try:
        return _parsed(content, entries, size, moves)
    except (KeyError, TypeError, ValueError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SceneError(f"{path} is no camera path that can be drawn ({said}); export it again") from error


def _parsed(content: dict[str, Any], entries: list[dict[str, Any]], size: tuple[int, int], moves: bool) -> CameraPath:
    film = "camera_path" in content
    names = ("render_width", "render_height") if film else ("w", "h")
    width, height = (int(content.get(name, side)) for name, side in zip(names, size, strict=True))
    if not (2 <= width <= LARGEST and 2 <= height <= LARGEST):
        raise ValueError(f"pictures must have 2 to {LARGEST} pixels a side, got {width}x{height}")
    poses, focal, center, times = [], [], [], []
    for entry in entries:
        matrix = np.asarray(entry["camera_to_world" if film else "transform_matrix"], dtype=np.float64)
        poses.append(matrix.reshape(-1, 4)[:3])
        values = {**content, **entry}
        focal.append(_focal(values, width, height, film=film))
        center.append([float(values.get("cx", width / 2)), float(values.get("cy", height / 2))])
        times.append(entry.get("render_time" if film else "time"))
    count = len(entries)
    time = torch.linspace(0, 1, count) if None in times else torch.tensor(times, dtype=torch.float32)
    cameras = Cameras(
        torch.from_numpy(np.stack(poses)).float(), torch.tensor(focal), torch.tensor(center), width, height,
        times=time if moves else None,
    )  # fmt: skip
    fps = content.get("fps")
    return CameraPath(cameras, None if fps is None else float(fps))


def _focal(values: dict[str, Any], width: int, height: int, *, film: bool) -> list[float]:
    """Focal lengths along x and y in pixels."""
    if film:
        angle = math.radians(float(values["fov"]))
        both = height / 2 / math.tan(angle / 2) if 0 < angle < math.pi else math.nan
        return [both, both]
    if values.get("fl_x") is not None:
        x = float(values["fl_x"])
        return [x, float(values.get("fl_y", x))]
    angle = float(values["camera_angle_x"])
    both = width / 2 / math.tan(angle / 2) if 0 < angle < math.pi else math.nan
    return [both, both]
