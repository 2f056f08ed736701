"""INRIA's ``.ply`` files of Gaussians: one element "vertex" with a property for each number, read by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ...fields import FieldError
from ...fields.splat import MOST_SPLATS
from ...vertices import VerticesError, read_vertices
from .gaussians import Gaussians


def write_ply(gaussians: Gaussians) -> bytes:
    """The file's bytes: little endian, 32-bit numbers, harmonics of one channel after the other."""
    n = len(gaussians.means)
    rest = gaussians.harmonics[:, 1:].transpose(0, 2, 1).reshape(n, -1)
    columns = [
        *_named(gaussians.means, ["x", "y", "z"]),
        *_named(np.zeros((n, 3)), ["nx", "ny", "nz"]),
        *_named(gaussians.harmonics[:, 0], [f"f_dc_{i}" for i in range(3)]),
        *_named(rest, [f"f_rest_{i}" for i in range(rest.shape[1])]),
        ("opacity", gaussians.opacity_logits),
        *_named(gaussians.log_scales, [f"scale_{i}" for i in range(3)]),
        *_named(gaussians.quaternions, [f"rot_{i}" for i in range(4)]),
    ]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {n}"]
    lines += [f"property float {name}" for name, _ in columns] + ["end_header", ""]
    values = np.stack([column for _, column in columns], -1).astype("<f4")
    return "\n".join(lines).encode("ascii") + values.tobytes()


def _named(values: np.ndarray, names: list[str]) -> list[tuple[str, np.ndarray]]:
    return list(zip(names, values.T, strict=True))


def read_ply(path: Path) -> Gaussians:
    """The Gaussians of a file, whatever the order and type of its properties; others are left out.

    Raises:
        FieldError: the file is damaged, or is not one of Gaussians; the message says what is missing.
    """
    try:
        table = read_vertices(path, most=MOST_SPLATS)
    except VerticesError as error:
        raise FieldError(str(error)) from error
    rest = sorted(
        (name for name in table if name.startswith("f_rest_") and name[7:].isdecimal()), key=lambda name: int(name[7:])
    )
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1",
             "rot_2", "rot_3"]  # fmt: skip
    missing = [name for name in names if name not in table]
    if missing:
        raise FieldError(
            f"{path} is not a file of Gaussian splats: its vertices have no {missing[0]}; give a .ply that a program"
            " for splats wrote"
        )
    bands = math.isqrt(len(rest) // 3 + 1)
    if len(rest) % 3 or bands * bands != len(rest) // 3 + 1 or bands > 4:
        raise FieldError(
            f"{path} has {len(rest)} properties f_rest, and splats of degree 0 to 3 have 0, 9, 24 or 45; export it with"
            " a degree of at most 3"
        )
    values = {name: table[name].astype(np.float64) for name in [*names, *rest]}
    stack = lambda chosen: np.stack([values[name] for name in chosen], -1)  # noqa: E731
    constant = stack(names[3:6])[:, None]
    n = len(constant)
    others = stack(rest).reshape(n, 3, -1).transpose(0, 2, 1) if rest else np.zeros((n, 0, 3))
    return Gaussians(
        stack(names[:3]),
        stack(names[7:10]),
        stack(names[10:]),
        values["opacity"],
        np.concatenate([constant, others], 1),
    )
