"""LLFF captures: poses_bounds.npy and a folder of pictures; most are forward-facing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...cameras import Cameras, mean_pose
from ...ndc import NDC
from ..pictures import PictureSource, picture_files, picture_size
from ..points import read_array
from ..scene import SceneError
from .listing import Listing, every_eighth, make_cameras

NEAREST = 0.75
"""The near plane of NDC as a share of the smallest depth."""


def read_llff(folder: Path, *, downscale: float, ndc: bool | None) -> Listing:
    """List a folder with ``poses_bounds.npy``, rows of a 3x5 matrix [R | t | height, width, focal], near and far.

    Pictures come from ``images_<downscale>/`` where there is one, else from ``images/``. The world stays as the file
    has it; the frame of NDC is the mean camera, as in NeRF's code.

    Args:
        ndc: none decides by the cameras, see `is_forward_facing`.

    Raises:
        SceneError: the file is malformed, the numbers of rows and pictures differ, or a camera is not valid.
    """
    source = folder / "poses_bounds.npy"
    rows = _read_rows(source)
    files = _files(folder, downscale)
    if len(files) != len(rows):
        raise SceneError(f"{source} has {len(rows)} poses but {files[0].parent} has {len(files)} pictures; pair them")
    matrices = torch.from_numpy(rows[:, :15].reshape(-1, 3, 5))
    depths = torch.from_numpy(rows[:, 15:])
    if not (depths.isfinite().all() and (depths[:, 0] > 0).all() and (depths[:, 1] > depths[:, 0]).all()):
        raise SceneError(f"{source} has depths that are not 0 < near < far; run the structure from motion again")
    # From the columns down, right, back to right, up, back.
    poses = torch.stack([matrices[:, :, 1], -matrices[:, :, 0], matrices[:, :, 2], matrices[:, :, 3]], dim=-1)
    pictures = tuple(PictureSource(path, picture_size(path)) for path in files)
    size = pictures[0].size
    for picture in pictures:
        if picture.size != size:
            found, wanted = ("x".join(map(str, each)) for each in (picture.size, size))
            raise SceneError(f"{picture.path} has {found} pixels but {files[0]} has {wanted}; make them one size")
    shrunk = matrices[:, 1, 4] / size[0]
    focal = (matrices[:, 2, 4] / shrunk)[:, None].expand(-1, 2)
    center = torch.tensor(size).double().expand(len(files), 2) / 2
    if ndc is None:
        ndc = is_forward_facing(poses, float(depths.min()))
    frame = None
    if ndc:
        make_cameras(source, pictures, poses, focal, center)  # a mean of impossible poses would hide their names
        if not (centered(poses)[:, 2, 2] > 0).all():
            raise SceneError(
                f"{source} has cameras that look in opposite directions, which NDC cannot; load it without NDC"
                " (ndc=False, --no-ndc)"
            )
        scale = 2 * focal[0] / torch.tensor(size)
        frame = NDC.of(mean_pose(poses), NEAREST * float(depths.min()), scale)
    cameras = make_cameras(source, pictures, poses, focal, center, ndc=frame)
    near, far = (0.0, 1.0) if ndc else (0.9 * float(depths.min()), float(depths.max()))
    return Listing(
        pictures, cameras, every_eighth(len(files)), shrunk=float(shrunk.mean()), near=near, far=far,
        bounds=ndc_bounds(cameras) if ndc else None, extent=None if ndc else (near, far),
    )  # fmt: skip


def is_forward_facing(poses: Float[Tensor, "n 3 4"], near: float) -> bool:
    """Whether NDC fits: all cameras look within 60 degrees of their mean direction and stand before the content.

    Args:
        near: the smallest depth that any camera sees.
    """
    local = centered(poses)
    return bool((local[:, 2, 2] > 0.5).all() and (local[:, 2, 3] > -NEAREST * near).all())


def centered(poses: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n 3 4"]:
    """Poses in the frame of their mean."""
    mean = mean_pose(poses)
    moved = poses[:, :, 3] - mean[:, 3]
    return mean[:, :3].T @ torch.cat([poses[:, :, :3], moved[:, :, None]], dim=-1)


def ndc_bounds(cameras: Cameras) -> Float[Tensor, "2 3"]:
    """The box in NDC that holds what the cameras see between the near plane and infinity."""
    corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]) * torch.tensor([cameras.width, cameras.height])
    index = torch.arange(len(cameras)).repeat_interleave(4)
    rays = cameras.rays(index, corners.float().repeat(len(cameras), 1))
    ends = torch.cat([rays.origins, rays.origins + rays.directions])
    lower, upper = ends.amin(0), ends.amax(0)
    lower[2], upper[2] = -1.0, 1.0
    return torch.stack([lower, upper])


def _read_rows(source: Path) -> np.ndarray:
    rows = read_array(source, "run the structure from motion again")
    if rows.ndim != 2 or rows.shape[1] != 17 or not len(rows):
        raise SceneError(f"{source} must have the shape [n, 17], got {list(rows.shape)}; export it again")
    return rows.astype(np.float64)


def _files(folder: Path, downscale: float) -> list[Path]:
    choices = [folder / f"images_{downscale:g}", folder / "images", *sorted(folder.glob("images_*"))]
    for choice in choices:
        if choice.is_dir() and (files := picture_files(choice)):
            return files
    raise SceneError(f"{folder} has poses_bounds.npy but no pictures in a folder images; put them there")
