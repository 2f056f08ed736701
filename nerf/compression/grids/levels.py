"""The two levels of coefficients of some pictures, and copies of their tiles as batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..description import Box
from .network import COARSE_GROUPS, FINE_GROUPS
from .tiles import COARSE, Grid, Tile, slices

CHANNELS = tuple(sum(map(len, groups)) for groups in (COARSE_GROUPS, FINE_GROUPS))
"""Channels of the coarse and of the fine level."""


class Levels:
    """Coefficients of pictures: as targets of an encoder in float32, or rounded as int16.

    Args:
        grids: of the pictures.
        dtype: of the numbers, which are zeros at first.
    """

    def __init__(self, grids: Sequence[Grid], dtype: torch.dtype = torch.int16):
        self.grids, self.dtype = list(grids), dtype
        self.coarse, self.fine = (
            [torch.zeros(1, channels, scale * g.rows, scale * g.columns, dtype=dtype) for g in grids]
            for channels, scale in zip(CHANNELS, (1, COARSE), strict=True)
        )

    def part(self, item: int, box: Box) -> tuple[Tensor, Tensor]:
        """Views of a box of both levels of a picture."""
        return self.coarse[item][..., *slices(box)], self.fine[item][..., *slices(box, COARSE)]

    def gather(self, tiles: Sequence[Tile]) -> tuple[Float[Tensor, "b coarse h2 w2"], Float[Tensor, "b fine h1 w1"]]:
        """Copies of tiles of one shape as a batch in double precision."""
        coarse, fine = zip(*(self.part(*tile) for tile in tiles), strict=True)
        return torch.cat(coarse).double(), torch.cat(fine).double()

    def put(
        self, tiles: Sequence[Tile], coarse: Float[Tensor, "b coarse h2 w2"], fine: Float[Tensor, "b fine h1 w1"]
    ) -> None:
        """The inverse of :meth:`gather`."""
        for number, tile in enumerate(tiles):
            mine = self.part(*tile)
            mine[0].copy_(coarse[number])
            mine[1].copy_(fine[number])
