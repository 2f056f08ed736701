"""Sparse points of structure from motion, if a scene has them: its content lies in the box around them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mappers.files import DAMAGED_ARRAY

from ..vertices import VerticesError, read_vertices
from .scene import SceneError

logger = logging.getLogger(__name__)

TRIMMED = 1.0
"""Percent of the points left out at either end of each axis, since a few are matched wrongly."""
MARGIN = 0.1
"""Share of its length by which the box is enlarged on every side."""


def cloud_bounds(folder: Path, content: Mapping[str, Any]) -> Float[Tensor, "2 3"] | None:
    """The box of a scene's sparse points; None if it has none.

    Args:
        content: the transforms file; ``ply_file_path`` names a PLY file as in nerfstudio. Else a file
            ``points3d.npy`` [n, 3] is looked for.

    Raises:
        SceneError: a file is there but malformed.
    """
    named = content.get("ply_file_path")
    if isinstance(named, str) and (folder / named).is_file():
        points = read_ply_points(folder / named)
    elif (folder / "points3d.npy").is_file():
        points = _read_npy(folder / "points3d.npy")
    else:
        if named is not None:
            logger.warning("there is no ply_file_path %s in %s: bounds are found without it", named, folder)
        return None
    return points_box(points)


def points_box(points: Float[np.ndarray, "n 3"]) -> Float[Tensor, "2 3"] | None:
    """The box around most of the points; None if there are fewer than ten."""
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 10:
        return None
    low, high = np.percentile(points, [TRIMMED, 100 - TRIMMED], axis=0)
    margin = MARGIN * np.maximum(high - low, 1e-3)
    return torch.from_numpy(np.stack([low - margin, high + margin])).float()


def read_ply_points(path: Path) -> np.ndarray:
    """The vertices x, y, z of a PLY file, text or binary, [n, 3].

    Raises:
        SceneError: the file is not PLY, has no such vertices, or ends early.
    """
    try:
        found = read_vertices(path)
    except VerticesError as error:
        raise SceneError(f"{error} or remove ply_file_path") from error
    if not {"x", "y", "z"} <= found.keys():
        raise SceneError(f"{path} needs vertices with x, y and z; export it again or remove ply_file_path")
    return np.stack([found[axis].astype(np.float64) for axis in "xyz"], axis=-1)


def read_array(path: Path, remedy: str) -> np.ndarray:
    """The array of numbers of a .npy file.

    Raises:
        SceneError: it has none; the message ends with ``remedy``.
    """
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except DAMAGED_ARRAY as error:
        raise SceneError(f"{path} is not a NumPy array ({error}); {remedy}") from error
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.number):
        raise SceneError(f"{path} is not an array of numbers; {remedy}")
    return array


def _read_npy(path: Path) -> np.ndarray:
    points = read_array(path, "export it again or remove it")
    if points.ndim != 2 or points.shape[1] < 3:
        raise SceneError(f"{path} must have the shape [n, 3], got {list(points.shape)}; export it again or remove it")
    return points[:, :3].astype(np.float64)
