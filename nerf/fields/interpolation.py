"""Weighted sums of table rows: the inner loop of hash grids and sparse voxel grids."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


class _WeightedRows(torch.autograd.Function):
    """``embedding_bag`` forwards, ``scatter_add_`` column by column backwards.

    Each is the fastest of its kind on a CPU: the library's own backward of ``embedding_bag`` takes twenty times as
    long, adding whole rows up to twice.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, table: Tensor, indices: Tensor, weights: Tensor
    ) -> Tensor:
        ctx.save_for_backward(table, indices, weights)
        return F.embedding_bag(indices, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        table, indices, weights = ctx.saved_tensors
        of_table = of_weights = None
        if ctx.needs_input_grad[0]:
            columns = table.new_zeros(table.shape[1], table.shape[0])
            for column, values in zip(columns, grad.unbind(1), strict=True):
                column.scatter_add_(0, indices.flatten(), (weights * values[:, None]).flatten())
            of_table = columns.T
        if ctx.needs_input_grad[2]:
            of_weights = (table[indices] * grad[:, None]).sum(-1)
        return of_table, None, of_weights


def weighted_rows(
    table: Float[Tensor, "rows f"], indices: Int[Tensor, "n k"], weights: Float[Tensor, "n k"]
) -> Float[Tensor, "n f"]:
    """``sum_k weights[n, k] * table[indices[n, k]]``, differentiable in table and weights (once)."""
    return _WeightedRows.apply(table, indices, weights.to(table.dtype))  # pyright: ignore[reportReturnType]


def corners(
    position: Float[Tensor, "n 3"], resolution: int
) -> tuple[Int[Tensor, "2 n"], Int[Tensor, "2 n"], Int[Tensor, "2 n"], Float[Tensor, "8 n"]]:
    """The cell of a grid around each point: the two node numbers on each axis, and trilinear weights.

    Points run along the last dimension, where arithmetic is fastest.

    Args:
        position: points of the unit cube.
        resolution: cells along an axis; nodes are numbered 0..resolution.

    Returns:
        Nodes along x, y and z, and the weights of the eight corners in the order of ``combine``.
    """
    scaled = position.T.contiguous() * resolution
    base = scaled.detach().floor().clamp(0, resolution - 1)
    high = scaled - base
    x, y, z = torch.stack([1 - high, high], 1)
    weights = (z[:, None, None] * (y[:, None] * x)).flatten(0, 2)
    nodes = base.long()[:, None] + torch.arange(2, device=position.device)[:, None]
    return nodes[0], nodes[1], nodes[2], weights


def combine(x: Int[Tensor, "2 n"], y: Int[Tensor, "2 n"], z: Int[Tensor, "2 n"], how: str) -> Int[Tensor, "8 n"]:
    """One number per corner from one per axis: their sum ("add") or exclusive or ("xor"); x runs fastest."""
    if how == "add":
        return (z[:, None, None] + (y[:, None] + x)).flatten(0, 2)
    return (z[:, None, None] ^ (y[:, None] ^ x)).flatten(0, 2)
