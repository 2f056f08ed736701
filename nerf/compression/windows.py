"""Windows: the patches of a datum that the network computes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .description import Box, Description, Tiling

WINDOW = {1: 64, 2: 8, 3: 4}
"""Patches of a window along each axis, by the number of axes."""


@dataclass(frozen=True)
class Window:
    """Patches that are computed together, with those around them that they depend on."""

    rows: list[int]
    """Rows of the first level, in row-major order, the surrounding patches that the upsampler reads included."""
    grid: tuple[int, ...]
    """Number of these rows along each axis."""
    inner: Box
    """Which of them are the window's own."""
    start: tuple[int, ...]
    """First point of the window's own patches along each axis."""


def windows(description: Description, tiling: Tiling, box: Box) -> Iterator[Window]:
    """The windows that cover the points of ``box``; their positions do not depend on the box."""
    side, halo = WINDOW[len(box)], description.halo
    spans = [
        range(first // patch // side, -(-last // (patch * side)))
        for (first, last), patch in zip(box, description.patch, strict=True)
    ]
    for place in product(*spans):
        own = [(at * side, min((at + 1) * side, count)) for at, count in zip(place, tiling.grid, strict=True)]
        outer = [
            (max(first - more, 0), min(last + more, count))
            for (first, last), more, count in zip(own, halo, tiling.grid, strict=True)
        ]
        rows = [0]
        for (first, last), count in zip(outer, tiling.grid, strict=True):
            rows = [row * count + at for row in rows for at in range(first, last)]
        yield Window(
            rows,
            tuple(last - first for first, last in outer),
            tuple((a - first, b - first) for (a, b), (first, _) in zip(own, outer, strict=True)),
            tuple(first * patch for (first, _), patch in zip(own, description.patch, strict=True)),
        )
