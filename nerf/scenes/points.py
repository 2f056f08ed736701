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

from .scene import SceneError

logger = logging.getLogger(__name__)

TRIMMED = 1.0
"""Percent of the points left out at either end of each axis, since a few are matched wrongly."""
MARGIN = 0.1
"""Share of its length by which the box is enlarged on every side."""
PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


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
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not data.startswith(b"ply") or not body:
        raise SceneError(f"{path} is not a PLY file; export it again or remove ply_file_path")
    layout = next((line[1] for line in lines if line[:1] == ["format"]), "")
    elements = [index for index, line in enumerate(lines) if line[:1] == ["element"]]
    first = lines[elements[0]] if elements else []
    if first[1:2] != ["vertex"]:
        raise SceneError(f"{path} must list its vertices first; export it again or remove ply_file_path")
    end = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] : end] if line[:1] == ["property"]]
    if any(len(line) < 3 for line in properties) or not (len(first) == 3 and first[2].isdecimal()):
        raise SceneError(f"{path} has a damaged header; export it again or remove ply_file_path")
    fields = [(line[2], PLY_TYPES.get(line[1], "")) for line in properties]
    names = [name for name, _ in fields]
    if not {"x", "y", "z"} <= set(names) or "" in [kind for _, kind in fields]:
        raise SceneError(f"{path} needs vertices with x, y and z; export it again or remove ply_file_path")
    count = int(first[2])
    try:
        if layout == "ascii":
            rows = [line.split() for line in body.decode("ascii").splitlines()[:count]]
            table = np.array(rows, dtype=np.float64).reshape(count, len(names))
            return table[:, [names.index(axis) for axis in "xyz"]]
        order = ">" if layout == "binary_big_endian" else "<"
        vertices = np.frombuffer(body, dtype=[(name, order + kind) for name, kind in fields], count=count)
        return np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=-1)
    except ValueError as error:
        raise SceneError(f"{path} ends before its {count} vertices do; export it again") from error


def _read_npy(path: Path) -> np.ndarray:
    try:
        points = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SceneError(f"{path} is not a NumPy array ({error}); export it again or remove it") from error
    if points.ndim != 2 or points.shape[1] < 3:
        raise SceneError(f"{path} must have the shape [n, 3], got {list(points.shape)}; export it again or remove it")
    return points[:, :3].astype(np.float64)
