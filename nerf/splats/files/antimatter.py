"""``.splat`` files: 32 bytes for each Gaussian, without a colour that depends on the direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...fields import FieldError
from .gaussians import Gaussians, logit_of_byte, sigmoid, to_byte

ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quaternion", "u1", 4)])
CONSTANT = 0.28209479177387814
"""The constant spherical harmonic."""


def write_splat(gaussians: Gaussians) -> bytes:
    """The file's bytes, Gaussians sorted by size times opacity, so that a part of a file shows most."""
    opacity = sigmoid(gaussians.opacity_logits)
    order = np.argsort(-np.exp(gaussians.log_scales.sum(-1)) * opacity, kind="stable")
    rows = np.zeros(len(order), ROW)
    rows["mean"] = gaussians.means[order]
    rows["scale"] = np.exp(gaussians.log_scales[order])
    color = 0.5 + CONSTANT * gaussians.harmonics[order, 0]
    rows["rgba"] = to_byte(np.concatenate([color, opacity[order, None]], -1) * 255)
    quaternions = gaussians.quaternions[order]
    quaternions = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    rows["quaternion"] = to_byte(quaternions * 128 + 128)
    return rows.tobytes()


def read_splat(path: Path) -> Gaussians:
    """The Gaussians of a file.

    Raises:
        FieldError: the file is cut off, or a scale is not positive.
    """
    data = path.read_bytes()
    if len(data) % ROW.itemsize:
        raise FieldError(
            f"{path} is cut off: a .splat file has {ROW.itemsize} bytes for each Gaussian, and {len(data)} are there;"
            " copy it again"
        )
    rows = np.frombuffer(data, ROW)
    if not (rows["scale"] > 0).all():
        raise FieldError(f"{path} has scales that are not positive; export it again")
    harmonics = ((rows["rgba"][:, :3] / 255.0 - 0.5) / CONSTANT)[:, None]
    return Gaussians(
        rows["mean"].astype(np.float64), np.log(rows["scale"].astype(np.float64)),
        (rows["quaternion"].astype(np.float64) - 128) / 128, logit_of_byte(rows["rgba"][:, 3]), harmonics,
    )  # fmt: skip
