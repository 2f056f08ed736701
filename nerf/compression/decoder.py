"""Indices to values. In double precision the result does not depend on threads, batch size or machine."""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .descriptions import Tiling
from .model import CodecModel
from .network import Representation, stitch
from .randomness import candidates
from .sequence import Sequence

PATCHES = 64
"""Patches drawn at once."""


def latents(
    model: CodecModel, rate: int, sequence: Sequence, indices: ListOf[int]
) -> list[Float[Tensor, "rows columns"]]:
    """Latent numbers of every level in double precision; those without an index have the prior's mean."""
    prior = model.rates[rate].prior
    units = [
        torch.zeros(rows, columns, dtype=torch.float64)
        for rows, columns in zip(sequence.tiling.rows, sequence.columns, strict=True)
    ]
    for block in sequence.blocks:
        for row in range(min(len(block.rows), len(indices) - block.first)):
            normals = candidates(
                model.table, model.key, block.level, block.number, len(block.columns), first=indices[block.first + row]
            )
            units[block.level][block.rows[row], block.columns] = torch.from_numpy(normals[0]).double()
    return [p.mean.double() + p.std.double() * unit for p, unit in zip(prior, units, strict=True)]


@torch.no_grad()
def draw(
    model: CodecModel, tiling: Tiling, latents: ListOf[Float[Tensor, "rows columns"]], *, fast: bool = False
) -> Float[Tensor, "channels ..."]:
    """Values of a datum, in the network's units.

    Args:
        fast: single precision: quicker, and a value may be off by one step after rounding.
    """
    network = model.network if fast else _double(model)
    latents = [level.float() if fast else level.double() for level in latents]
    parents = [torch.tensor(parent) for parent in tiling.parents()]
    patch = model.description.patch
    if model.description.stitched:
        tiles = network(latents, parents, [tiling.grid])
    else:
        tiles = torch.cat(
            [
                network([part, *latents[1:]], [parent[first : first + PATCHES] for parent in parents])
                for first, part in zip(range(0, tiling.rows[0], PATCHES), latents[0].split(PATCHES), strict=True)
            ]
        )
    whole = stitch(tiles.unflatten(2, patch), tiling.grid)
    return whole[(slice(None), *(slice(size) for size in tiling.dims))]


def to_bytes(values: Float[Tensor, "channels ..."]) -> UInt8[np.ndarray, "channels ..."]:
    """Values in -0.5..0.5 to 0..255, halves to the even neighbour."""
    return ((values + 0.5) * 255).clamp(0, 255).round().to(torch.uint8).numpy()


@lru_cache(maxsize=4)
def _double(model: CodecModel) -> Representation:
    network = Representation(model.description)
    network.load_state_dict(model.network.state_dict())
    return network.double().eval().requires_grad_(False)


def payload(model: CodecModel, sequence: Sequence, data: bytes) -> tuple[list[int], bool]:
    """Indices of an item, and whether they end as they should."""
    indices, whole = model.code.decode(data, sequence.count)
    return indices, whole and all(0 <= index < 1 << model.description.candidate_bits for index in indices)
