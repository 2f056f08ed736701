"""Blends Gaussians of a picture front to back, a tile of pixels at a time, in pure PyTorch.

The exponent of a Gaussian is a polynomial of the pixel's coordinates, so that a matrix product evaluates many
Gaussians at all pixels of a tile. Each pass takes the next `SLOTS` Gaussians of every tile that is not yet opaque:
Gaussians behind a surface cost nothing, and memory does not grow with their number. The backward pass computes the
same values again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

TILE = 8
"""Side of a tile, pixels."""
SLOTS = 64
"""Gaussians of a tile that one pass blends."""
TILES = 1024
"""Tiles that one pass blends, at most: it limits memory."""
FAINTEST = 1 / 255
"""Alphas below this one are taken as 0."""
STRONGEST = 0.99
"""Alphas above this one are lowered to it."""
OPAQUE = 1e-4
"""A tile whose pixels all have less transmittance than this takes no further Gaussians."""


def pixel_basis(device: torch.device) -> Float[Tensor, "6 p"]:
    """1, x, y, x², xy and y² at the pixel centres of a tile, row by row, with the tile's middle as the origin."""
    at = torch.arange(TILE, device=device) + 0.5 - TILE / 2
    y, x = (values.flatten() for values in torch.meshgrid(at, at, indexing="ij"))
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])


def blend(
    exponents: Float[Tensor, "m 6"],
    values: Float[Tensor, "m c"],
    first: Int[Tensor, " t"],
    count: Int[Tensor, " t"],
) -> tuple[Float[Tensor, "t p c"], Float[Tensor, "t p"]]:
    """Values and transmittance of the pixels of tiles; differentiable in the exponents and the values.

    Args:
        exponents: of every Gaussian in every tile that it reaches, sorted by tile and then by depth: the coefficients
            of the logarithm of its alpha in `pixel_basis`.
        values: what is blended, in the same order.
        first: index of each tile's first Gaussian.
        count: number of each tile's Gaussians.
    """
    return _Blend.apply(exponents, values, first, count)  # pyright: ignore[reportReturnType]


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exponents: Tensor, values: Tensor, first: Tensor, count: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        basis = pixel_basis(exponents.device)
        blended = values.new_zeros(len(first), TILE * TILE, values.shape[1])
        left = values.new_ones(len(first), TILE * TILE)
        for tiles, rows, valid in _passes(first, count, left):
            alpha = _alphas(exponents[rows], valid, basis)
            passed = (1 - alpha).cumprod(1)
            before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], 1)
            weights = alpha.mul_(before).mul_(left[tiles, None])
            blended[tiles] += weights.transpose(1, 2) @ values[rows]
            left[tiles] *= passed[:, -1]
        ctx.save_for_backward(exponents, values, first, count, blended, left)
        return blended, left

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        exponents, values, first, count, blended, final = ctx.saved_tensors
        grad_values, grad_left = gradients
        basis = pixel_basis(exponents.device)
        to_exponents, to_values = torch.zeros_like(exponents), torch.zeros_like(values)
        # What lies behind a Gaussian, weighted by the gradient: the total, less what was blended up to it.
        behind = (blended * grad_values).sum(-1) + final * grad_left
        left = torch.ones_like(final)
        for tiles, rows, valid in _passes(first, count, left):
            alpha = _alphas(exponents[rows], valid, basis)
            clear = 1 - alpha
            passed = clear.cumprod(1)
            before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], 1) * left[tiles, None]
            grad = grad_values[tiles]
            along = values[rows] @ grad.transpose(1, 2)
            weights = alpha * before
            to_values.index_add_(0, rows.flatten(), (weights @ grad).flatten(0, 1))
            share = weights * along
            rest = behind[tiles, None] - share.cumsum(1)
            behind[tiles] = rest[:, -1]
            slope = (share - alpha * rest / clear).mul_(alpha < STRONGEST)
            to_exponents.index_add_(0, rows.flatten(), (slope @ basis.T).flatten(0, 1))
            left[tiles] *= passed[:, -1]
        return to_exponents, to_values, None, None


def _passes(first: Tensor, count: Tensor, left: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Tiles, the rows of their next Gaussians [t, k], and which rows are theirs; the caller lowers ``left``."""
    slots = torch.arange(SLOTS, device=first.device)
    for group in torch.arange(len(first), device=first.device).split(TILES):
        start = 0
        while True:
            group = group[(count[group] > start) & (left[group].amax(-1) > OPAQUE)]
            if not len(group):
                break
            place = start + slots
            valid = place < count[group, None]
            rows = (first[group, None] + place).clamp(max=first[group, None] + count[group, None] - 1)
            yield group, rows, valid
            start += SLOTS


def _alphas(exponents: Float[Tensor, "t k 6"], valid: Tensor, basis: Float[Tensor, "6 p"]) -> Float[Tensor, "t k p"]:
    exponents = torch.where(valid[..., None], exponents, 0)
    # A row that is not the tile's has the constant exponent -100: an alpha of 0.
    exponents[..., 0] -= 100.0 * ~valid
    alpha = (exponents @ basis).clamp_(max=math.log(STRONGEST)).exp_()
    return alpha.mul_(alpha >= FAINTEST)
