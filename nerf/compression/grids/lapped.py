"""Lapped transforms: a filter over every boundary between blocks, then a matrix for every block, both learned.

They start at the time-domain lapped transform (Tran, Liang and Tu, 2003) of the discrete cosine transform, which is
orthonormal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

COLOURS = ((1, 1, 1), (1, 0, -1), (1, -2, 1))
"""Rows of the colour transform before they are normalised: luminance and two differences."""

Frequency = tuple[int, int, int]
"""Channel, and vertical and horizontal frequency of a coefficient."""


def cosines(size: int) -> Float[Tensor, "size size"]:
    """The orthonormal discrete cosine transform of type II, a row for each frequency."""
    k = torch.arange(size, dtype=torch.float64)
    matrix = math.sqrt(2 / size) * torch.cos(math.pi / size * (k + 0.5) * k[:, None])
    matrix[0] /= math.sqrt(2)
    return matrix


def boundary_filter(size: int) -> Float[Tensor, "size size"]:
    """The orthonormal filter for the ``size`` samples around a boundary between blocks of ``size`` samples."""
    half = size // 2
    identity = torch.eye(half, dtype=torch.float64)
    turned = identity.flip(0)
    k = torch.arange(half, dtype=torch.float64) + 0.5
    fourth = math.sqrt(2 / half) * torch.cos(math.pi / half * k * k[:, None])
    inner = turned @ cosines(half).T @ fourth @ turned
    butterfly = torch.cat([torch.cat([identity, turned], 1), torch.cat([turned, -identity], 1)]) / math.sqrt(2)
    return butterfly @ torch.block_diag(identity, inner) @ butterfly


def filtered(
    values: Float[Tensor, "... h w"],
    matrix: Float[Tensor, "size size"],
    rounded: Callable[[Tensor], Tensor] = lambda products: products,
) -> Float[Tensor, "... h w"]:
    """Values with a filter applied over all boundaries between blocks, along both axes; the edges stay.

    ``rounded`` is applied to the products along each axis; `whole_numbers.filtered` rounds them.
    """
    return _along(_along(values.mT, matrix, rounded).mT, matrix, rounded)


def _along(
    values: Float[Tensor, "... w"], matrix: Float[Tensor, "size size"], rounded: Callable[[Tensor], Tensor]
) -> Float[Tensor, "... w"]:
    size, width = len(matrix), values.shape[-1]
    if width <= size:
        return values
    first, inner, last = values.split([size // 2, width - size, size // 2], dim=-1)
    inner = rounded((inner.unflatten(-1, (-1, size)) @ matrix.T).flatten(-2))
    return torch.cat([first, inner, last], -1)


def by_frequency(size: int, lowest: int, highest: int, channels: Sequence[int]) -> list[Frequency]:
    """The coefficients of a block whose two frequencies have a sum in lowest..highest, ordered by that sum."""
    found = [
        (total, row, total - row, channel)
        for total in range(lowest, highest + 1)
        for row in range(max(0, total - size + 1), min(total, size - 1) + 1)
        for channel in channels
    ]
    return [(channel, row, column) for _, row, column, channel in found]


class Lapped(nn.Module):
    """A lapped transform of three channels.

    Args:
        size: samples of a block along each axis.
        kept: the coefficients of a block.
        colours: whether channels are red, green and blue, and a coefficient's channel a row of :data:`COLOURS`.
    """

    def __init__(self, size: int, kept: Sequence[Frequency], *, colours: bool):
        super().__init__()
        self.size = size
        waves = cosines(size)
        mixing = torch.eye(3, dtype=torch.float64)
        if colours:
            mixing = functional.normalize(torch.tensor(COLOURS, dtype=torch.float64), dim=1)
        rows = [torch.einsum("c,i,j->cij", mixing[c], waves[u], waves[v]).flatten() for c, u, v in kept]
        self.analysis = nn.Parameter(torch.stack(rows).float())
        self.synthesis = nn.Parameter(torch.stack(rows).float())
        before = boundary_filter(size)
        self.before = nn.Parameter(before.float())
        self.after = nn.Parameter(torch.linalg.inv(before).float())

    def analyse(self, values: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b kept h2 w2"]:
        """Coefficients of values whose sides are multiples of the block's."""
        blocks = functional.pixel_unshuffle(filtered(values, self.before), self.size)
        return torch.einsum("kc,bchw->bkhw", self.analysis, blocks)

    def synthesise(self, coefficients: Float[Tensor, "b kept h2 w2"]) -> Float[Tensor, "b 3 h w"]:
        """Values of coefficients."""
        blocks = torch.einsum("kc,bkhw->bchw", self.synthesis, coefficients)
        return filtered(functional.pixel_shuffle(blocks, self.size), self.after)
