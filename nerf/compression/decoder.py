"""Indices to latent numbers, and latent numbers to values.

In double precision the samples depend neither on the machine nor on the number of threads. Nor do they depend on the
region that is decoded: the patches of a window are always computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt
from torch import Tensor

from .block_order import BlockOrder
from .coding.shared_randomness import candidates
from .description import Box, Tiling, whole
from .model.codec import CodecModel
from .model.network import Representation, stitch
from .windows import windows


def needed_rows(model: CodecModel, tiling: Tiling, box: Box) -> list[Bool[Tensor, " _rows"]]:
    """Of each level, which rows are needed for the values of a box."""
    chosen = [torch.zeros(rows, dtype=torch.bool) for rows in tiling.rows]
    for window in windows(model.description, tiling, box):
        chosen[0][window.rows] = True
    for level, parent in zip(chosen[1:], tiling.parents(), strict=True):
        level[torch.tensor(parent)[chosen[0]]] = True
    return chosen


def decode_latents(
    model: CodecModel,
    order: BlockOrder,
    indices: Sequence[int],
    needed: Sequence[Bool[Tensor, " _rows"]] | None = None,
) -> list[Float[Tensor, "_rows _columns"]]:
    """Latent numbers of every level in double precision; those whose index is missing have the prior's mean.

    Args:
        model: the codec.
        order: of the datum's blocks.
        indices: one for each place; fewer if the last are missing, -1 where one is lost.
        needed: of each level, the rows that are needed; all by default. Other rows may keep the prior's mean.
    """
    units = [
        torch.zeros(rows, columns, dtype=torch.float64)
        for rows, columns in zip(order.tiling.rows, order.columns, strict=True)
    ]
    for block in order.blocks.values():
        here = indices[block.first : block.first + len(block.rows)]
        for place, index in enumerate(here):
            row = block.rows[place]
            if index >= 0 and (needed is None or bool(needed[block.level][row].any())):
                size = len(block.columns)
                normals = candidates(model.table, model.key, block.address, size, first=index)
                units[block.level][row, block.columns] = torch.from_numpy(normals[0]).double()
    return [p.mean.double() + p.std.double() * unit for p, unit in zip(order.priors, units, strict=True)]


@torch.no_grad()
def synthesize(
    model: CodecModel,
    tiling: Tiling,
    latents: Sequence[Float[Tensor, "_rows _columns"]],
    *,
    box: Box | None = None,
    fast: bool = False,
) -> Float[Tensor, "channels ..."]:
    """Values of a datum or of a part of it, in the network's units (-0.5..0.5 for pictures).

    Args:
        model: the codec.
        tiling: the patches of the datum.
        latents: of every level.
        box: the part; the whole datum by default.
        fast: compute in single precision, which is quicker; after rounding, a sample may be off by one.
    """
    network = model.network if fast else _double(model)
    dtype = torch.float32 if fast else torch.float64
    latents = [level.to(dtype) for level in latents]
    parents = [torch.tensor(parent) for parent in tiling.parents()]
    patch, box = model.description.patch, box or whole(tiling.dims)
    values = torch.empty(model.description.channels, *(last - first for first, last in box), dtype=dtype)
    for window in windows(model.description, tiling, box):
        above = [parent[window.rows] for parent in parents]
        tiles = network([latents[0][window.rows], *latents[1:]], above, [window.grid]).unflatten(2, patch)
        computed = stitch(tiles[None], window.grid)[0]
        into, out_of = [slice(None)], [slice(None)]
        for (first, last), (a, b), start, side in zip(box, window.inner, window.start, patch, strict=True):
            low, high = max(first, start), min(last, start + (b - a) * side)
            into.append(slice(low - first, high - first))
            out_of.append(slice(low - start + a * side, high - start + a * side))
        values[tuple(into)] = computed[tuple(out_of)]
    return values


def to_samples(values: Float[Tensor, "channels ..."], steps: int) -> UInt[np.ndarray, "channels ..."]:
    """Values in -0.5..0.5 to whole numbers 0..steps, where steps is 255 or 65535; halves round to even."""
    dtype = np.dtype("<u1" if steps == 255 else "<u2")
    return ((values + 0.5) * steps).clamp(0, steps).round().numpy().astype(dtype)


@lru_cache(maxsize=4)
def _double(model: CodecModel) -> Representation:
    network = Representation(model.description)
    network.load_state_dict(model.network.state_dict())
    return network.double().eval().requires_grad_(False)
