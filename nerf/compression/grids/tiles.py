"""How a picture is cut: into tiles with a stream of their own, and into windows that are synthesised one at a time.

All boxes are in places of the coarse level, of :data:`GRID` pixels along each axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import NamedTuple

from ..description import Box

FINE, COARSE = 8, 4
"""Samples of a block along each axis: of pixels, and of the fine level's lowest frequencies."""
GRID = FINE * COARSE
"""Pixels along each axis that a place of the coarse level covers; a picture's sides are padded to multiples of it."""
TILE, WINDOW = 8, 24
"""Places of the coarse level along each side of a tile, about, and of a window."""
MARGIN = 2
"""Places around a window that change its pixels: the lapped transforms and the restoration reach so far."""


@dataclass(frozen=True)
class Grid:
    """The coarse level of a picture."""

    rows: int
    columns: int

    @classmethod
    def of(cls, dims: tuple[int, ...]) -> Grid:
        """That of a picture of these sides in pixels."""
        return cls(*(-(-size // GRID) for size in dims))

    def tiles(self) -> list[Box]:
        """The tiles, row by row: as many as make sides of about :data:`TILE`, of nearly equal sizes."""
        return list(product(_parts(self.rows), _parts(self.columns)))

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(_parts(self.rows)) * len(_parts(self.columns))

    def windows(self, box: Box) -> Iterator[tuple[Box, Box]]:
        """Windows that cover a box, each with what it needs: the window and its margin inside the picture."""
        for top, left in product(*(range(first, last, WINDOW) for first, last in box)):
            inner = tuple((at, min(at + WINDOW, last)) for at, (_, last) in zip((top, left), box, strict=True))
            yield inner, self.widened(inner, MARGIN)

    def widened(self, box: Box, margin: int) -> Box:
        """A box with places around it, inside the picture."""
        sides = (self.rows, self.columns)
        return tuple((max(0, a - margin), min(side, b + margin)) for (a, b), side in zip(box, sides, strict=True))


class Tile(NamedTuple):
    """A tile of one of several pictures."""

    item: int
    box: Box


def tiles_of(grids: Sequence[Grid]) -> list[Tile]:
    """The tiles of pictures, picture by picture."""
    return [Tile(item, box) for item, grid in enumerate(grids) for box in grid.tiles()]


def _parts(size: int) -> list[tuple[int, int]]:
    count = max(1, round(size / TILE))
    edges = [size * number // count for number in range(count + 1)]
    return list(zip(edges, edges[1:], strict=False))


def by_shape(tiles: Sequence[Tile], most: int) -> Iterator[list[int]]:
    """Numbers of tiles of one shape, at most so many at a time."""

    def shape(number: int) -> tuple[int, ...]:
        return tuple(last - first for first, last in tiles[number].box)

    for _, group in groupby(sorted(range(len(tiles)), key=shape), key=shape):
        numbers = list(group)
        for start in range(0, len(numbers), most):
            yield numbers[start : start + most]


def overlap(first: Box, second: Box) -> bool:
    """Whether two boxes have a place in common."""
    return all(a < d and c < b for (a, b), (c, d) in zip(first, second, strict=True))


def slices(box: Box, scale: int = 1) -> tuple[slice, ...]:
    """A box of a level that has ``scale`` times as many places along each axis."""
    return tuple(slice(scale * first, scale * last) for first, last in box)
