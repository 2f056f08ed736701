"""Data as patches, the way an encoder takes them: patches of all data in one array, and the parts to optimize at once.

Rows of a level are numbered over all data: first those of the first datum, then those of the second, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .description import Description, Tiling, whole
from .model.network import split
from .windows import windows

PATCHES_AT_ONCE = 32
"""Patches whose gradients are computed together; more would not fit a processor's cache."""
MOST_STITCHED = 512
"""The most patches of stitched encodings whose gradients are computed together; more would take too much memory."""


@dataclass(frozen=True)
class Part:
    """Patches whose gradients are computed together."""

    rows: slice | Int[Tensor, " r"]
    grids: list[tuple[int, ...]]
    """Patches along each axis of each datum in turn; empty where encodings are not stitched."""
    weights: Float[Tensor, "r 1 points"]
    """1 where the squared error of a point counts, else 0."""


@dataclass(frozen=True)
class Patches:
    """Patches of all data."""

    tilings: list[Tiling]
    """Of each datum."""
    rows: list[list[slice]]
    """Of each datum and level, its rows."""
    values: Float[Tensor, "r channels points"]
    """Patches that reach over a datum's edge repeat its last values there."""
    weights: Float[Tensor, "r 1 points"]
    """1 where a point belongs to its datum, 0 beyond the edge."""
    parents: list[Int[Tensor, " _r"]]
    """For each level above the first, the row there of every patch."""

    @classmethod
    def of(cls, data: Sequence[Float[Tensor, "channels ..."]], description: Description) -> Patches:
        """Cut data, [channels, *dims] each, into patches."""
        tilings = [description.tiling(tuple(values.shape[1:])) for values in data]
        rows = _rows(tilings)
        parents = [
            torch.cat(
                [torch.tensor(t.parents()[above]) + own[above + 1].start for t, own in zip(tilings, rows, strict=True)]
            )
            for above in range(len(description.columns) - 1)
        ]
        pairs = [_padded(values, tiling, description) for values, tiling in zip(data, tilings, strict=True)]
        values, weights = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        return cls(tilings, rows, values, weights, parents)

    def parts(self, description: Description) -> Iterator[Part]:
        """Chunks of patches that do not depend on each other; stitched ones all at once, or in windows if many."""
        if not description.stitched:
            for rows in slices(len(self.values), PATCHES_AT_ONCE):
                yield Part(rows, [], self.weights[rows])
        elif len(self.values) <= MOST_STITCHED:
            yield Part(slice(None), [tiling.grid for tiling in self.tilings], self.weights)
        else:
            for tiling, own_rows in zip(self.tilings, self.rows, strict=True):
                for window in windows(description, tiling, whole(tiling.dims)):
                    own = torch.zeros(window.grid)
                    own[tuple(slice(a, b) for a, b in window.inner)] = 1
                    rows = torch.tensor(window.rows) + own_rows[0].start
                    yield Part(rows, [window.grid], self.weights[rows] * own.view(-1, 1, 1))


def slices(count: int, size: int) -> list[slice]:
    """Consecutive slices of at most ``size`` that cover ``count`` rows."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _rows(tilings: Sequence[Tiling]) -> list[list[slice]]:
    """Of each datum, its rows at every level among those of all data."""
    found, start = [], [0] * len(tilings[0].rows)
    for tiling in tilings:
        found.append([slice(first, first + count) for first, count in zip(start, tiling.rows, strict=True)])
        start = [part.stop for part in found[-1]]
    return found


def _padded(
    values: Float[Tensor, "channels ..."], tiling: Tiling, description: Description
) -> tuple[Float[Tensor, "r channels points"], Float[Tensor, "r 1 points"]]:
    """A datum's patches, padded with the values at its edge, and 1 where a point belongs to it."""
    grid, patch = tiling.grid, description.patch
    inside = torch.ones(1, *values.shape[1:])
    for axis, (count, side) in enumerate(zip(grid, patch, strict=True), 1):
        place = torch.arange(count * side)
        size = values.shape[axis]
        values = values.index_select(axis, place.clamp_max(size - 1))
        inside = inside.index_select(axis, place.clamp_max(size - 1))
        shape = [-1 if a == axis else 1 for a in range(values.dim())]
        inside = inside * (place < size).view(shape)
    return split(values[None], grid)[0].flatten(2), split(inside[None], grid)[0].flatten(2)
