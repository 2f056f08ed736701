"""The result of a format's reader: files and cameras, before any picture is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from ...cameras import Cameras, check_cameras
from ...ndc import NDC
from ..scene import SPLITS, SceneError

HELD_OUT = 8
"""Every picture whose index is a multiple of this is a test view, in formats that name no split."""


@dataclass(frozen=True, eq=False)
class Listing:
    """Picture files and their cameras, in one order."""

    files: tuple[Path, ...]
    cameras: Cameras
    """Cameras for the files at their own size."""
    splits: dict[str, list[int]]
    masks: tuple[Path, ...] | None = None
    needs_alpha: bool = False
    """Whether the format requires alpha or masks."""
    shrunk: float = 1.0
    """Factor by which the files are already smaller than the originals; it counts towards ``downscale``."""
    bounds: Float[Tensor, "2 3"] | None = None
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
    files: Sequence[Path],
    poses: Float[Tensor, "n 3 4"],
    focal: Float[Tensor, "n 2"],
    center: Float[Tensor, "n 2"],
    size: tuple[int, int],
    *,
    distortion: Float[Tensor, "n 6"] | None = None,
    ndc: NDC | None = None,
    times: Float[Tensor, " n"] | None = None,
) -> Cameras:
    """Cameras of ``size`` (width, height); an error names the file of the camera.

    Args:
        source: the file that the numbers come from.

    Raises:
        SceneError: a camera is not valid.
    """
    try:
        check_cameras(poses, focal, center, distortion, [path.name for path in files])
        if distortion is not None and not distortion.any():
            distortion = None
        return Cameras(
            poses.float(), focal.float(), center.float(), *size,
            distortion=None if distortion is None else distortion.float(), ndc=ndc,
            times=None if times is None else times.float(),
        )  # fmt: skip
    except ValueError as error:
        raise SceneError(f"{source}: {error}; correct the file") from error


def empty_splits() -> dict[str, list[int]]:
    """All splits, without pictures."""
    return {name: [] for name in SPLITS}
