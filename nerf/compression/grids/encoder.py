"""The encoder: pictures to coefficients of a given step, in one pass or with a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from mappers.quality import psnr

from ..description import Box, whole
from .coding import encode, samples
from .exact import ExactModel
from .levels import Levels
from .model import GridsModel
from .search import search
from .streams import StreamWriter
from .tiles import COARSE, GRID, Grid, Tile, slices, tiles_of

FULL = 1.0
"""What a bit is worth, relative to training, if nothing else asks for another value."""
EFFORTS = (0, 6, 12, 20, 32, 50, 80, 140, 300, 800)
"""Steps of the search, by effort."""
FEW = 12
"""Tiles whose size is measured while the step is looked for."""


@dataclass
class Coded:
    """Pictures at one step."""

    step: int
    writers: list[StreamWriter]
    """Symbols of every tile of every picture."""
    latents: Levels

    @cached_property
    def streams(self) -> list[bytes]:
        """Of every tile of every picture."""
        return [writer.finish() for writer in self.writers]

    @property
    def size(self) -> int:
        """Bytes of all streams together."""
        return sum(map(len, self.streams))


class Encoder:
    """Encodes pictures with one step.

    Args:
        model: its networks.
        exact: the same model's decoder.
        pictures: samples 0..255.
        effort: 0..9, how long to search.
    """

    def __init__(
        self, model: GridsModel, exact: ExactModel, pictures: Sequence[UInt8[np.ndarray, "3 h w"]], effort: int
    ):
        self.model, self.exact, self.pictures = model, exact, list(pictures)
        self.steps = EFFORTS[effort]
        self.targets = Levels([Grid.of(picture.shape[1:]) for picture in pictures], torch.float32)
        self.tiles = tiles_of(self.targets.grids)
        for item in range(len(self.pictures)):
            self._analyse(item)

    def _pixels(self, tile: Tile) -> Tensor:
        """A box of a picture, -127.5..127.5; its last row and column are repeated to a multiple of :data:`GRID`."""
        part = torch.from_numpy(self.pictures[tile.item][:, *slices(tile.box, GRID)].copy()).float()[None] - 127.5
        missing = [GRID * (last - first) - have for (first, last), have in zip(tile.box, part.shape[2:], strict=True)]
        return functional.pad(part, (0, missing[1], 0, missing[0]), mode="replicate")

    @torch.no_grad()
    def _analyse(self, item: int) -> None:
        """Coefficients for a step of 1, a window at a time."""
        grid = self.targets.grids[item]
        for inner, needed in grid.windows(whole((grid.rows, grid.columns))):
            parts = self.model.network.analyse(self._pixels(Tile(item, needed)), torch.ones(1))
            inside: Box = tuple((a - at, b - at) for (a, b), (at, _) in zip(inner, needed, strict=True))
            for mine, part, scale in zip(self.targets.part(item, inner), parts, (1, COARSE), strict=True):
                mine.copy_(part[..., *slices(inside, scale)])

    def at(self, step: int, thrift: float = FULL, targets: Levels | None = None) -> Coded:
        """The pictures in one pass; or, with targets, those."""
        return Coded(step, *encode(self.exact, targets or self.targets, self.tiles, step, thrift))

    def few(self, step: int) -> tuple[Coded, float]:
        """The first pass of at most :data:`FEW` tiles, spread over the pictures, and their share of all places."""
        chosen = self.tiles[:: -(-len(self.tiles) // FEW)]
        area = [sum(math.prod(b - a for a, b in tile.box) for tile in tiles) for tiles in (chosen, self.tiles)]
        return Coded(step, *encode(self.exact, self.targets, chosen, step, FULL)), area[0] / area[1]

    def quality(self, coded: Coded) -> float:
        """Mean PSNR of the pictures in dB."""
        draw = partial(self.exact.pixels, step=coded.step)
        found = [
            psnr(samples(draw, coded.latents, item, whole(picture.shape[1:])), picture)
            for item, picture in enumerate(self.pictures)
        ]
        return sum(found) / len(found)

    def searched(self, coded: Coded, steps: int, thrift: float = FULL) -> Levels:
        """Targets that the search finds, beginning at ``coded``."""
        width = float(self.model.steps[coded.step])
        return search(self.model.network, self.targets, coded.latents, self.tiles, self._pixels, width, steps, thrift)
