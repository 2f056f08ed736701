"""Coefficients to streams and back, tile by tile, and to pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..description import Box
from .choices import chosen
from .exact import ExactModel, Stage
from .levels import Levels
from .streams import FARTHEST, StreamDamage, StreamEnd, StreamReader, StreamWriter
from .tables import rows
from .tiles import GRID, Tile, by_shape, slices

BATCH = 12
"""Tiles that are computed at once."""


def encode(
    model: ExactModel, targets: Levels, tiles: Sequence[Tile], step: int, thrift: float
) -> tuple[list[StreamWriter], Levels]:
    """Choose whole numbers for the coefficients of tiles.

    Args:
        model: the decoder that will read them.
        targets: the coefficients, for a step of 1.
        tiles: the tiles.
        step: number of the step.
        thrift: what a bit is worth relative to training, see :func:`nerf.compression.grids.choices.chosen`.

    Returns:
        The symbols of every tile, and what a decoder will make of them.
    """
    writers = [StreamWriter() for _ in tiles]
    latents, width = Levels(targets.grids), float(model.steps[step])
    for numbers in by_shape(tiles, BATCH):
        part = [tiles[number] for number in numbers]
        coarse, fine = latents.gather(part)
        exact = [level / width for level in targets.gather(part)]
        for stage in model.stages(coarse, fine, step):
            mine = exact[stage.fine].flatten(2)[:, stage.channels][..., stage.places].numpy()
            row, centre = stage.row.numpy(), stage.centre.numpy()
            values = chosen(mine, row, centre, thrift)
            for number, sent, *arrays in zip(numbers, ~rows().sure[row], values, row, centre, strict=True):
                writers[number].write(*(array[sent] for array in arrays))
            _write(stage, coarse, fine, values)
        latents.put(part, coarse, fine)
    return writers, latents


def _write(stage: Stage, coarse: Tensor, fine: Tensor, values: Int[np.ndarray, "b c n"]) -> None:
    """Write a stage's coefficients to their places in contiguous levels."""
    level = fine if stage.fine else coarse
    level.view(*level.shape[:2], -1)[:, stage.channels, stage.places] = torch.from_numpy(values).double()


def decode(
    model: ExactModel,
    latents: Levels,
    tiles: Sequence[Tile],
    streams: Sequence[bytes],
    step: int,
    *,
    share: float = 1.0,
) -> list[bool]:
    """Decode tiles into ``latents``; what is missing counts as zeros, and so does a whole tile that is damaged.

    Args:
        model: the decoder.
        latents: coefficients of the pictures.
        tiles: the tiles to decode.
        streams: of each of them.
        step: the file's step number.
        share: of each stream, this leading part is decoded.

    Returns:
        Whether the stream of each tile is undamaged and complete; of a share, whether nothing showed that it is not.
    """
    intact = [False] * len(tiles)
    for numbers in by_shape(tiles, BATCH):
        part = [tiles[number] for number in numbers]
        coarse, fine = latents.gather(part)
        readers = [_TileReader(streams[number], share) for number in numbers]
        for stage in model.stages(coarse, fine, step):
            row, centre = stage.row.numpy(), stage.centre.numpy()
            values = [reader.read(*pair) for reader, *pair in zip(readers, row, centre, strict=True)]
            _write(stage, coarse, fine, np.stack(values))
        for place, (number, reader) in enumerate(zip(numbers, readers, strict=True)):
            intact[number] = reader.finish(share)
            if reader.damaged:
                coarse[place], fine[place] = 0, 0
        latents.put(part, coarse, fine)
    return intact


class _TileReader:
    """One tile's stream while it is decoded."""

    def __init__(self, stream: bytes, share: float):
        self.stream: StreamReader | None = None
        self.damaged = False
        """Whether no encoder writes this stream."""
        self.ended = False
        """Whether the stream is used up, and all that follows counts as zeros."""
        try:
            self.stream = StreamReader(stream, share)
        except StreamEnd:
            self.ended = True
        except StreamDamage:
            self.damaged = True

    def read(self, row: Int[np.ndarray, "c n"], centre: Int[np.ndarray, "c n"]) -> Int[np.ndarray, "c n"]:
        """The coefficients of a stage."""
        values = np.zeros_like(centre)
        if self.stream is None or self.ended or self.damaged:
            return values
        sent = ~rows().sure[row]
        values[~sent] = centre[~sent]
        try:
            found = self.stream.read(row[sent], centre[sent])
        except StreamEnd as end:
            self.ended = True
            found = np.zeros(int(sent.sum()), np.int64)
            found[: len(end.args[0])] = end.args[0]
        except StreamDamage:
            self.damaged = True
            return values
        values[sent] = found.clip(-FARTHEST, FARTHEST)
        return values

    def finish(self, share: float) -> bool:
        """Whether the stream was undamaged and complete, as far as one can know."""
        if share < 1 or self.ended or self.damaged:
            return share < 1 and not self.damaged
        assert self.stream is not None
        self.damaged = not self.stream.whole
        return not self.damaged


def samples(
    draw: Callable[[Tensor, Tensor], Tensor], latents: Levels, item: int, region: Box
) -> UInt8[np.ndarray, "3 h w"]:
    """Pixels of a region of a picture, which is a box in pixels, a window at a time.

    Args:
        draw: turns coefficients of both levels into samples 0..255.
        latents: the coefficients of the pictures.
        item: number of the picture.
        region: the box.
    """
    cells = tuple((first // GRID, -(-last // GRID)) for first, last in region)
    origin = [first for first, _ in cells]
    picture = np.empty((3, *(GRID * (last - first) for first, last in cells)), np.uint8)
    for inner, needed in latents.grids[item].windows(cells):
        pixels = draw(*latents.gather([Tile(item, needed)]))[0].to(torch.uint8).numpy()
        inside = slices(_relative(inner, [first for first, _ in needed]), GRID)
        picture[:, *slices(_relative(inner, origin), GRID)] = pixels[:, *inside]
    rest = (slice(first - GRID * at, last - GRID * at) for (first, last), at in zip(region, origin, strict=True))
    return np.ascontiguousarray(picture[:, *rest])


def _relative(box: Box, origin: Sequence[int]) -> Box:
    return tuple((first - at, last - at) for (first, last), at in zip(box, origin, strict=True))
