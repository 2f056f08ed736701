"""Windows of blocks: how much of a datum is decoded at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .description import Box, Description, Tiling

WINDOW = {1: 64, 2: 8, 3: 4}
"""Patches along each axis that are drawn at once, by the number of axes."""


@dataclass(frozen=True)
class Window:
    """Patches that are drawn at once."""

    rows: list[int]
    """The first level's rows, with those around that the upsampler looks at, in row-major order."""
    grid: tuple[int, ...]
    """How many there are along each axis."""
    inner: Box
    """Those of them that belong to the window."""
    start: tuple[int, ...]
    """The first point of the window itself."""


def windows(description: Description, tiling: Tiling, box: Box) -> Iterator[Window]:
    """The windows that draw the points of ``box``; they lie where they would for the whole datum."""
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
