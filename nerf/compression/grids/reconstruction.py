"""A file of the method grids to samples: all of it, a share, a region, or what is intact of a damaged file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
from jaxtyping import UInt8

from ..container.bitstream import GREY, Container, Item
from ..container.errors import PayloadError
from ..description import Box, whole
from . import payload
from .coding import decode, samples
from .exact import ExactModel
from .levels import Levels
from .model import GridsModel
from .tiles import GRID, MARGIN, Grid, Tile, overlap, tiles_of

logger = logging.getLogger(__name__)


@lru_cache(maxsize=2)
def exact_model(model: GridsModel) -> ExactModel:
    """The decoder of a model."""
    return ExactModel(model)


def decode_items(
    container: Container, model: GridsModel, region: Sequence[Box] | None, *, share: float, salvage: bool, fast: bool
) -> list[UInt8[np.ndarray, "3 h w"]]:
    """Samples 0..255 of every item.

    Args:
        container: the file.
        model: the one that it was written with.
        region: a box of each item in pixels; None: all of them.
        share: of each tile's stream, this leading part is decoded.
        salvage: decode what is intact.
        fast: compute pixels in single precision.

    Raises:
        PayloadError: a tile is damaged.
    """
    grids = [Grid.of(item.dims) for item in container.items]
    boxes = [whole(item.dims) for item in container.items] if region is None else list(region)
    streams = [stream for item in container.items for stream in payload.split(item, salvage=salvage)]
    areas = [_area(grid, box) for grid, box in zip(grids, boxes, strict=True)]
    needed = [
        (tile, stream)
        for tile, stream in zip(tiles_of(grids), streams, strict=True)
        if overlap(tile.box, areas[tile.item])
    ]
    exact, latents = exact_model(model), Levels(grids)
    tiles = [tile for tile, _ in needed]
    intact = decode(exact, latents, tiles, [stream for _, stream in needed], container.rate, share=share)
    _check(container.items, tiles, intact, salvage=salvage)
    draw = partial(model.drawn if fast else exact.pixels, step=container.rate)
    found = [samples(draw, latents, item, box) for item, box in enumerate(boxes)]
    return [
        grey(picture) if item.flags & GREY else picture for picture, item in zip(found, container.items, strict=True)
    ]


def _area(grid: Grid, box: Box) -> Box:
    """The places whose coefficients the pixels of a box depend on."""
    return grid.widened(tuple((first // GRID, -(-last // GRID)) for first, last in box), MARGIN)


def _check(items: Sequence[Item], tiles: Sequence[Tile], intact: Sequence[bool], *, salvage: bool) -> None:
    """Refuse damaged tiles, or report them."""
    for number in range(len(items)):
        lost = sum(not good for tile, good in zip(tiles, intact, strict=True) if tile.item == number)
        if lost and not salvage:
            raise PayloadError(
                f"damaged content: {lost} tiles of item {number} are damaged; get an undamaged copy, or decode what is"
                " intact with salvage"
            )
        if lost:
            count = sum(tile.item == number for tile in tiles)
            logger.warning("item %d is damaged: %d of %d tiles are whole", number, count - lost, count)


def grey(picture: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h w"]:
    """The mean of the channels, three times."""
    mean = np.rint(picture.mean(0, keepdims=True)).astype(picture.dtype)
    return np.repeat(mean, 3, 0)
