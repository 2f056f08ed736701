"""INRIA's ``.ply`` files of Gaussians: one element "vertex" with a property for each number, read by name."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from ...fields import FieldError
from ...fields.splat import MOST_SPLATS
from .gaussians import Gaussians

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
LONGEST_HEADER = 65_536
"""Bytes of a header, at most."""


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


def read_ply(data: bytes, path: Path) -> Gaussians:
    """The Gaussians of a file, whatever the order and type of its properties; others are left out.

    Raises:
        FieldError: the file is damaged, or is not one of Gaussians; the message says what is missing.
    """
    table = _table(data, path)
    rest = sorted((name for name in table if name.startswith("f_rest_")), key=lambda name: int(name[7:]))
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


def _table(data: bytes, path: Path) -> dict[str, np.ndarray]:
    """The columns of the element "vertex" by name."""
    end = data.find(b"end_header", 0, LONGEST_HEADER)
    if not data.startswith(b"ply") or end < 0:
        raise FieldError(f"{path} is not a .ply file; its header is missing")
    start = data.find(b"\n", end) + 1
    words = [line.split() for line in data[:end].decode("ascii", "replace").splitlines() if line.strip()]
    order = next((FORMATS.get(line[1]) for line in words if line[0] == "format" and len(line) > 1), None)
    if order is None:
        raise FieldError(f"{path} has no known format; a .ply is ascii, or binary little or big endian")
    elements: list[tuple[str, int, list[tuple[str, str]]]] = []
    try:
        for line in words:
            if line[0] == "element":
                elements.append((line[1], int(line[2]), []))
            elif line[0] == "property":
                if line[1] == "list":
                    elements[-1][2].append((line[-1], "list"))
                else:
                    elements[-1][2].append((line[2], TYPES[line[1]]))
        name, count, properties = elements[0]
    except (IndexError, ValueError, KeyError) as error:
        raise FieldError(f"{path} has a damaged header ({error}); export it again") from error
    if name != "vertex" or any(kind == "list" for _, kind in properties):
        raise FieldError(f"{path} does not begin with vertices; give a .ply that a program for splats wrote")
    if not 0 <= count <= MOST_SPLATS:
        raise FieldError(f"{path} claims {count} Gaussians; at most {MOST_SPLATS} are read")
    kind = np.dtype([(name, (order or "<") + kind) for name, kind in properties])
    if order:
        if len(data) - start < count * kind.itemsize:
            raise FieldError(
                f"{path} is cut off: {count} Gaussians need {count * kind.itemsize} bytes, and {len(data) - start} are"
                " there; copy it again"
            )
        rows = np.frombuffer(data, kind, count, start)
        return {name: rows[name] for name, _ in properties}
    try:
        text = io.BytesIO(data[start:])
        rows = np.loadtxt(text, np.float64, max_rows=count, ndmin=2) if count else np.zeros((0, len(properties)))
        if rows.shape != (count, len(properties)):
            raise ValueError(f"{rows.shape[0]} rows of {rows.shape[1]} numbers, not {count} of {len(properties)}")
    except ValueError as error:
        raise FieldError(f"{path} has damaged text ({error}); export it again") from error
    return {name: rows[:, index] for index, (name, _) in enumerate(properties)}
