"""Pictures to the container of a file: at a step, of a size or of a quality."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from mappers.quality import psnr

from ..container import bitstream
from ..container.bitstream import Container, Item, checksum
from ..modalities.modality import Datum
from .encoder import EFFORTS, Coded, Encoder
from .levels import Levels
from .model import GridsModel
from .payload import join
from .reconstruction import decode_items, exact_model
from .tables import LARGEST_STEP, STEPS_PER_OCTAVE
from .tiles import Grid

logger = logging.getLogger(__name__)

EFFORT = 0
"""Effort unless another is given."""
DEFAULT_STEP = 170
"""Number of the step of a file without a target."""
MOST_THRIFT = 64.0
"""The most that a bit is worth, relative to training, at the largest step."""
LEAST_THRIFT = 0.125
"""The least that it is worth, to fill a file to its target."""
TRIES = 6
"""Trials of what a bit is worth, after the step is found."""
CLOSE = 0.99
"""A file of at least this share of its target size is near enough; one below 1 - 2 * (1 - CLOSE) is searched again."""
FILLED = 0.9
"""A file that uses less than this share of its target size is reported."""
TRIAL = 4
"""A search is tried with so many times fewer steps, to learn how much smaller it makes a file."""
DECIBELS = 0.15
"""About the PSNR that one step more or less is worth."""


class GridsWriter:
    """Writes the container of pictures.

    Args:
        model: its networks.
        data: the pictures.
        pack: whether the file is a pack.
        effort: 0..9, how long to search.

    Raises:
        ValueError: there is no such effort.
    """

    def __init__(self, model: GridsModel, data: Sequence[Datum], pack: bool, effort: int):
        if not 0 <= effort < len(EFFORTS):
            raise ValueError(f"effort must be in 0..{len(EFFORTS) - 1}, got {effort}")
        self.model, self.data, self.pack = model, data, pack
        pictures = [np.rint((datum.values.numpy() + 0.5) * 255).astype(np.uint8) for datum in data]
        self.encoder = Encoder(model, exact_model(model), pictures, effort)

    def container(self, coded: Coded) -> Container:
        """The file of coded pictures, still without the checksum of its samples."""
        items, streams = [], coded.streams
        for datum in self.data:
            count = Grid.of(datum.dims).count
            items.append(Item(datum.dims, datum.flags, join(streams[:count]), datum.extra))
            streams = streams[count:]
        return Container("picture", self.model.id, 0, coded.step, items, self.pack, method="grids")

    def _size(self, coded: Coded) -> int:
        """Bytes of the file of coded pictures."""
        return len(self.container(coded).write())

    def at_default(self) -> Container:
        """The file of a middling step."""
        return self.container(self._improved(self.encoder.at(DEFAULT_STEP)))

    def of_size(self, target: int) -> Container:
        """A file of at most ``target`` bytes, and nearly as many.

        Raises:
            ValueError: the pictures cannot be coded in so few bytes.
        """
        coded = self.encoder.at(step := self._step_for(target))
        while self._size(coded) > target and step < LARGEST_STEP:
            step += 1
            coded = self.encoder.at(step)
        if self._size(coded) > target:
            coded = self._thriftier(coded, None, target)
        elif self.encoder.steps and step > 0:
            coded = self._searched_for(step, target)
        elif self._size(coded) < CLOSE * target and step > 0:
            coded = self._filled(coded, target)
        if (size := self._size(coded)) < FILLED * target:
            logger.warning(
                "the file has %d bytes, %d fewer than target_bytes %d: the smallest step has no use for more",
                size, target - size, target,
            )  # fmt: skip
        return self.container(coded)

    def _step_for(self, target: int) -> int:
        """The lowest number of a step whose file has at most ``target`` bytes in one pass; the largest if none has.

        A file's size falls about as fast as its step grows, so that a few trials find the step.
        """
        low, high, step, trials = 0, LARGEST_STEP, DEFAULT_STEP, 0
        while low < high:
            size, trials = self._estimate(step), trials + 1
            low, high = (low, step) if size <= target else (step + 1, high)
            guess = self._nearer(step, size, target) if trials < TRIES else (low + high) // 2
            step = max(low, min(high - 1, guess))
        return low

    def _estimate(self, step: int) -> float:
        """Bytes of the file of a step, from a few tiles if there are many."""
        few, share = self.encoder.few(step)
        return self._size(few) if share == 1 else few.size / share

    def _lowest(self, holds: Callable[[int], bool]) -> int:
        """The lowest number of a step for which something holds that holds for all larger ones; the largest if none."""
        low, high = 0, LARGEST_STEP
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def _filled(self, coded: Coded, target: int) -> Coded:
        """A file that is nearer to its target, by bits that are worth less."""
        return self._bisected(coded, LEAST_THRIFT, 1.0, None, target, TRIES)

    def _thriftier(self, coded: Coded, targets: Levels | None, target: int) -> Coded:
        """A file of at most ``target`` bytes at the same step, by bits that are worth more.

        Raises:
            ValueError: there is none.
        """
        best = self.encoder.at(coded.step, MOST_THRIFT, targets)
        if self._size(best) > target:
            raise ValueError(
                f"target_bytes {target} is less than the {self._size(best)} bytes that these pictures need; ask for"
                " more, or give smaller pictures"
            )
        return self._bisected(best, 2.0**-6, MOST_THRIFT, targets, target, 2 * TRIES)

    def _bisected(self, best: Coded, low: float, high: float, targets: Levels | None, target: int, tries: int) -> Coded:
        """The largest file of at most ``target`` bytes with a thrift from ``low`` to ``high``; ``best`` if none is."""
        for _ in range(tries):
            thrift = math.sqrt(low * high)
            trial = self.encoder.at(best.step, thrift, targets)
            size = self._size(trial)
            if size > target:
                low = thrift
                continue
            high, best = thrift, trial
            if size >= CLOSE * target:
                break
        return best

    def _improved(self, coded: Coded) -> Coded:
        """The same step after the search, if there is one."""
        if not self.encoder.steps:
            return coded
        return self.encoder.at(coded.step, 0.0, self.encoder.searched(coded, self.encoder.steps))

    def _searched_for(self, step: int, target: int) -> Coded:
        """A file of at most ``target`` bytes after the search, which makes files of a step smaller."""
        trial = self.encoder.searched(self.encoder.at(step), max(1, self.encoder.steps // TRIAL))
        coded = self.encoder.at(step, 0.0, trial)
        for _ in range(2):
            step = self._nearer(step, self._size(coded), target)
            found = self.encoder.searched(self.encoder.at(step), self.encoder.steps)
            coded = self.encoder.at(step, 0.0, found)
            if self._size(coded) > target:
                return self._thriftier(coded, found, target)
            if self._size(coded) >= (2 * CLOSE - 1) * target or step == 0:
                break
        return coded

    def _nearer(self, step: int, size: float, target: int) -> int:
        """The step at which a file of ``size`` bytes would have about ``target`` bytes."""
        return min(LARGEST_STEP, max(0, step + math.ceil(STEPS_PER_OCTAVE * math.log2(size / target) - 0.5)))

    def of_quality(self, target: float) -> Container:
        """The smallest file found that reaches ``target`` dB.

        Raises:
            ValueError: not even the smallest step reaches it.
        """
        step = self._lowest(lambda number: self.encoder.quality(self.encoder.at(number)) < target) - 1
        if step < 0 or self.encoder.quality(coded := self.encoder.at(step)) < target:
            reached = self.encoder.quality(self.encoder.at(0))
            raise ValueError(
                f"target_psnr {target} dB is more than the {reached:.2f} dB of the smallest step; ask for less"
            )
        while self.encoder.steps and step >= 0:
            searched = self._improved(self.encoder.at(step))
            reached = self.encoder.quality(searched)
            if reached >= target:
                return self.container(searched if searched.size < coded.size else coded)
            step -= math.ceil((target - reached) / DECIBELS)
        return self.container(coded)

    def finished(self, container: Container) -> tuple[bytes, float]:
        """The file's bytes, with the checksum of its samples, and its mean PSNR in dB, of the file read back."""
        file = dataclasses.replace(container, samples=checksum(self._decoded(container))).write()
        found = self._decoded(bitstream.read(file))
        return file, self._measured(found)

    def _measured(self, found: Sequence[UInt8[np.ndarray, "3 _h _w"]]) -> float:
        """Mean PSNR of decoded pictures in dB."""
        originals = [
            picture if datum.original is None else datum.original
            for datum, picture in zip(self.data, self.encoder.pictures, strict=True)
        ]
        qualities = [psnr(mine, original, peak=255) for mine, original in zip(found, originals, strict=True)]
        return sum(qualities) / len(qualities)

    def _decoded(self, container: Container) -> list[UInt8[np.ndarray, "3 h w"]]:
        return decode_items(container, self.model, None, share=1.0, salvage=False, fast=False)
