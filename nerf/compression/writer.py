"""Data to the container of a file: at a rate, of a size or of a quality."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence

import numpy as np

from mappers.quality import psnr

from . import payload
from .container import bitstream, chunks
from .container.binary import varint
from .container.bitstream import Container, Item, checksum
from .decoder import to_samples
from .encoder import EncodeConfig, Encoder
from .modalities.modality import Datum, ModalityCodec
from .model.codec import CodecModel
from .payload import CodedDatum
from .reconstruction import decode

logger = logging.getLogger(__name__)

FILLED = 0.9
"""If a file uses less than this share of its target size, the next higher rate is tried."""
QUICK, SLACK = 8, 1.0
"""With a target PSNR, a rate is chosen by a search that is shorter by the factor `QUICK`, whose files may lie below the
target by `SLACK` dB."""


class Writer:
    """Writes the container of some data: at a rate, of a size or of a quality."""

    def __init__(
        self,
        model: CodecModel,
        codec: ModalityCodec,
        data: Sequence[Datum],
        pack: bool,
        config: EncodeConfig,
        seconds: float | None,
    ):
        self.model, self.codec, self.data, self.pack = model, codec, data, pack
        self.config = config if seconds is None else self._timed(config, seconds)

    def _timed(self, config: EncodeConfig, seconds: float) -> EncodeConfig:
        """Settings with which a search takes about ``seconds``, estimated from the time of a few steps."""
        trial = dataclasses.replace(config, steps=3, rounds=1)
        start = time.monotonic()
        self._encoder(self.model.description.default_rate, config=trial).encode()
        taken = time.monotonic() - start
        share = seconds / taken * trial.steps / (config.steps + config.rounds * config.round_steps)
        steps, rounds = (max(1, int(share * count)) for count in (config.steps, config.rounds * config.round_steps))
        return dataclasses.replace(config, steps=steps, round_steps=max(1, rounds // config.rounds))

    def _encoder(self, rate: int, bits: float = math.inf, config: EncodeConfig | None = None) -> Encoder:
        return Encoder(self.model, rate, [datum.values for datum in self.data], bits, config or self.config)

    def container(self, rate: int, coded: Sequence[CodedDatum]) -> Container:
        """The file of coded data, still without the checksum of its samples."""
        empty = self._empty(rate)
        items = [
            dataclasses.replace(item, payload=payload.write(self.model, empty, item, found))
            for item, found in zip(empty.items, coded, strict=True)
        ]
        return dataclasses.replace(empty, items=items)

    def _empty(self, rate: int) -> Container:
        """A file without payloads: it has the items' shapes and what is kept exactly."""
        items = [Item(datum.dims, datum.flags, b"", datum.extra) for datum in self.data]
        bits = self.model.description.candidate_bits
        return Container(self.codec.modality, self.model.id, bits, rate, items, self.pack)

    def at_default(self) -> Container:
        """The file with all blocks of the default rate."""
        rate = self.model.description.default_rate
        return self.container(rate, self._encoder(rate).encode())

    def of_size(self, target: int) -> Container:
        """A file of at most ``target`` bytes.

        Raises:
            ValueError: not even an empty file is that small.
        """
        count = len(self.data)
        empty = len(self._empty(0).write())
        if target < empty:
            raise ValueError(f"target_bytes {target} is less than the {empty} bytes of an empty file; ask for more")
        # The sizes of items and of the contents take more bytes in a full file than in an empty one.
        sizes = [len(varint(size)) - 1 for size in ((target - empty) // count, target)]
        room = max(target - empty - (count - 1) * sizes[0] - sizes[1], 0)
        room -= room // chunks.CHUNK * (chunks.HEAD + 2)
        bits = 8.0 * room - 4.0 * (count - 1)  # the last byte of every item but one is half full
        rate, last = 0, len(self.model.rates) - 1
        encoder = self._encoder(rate, bits)
        while not encoder.fits and rate < last:
            rate += 1
            encoder = self._encoder(rate, bits)
        found = self._filled(rate, encoder, target)
        while len(found.write()) < FILLED * target and rate < last:
            rate += 1
            found = self._filled(rate, self._encoder(rate, bits), target)
        size = len(found.write())
        if size < FILLED * target:
            logger.warning(
                "the file has %d bytes, %d fewer than target_bytes %d: the model's highest rate has no use for more",
                size, target - size, target,
            )  # fmt: skip
        return found

    def _filled(self, rate: int, encoder: Encoder, target: int) -> Container:
        """A file of at most ``target`` bytes, from one rate: if it is too large, indices are left out at the end."""
        coded = encoder.encode()
        found = self.container(rate, coded)
        while (size := len(found.write())) > target:
            longest = max((one.indices for one in coded), key=len)
            if not longest:
                raise ValueError(f"target_bytes {target} is less than the {size} bytes of an empty file; ask for more")
            longest.pop()
            found = self.container(rate, coded)
        return found

    def of_quality(self, target: float) -> Container:
        """The smallest file found that reaches ``target`` dB. A short search first finds what the highest rate reaches.

        Raises:
            ValueError: the highest rate does not reach it.
        """
        config, last = self.config, len(self.model.rates) - 1
        quick = dataclasses.replace(config, steps=config.steps // QUICK, rounds=2)
        reachable = self.quality(last, self._encoder(last, config=quick).encode())
        if reachable < target - SLACK:
            raise ValueError(
                f"target_psnr {target} dB is more than this model reaches: a short search at its highest rate reaches"
                f" {reachable:.2f} dB; ask for less"
            )
        if reachable < target:
            logger.warning(
                "a short search at the model's highest rate reaches %.2f dB, and the long one may fail to reach %g dB",
                reachable, target,
            )  # fmt: skip
        rate = 0
        while rate < last and self.quality(rate, self._encoder(rate, config=quick).encode()) < target - SLACK:
            rate += 1
        while True:
            coded = self._encoder(rate).encode()
            reached = self.quality(rate, coded)
            if reached >= target:
                return self._shortened(rate, coded, target)
            if rate == last:
                raise ValueError(
                    f"target_psnr {target} dB is more than the {reached:.2f} dB of this model's highest rate;"
                    " ask for less"
                )
            rate += 1

    def _shortened(self, rate: int, coded: Sequence[CodedDatum], target: float) -> Container:
        """Leave out indices at the end, the same share of every item, as long as PSNR reaches ``target`` dB."""
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            part = [one.shortened(middle) for one in coded]
            low, high = (low, middle) if self.quality(rate, part) >= target else (middle, high)
        return self.container(rate, [one.shortened(high) for one in coded])

    def quality(self, rate: int, coded: Sequence[CodedDatum]) -> float:
        """PSNR of the decoded file in dB."""
        return self._measured(decode(self.container(rate, coded), self.model, checked=False))

    def finished(self, container: Container) -> tuple[bytes, float]:
        """The file's bytes, with the checksum of its samples, and its PSNR in dB."""
        samples = decode(container, self.model, checked=False)
        file = dataclasses.replace(container, samples=checksum(samples)).write()
        return file, self._measured(decode(bitstream.read(file), self.model, checked=False))

    def _measured(self, decoded: Sequence[np.ndarray]) -> float:
        originals = [
            to_samples(datum.values, self.codec.steps) if datum.original is None else datum.original
            for datum in self.data
        ]
        qualities = [psnr(a, b, peak=self.codec.steps) for a, b in zip(decoded, originals, strict=True)]
        return sum(qualities) / len(qualities)
