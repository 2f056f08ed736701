"""The result of a format's reader: files and cameras, before any picture is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ...cameras import Cameras, check_cameras, distort, undistort
from ...ndc import NDC
from ..pictures import PictureSource
from ..scene import SPLITS, SceneError

HELD_OUT = 8
"""Every picture whose index is a multiple of this is a test view, in formats that name no split."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Picture files and their cameras, in one order."""

    pictures: tuple[PictureSource, ...]
    cameras: Cameras
    """Cameras for the files at their own size; width and height are the largest of all files."""
    splits: dict[str, list[int]]
    needs_alpha: bool = False
    """Whether the format requires alpha or masks."""
    shrunk: float = 1.0
    """Factor by which the files are already smaller than the originals; it counts towards ``downscale``."""
    bounds: Float[Tensor, "2 3"] | None = None
    """The box of the content."""
    limit: Float[Tensor, "2 3"] | None = None
    """A box that has the content somewhere in it."""
    near: float | None = None
    far: float | None = None
    extent: tuple[float, float] | None = None
    """Distances between which the cameras see content, if the format records them; for the default bounds."""


def every_eighth(count: int) -> dict[str, list[int]]:
    """Splits with every eighth picture held out for testing, the first among them."""
    test = list(range(0, count, HELD_OUT)) if count > 2 else []
    return {"train": [i for i in range(count) if i not in test], "val": [], "test": test}


def make_cameras(
    source: Path,
    pictures: Sequence[PictureSource],
    poses: Float[Tensor, "n 3 4"],
    focal: Float[Tensor, "n 2"],
    center: Float[Tensor, "n 2"],
    *,
    distortion: Float[Tensor, "n 6"] | None = None,
    ndc: NDC | None = None,
    times: Float[Tensor, " n"] | None = None,
) -> Cameras:
    """Cameras of the pictures; an error names the file of the camera.

    Args:
        source: the file that the numbers come from.

    Raises:
        SceneError: a camera is not valid.
    """
    width, height = (max(side) for side in zip(*(picture.size for picture in pictures), strict=True))
    names = [picture.path.name for picture in pictures]
    try:
        check_cameras(poses, focal, center, distortion, names)
        if distortion is not None and not distortion.any():
            distortion = None
        cameras = Cameras(
            poses.float(), focal.float(), center.float(), width, height,
            distortion=None if distortion is None else distortion.float(), ndc=ndc,
            times=None if times is None else times.float(),
        )  # fmt: skip
    except ValueError as error:
        raise SceneError(f"{source}: {error}; correct the file") from error
    if cameras.distortion is not None:
        _check_lenses(source, names, cameras, cameras.distortion)
    return cameras


def _check_lenses(source: Path, names: Sequence[str], cameras: Cameras, lenses: Float[Tensor, "n 6"]) -> None:
    """Refuse a distortion that cannot be undone halfway to the corners, where that of every real lens can."""
    sides = torch.tensor([cameras.width, cameras.height])
    for corner in ([0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]):
        plane = (torch.tensor(corner) * sides - cameras.center) / cameras.focal
        back = distort(undistort(plane, lenses), lenses)
        wrong = ~((back - plane).abs().amax(dim=-1) < 0.01 * plane.abs().amax(dim=-1) + 1e-4)
        if wrong.any():
            name = names[int(wrong.nonzero()[0])]
            raise SceneError(
                f"{source}: the lens distortion of {name} cannot be undone; correct k1, k2, k3, k4, p1, p2"
            )


def empty_splits() -> dict[str, list[int]]:
    """All splits, without pictures."""
    return {name: [] for name in SPLITS}
