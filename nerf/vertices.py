"""Reads the vertices of a PLY file: sparse points of photos and Gaussian splats come as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
LONGEST_HEADER = 65_536
"""Bytes of a header, at most."""


class VerticesError(ValueError):
    """A file is not a PLY file with vertices; the message names it and says what is wrong."""


def read_vertices(path: Path, *, most: int = 2**31) -> dict[str, np.ndarray]:
    """The properties of the element "vertex" by name, text or binary, each [n].

    Args:
        path: the file.
        most: number of vertices, at most. Nothing is allocated for more bytes than the file has.

    Raises:
        VerticesError: the file is not PLY, does not begin with vertices, or ends early.
    """
    data = path.read_bytes()
    end = data.find(b"end_header", 0, LONGEST_HEADER)
    if not data.startswith(b"ply") or end < 0:
        raise VerticesError(f"{path} is not a PLY file; export it again")
    body = data.find(b"\n", end) + 1
    lines = [line.split() for line in data[:end].decode("ascii", "replace").splitlines() if line.strip()]
    order = next((ORDERS.get(line[1]) for line in lines if line[0] == "format" and len(line) > 1), None)
    elements = [index for index, line in enumerate(lines) if line[0] == "element"]
    if not elements or lines[elements[0]][1:2] != ["vertex"]:
        raise VerticesError(f"{path} must list its vertices first; export it again")
    first = lines[elements[0]]
    stop = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] : stop] if line[0] == "property"]
    known = all(len(line) == 3 and line[1] in TYPES for line in properties)
    if order is None or not (known and properties and len(first) == 3 and first[2].isdecimal()):
        raise VerticesError(f"{path} has a damaged header; export it again")
    count, names = int(first[2]), [line[2] for line in properties]
    if count > most:
        raise VerticesError(f"{path} claims {count} vertices, and at most {most} are read; export it again")
    try:
        if order:
            kind = np.dtype([(line[2], order + TYPES[line[1]]) for line in properties])
            rows = np.frombuffer(data, kind, count, body) if count else np.zeros(0, kind)
            return {name: rows[name] for name in names}
        text = [line.split() for line in data[body:].decode("ascii").splitlines() if line.strip()][:count]
        table = np.array(text, np.float64).reshape(count, len(names))
        return {name: table[:, index] for index, name in enumerate(names)}
    except ValueError as error:
        raise VerticesError(f"{path} ends before its {count} vertices do, or is damaged; export it again") from error
