"""The ``frames`` of transforms files in the dialects of Blender, instant-ngp and nerfstudio."""

from __future__ import annotations

import glob
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mappers.pictures import PICTURE_ENDINGS

from ..pictures import Exclusion, PictureSource, picture_size, shown_turned
from ..scene import SceneError
from .listing import Listing, every_eighth, make_cameras

logger = logging.getLogger(__name__)

LENS = ("k1", "k2", "p1", "p2", "k3", "k4")
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")


class MissingPictures(SceneError):
    """None of the pictures that a transforms file lists exists."""


def read_json(path: Path, holding: str = "a list 'frames'") -> dict[str, Any]:
    """A JSON file that holds an object.

    Args:
        path: the file.
        holding: what the object must hold, for messages.

    Raises:
        SceneError: it is not there, not JSON, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SceneError(f"{path} is missing; check the name or restore it") from error
    except (ValueError, OSError) as error:
        raise SceneError(f"{path} is not valid JSON ({error}); correct or export it again") from error
    if not isinstance(content, dict):
        raise SceneError(f"{path} must hold a JSON object with {holding}; export it again")
    return content


def read_frames(source: Path, content: Mapping[str, Any]) -> Listing:
    """Pictures and cameras of a transforms file; numbers of a frame override those of the file.

    Pixels that are black in the file of a frame's ``mask_path`` are left out, as in nerfstudio, and those that are not
    black in ``dynamic_mask_<name>.png`` next to a picture, as in instant-ngp.

    Args:
        source: the file that ``content`` was read from; pictures are relative to its folder.

    Returns:
        A listing with every eighth picture as a test view.

    Raises:
        MissingPictures: no frame's picture exists.
        SceneError: frames, pictures, matrices or intrinsics are missing or malformed.
    """
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise SceneError(f"{source} has no frames; it must list them under 'frames'")
    found = [_find(source, frame) for frame in frames]
    if not any(found):
        raise MissingPictures(_missing(source, frames[0]))
    for path, frame in zip(found, frames, strict=True):
        if path is None:
            raise SceneError(_missing(source, frame))
    files = [path for path in found if path is not None]
    pictures = tuple(_picture(source, path, frame) for path, frame in zip(files, frames, strict=True))
    poses = torch.stack([_pose(source, frame) for frame in frames])
    focal, center, lens = [], [], []
    for picture, frame in zip(pictures, frames, strict=True):
        numbers, size = _Numbers(source, {**content, **frame}), picture.size
        numbers.check_model()
        numbers.check_size(picture)
        focal.append(numbers.focal(size))
        center.append((numbers.get("cx", size[0] / 2), numbers.get("cy", size[1] / 2)))
        lens.append([numbers.get(name, 0.0) for name in LENS])
    if any("depth_file_path" in frame for frame in frames):
        logger.warning("%s names depth_file_path, which is not used: fields learn from pictures only", source)
    cameras = make_cameras(
        source, pictures, poses, torch.tensor(focal).double(), torch.tensor(center).double(),
        distortion=torch.tensor(lens).double(), times=_times(source, frames),
    )  # fmt: skip
    return Listing(pictures, cameras, every_eighth(len(pictures)))


def _picture(source: Path, path: Path, frame: Mapping[str, Any]) -> PictureSource:
    named, neighbour = frame.get("mask_path"), path.with_name(f"dynamic_mask_{path.stem}.png")
    excluded = Exclusion(neighbour, black=False) if neighbour.is_file() else None
    if named is not None:
        if not isinstance(named, str) or not (source.parent / named.replace("\\", "/")).is_file():
            raise SceneError(
                f"{source}: there is no mask_path {named} of {path.name}; restore the mask or remove the key"
            )
        excluded = Exclusion(source.parent / named.replace("\\", "/"), black=True)
    return PictureSource(path, picture_size(path), excluded=excluded)


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

    def check_size(self, picture: PictureSource) -> None:
        said = (self.get("w", picture.size[0]), self.get("h", picture.size[1]))
        if said == picture.size:
            return
        sizes = f"{self.source} says {said[0]:g}x{said[1]:g} pixels but {picture.path} has"
        sizes += f" {picture.size[0]}x{picture.size[1]}"
        if said == picture.size[::-1] and shown_turned(picture.path):
            raise SceneError(
                f"{sizes}, which viewers turn as its EXIF orientation says; store the pictures turned and without that"
                " orientation (mogrify -auto-orient)"
            )
        raise SceneError(f"{sizes}; make them agree")


def _find(source: Path, frame: Mapping[str, Any]) -> Path | None:
    """The picture of a frame, whose name may lack its ending or have it in the other case; None if there is none."""
    path = _path(source, frame)
    ending = path.suffix.lower()
    stems = [path.with_suffix("")] if ending in PICTURE_ENDINGS else [path]
    endings = [path.suffix, ending] if ending in PICTURE_ENDINGS else PICTURE_ENDINGS
    candidates = [stem.with_name(stem.name + each) for stem in stems for each in (*endings, *map(str.upper, endings))]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _missing(source: Path, frame: Mapping[str, Any]) -> str:
    path = _path(source, frame)
    other = path if path.is_file() else next(iter(sorted(path.parent.glob(glob.escape(path.name) + ".*"))), None)
    if other is not None and other.suffix.lower() not in PICTURE_ENDINGS:
        return f"{other} is of a kind that is not read; convert it to one of {', '.join(PICTURE_ENDINGS)}"
    name = path if path.suffix.lower() in PICTURE_ENDINGS else path.with_name(path.name + PICTURE_ENDINGS[0])
    return f"the picture {name} that {source.name} lists is missing; restore it"


def _path(source: Path, frame: Mapping[str, Any]) -> Path:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise SceneError(f"{source} has a frame without file_path; add it or remove the frame")
    return source.parent / name.replace("\\", "/")


def _pose(source: Path, frame: Mapping[str, Any]) -> Float[Tensor, "3 4"]:
    where = f"{source}: transform_matrix of {frame.get('file_path')}"
    try:
        matrix = np.array(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SceneError(f"{where} must be 4 rows of 4 numbers; correct it") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise SceneError(f"{where} must be 4 rows of 4 numbers, got the shape {list(matrix.shape)}; correct it")
    return torch.from_numpy(matrix[:3])
