"""``nerf.compression.compress`` and ``decompress``: data to files of a wanted size and back."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mappers.files import replacing
from mappers.options import declared_by
from mappers.quality import psnr

from . import payload
from .container import bitstream, chunks
from .container.binary import varint
from .container.bitstream import EXTRA, Container, Item
from .container.errors import PayloadError, WrongModelError
from .decoder import to_samples
from .description import Box, Modality
from .encoder import EncodeConfig, Encoder
from .modalities.modality import Compressible, Datum, ModalityCodec
from .modalities.registry import MODALITY_CODECS, modality_codec_of
from .model.codec import CodecModel, load_model, shipped_models
from .options import CompressOptions, DecompressOptions, InfoOptions
from .payload import CodedDatum
from .reconstruction import boxes_of, checksum, decode

logger = logging.getLogger(__name__)

DEFAULT_MODELS: dict[Modality, str] = {"picture": "photos", "sound": "sounds", "video": "videos", "volume": "volumes"}
"""The shipped model of each kind."""
SMALL_MODEL, SMALL = "pictures32", 32
"""The model for pictures that are not larger than this along either side."""
FILLED = 0.9
"""Share of a wanted size below which a higher rate is tried."""
QUICK, SLACK = 8, 1.0
"""For a wanted quality: how much shorter the search is that chooses a rate, and what it may lack, dB."""


@dataclass(frozen=True)
class Compressed:
    """A compressed file, and what its own decoder makes of it."""

    data: bytes
    psnr: float
    """Of the decoded file against the input, dB, mean over items."""
    bits_per_point: float
    """Of the whole file, header included; a point is a pixel, a sample in time or a voxel."""
    seconds: float


@declared_by(CompressOptions)
def compress(
    sources: Compressible | str | Path | Sequence[Compressible | str | Path],
    output: str | Path | None = None,
    *,
    model: str | None = None,
    target_bytes: int | None = None,
    target_psnr: float | None = None,
    seconds: float | None = None,
    config: EncodeConfig | None = None,
) -> Compressed:
    """Compress a picture, sound, video or volume, or several of a kind into one pack.

    Args:
        sources: a datum or its file; a list of them makes a pack.
        output: file to write.
        config: how to search.

    Returns:
        The file's bytes, and its quality measured by decoding it.

    Raises:
        FileNotFoundError, ValueError: an input, the model or a target cannot be used; the message says why.
    """
    start = time.monotonic()
    if target_bytes is not None and target_psnr is not None:
        raise ValueError("target_bytes and target_psnr exclude each other; give one")
    if output is not None and not Path(output).parent.is_dir():
        raise FileNotFoundError(f"there is no folder {Path(output).parent} for {output}; make it first")
    pack = isinstance(sources, (list, tuple))
    given = list(sources) if isinstance(sources, (list, tuple)) else [sources]
    if not given:
        raise ValueError("there is nothing to compress; give at least one picture, sound, video or volume")
    kinds = [modality_codec_of(source) for source in given]
    if len(set(kinds)) > 1:
        found = sorted({kind.modality for kind in kinds})
        raise ValueError(f"a pack holds data of one kind, got {' and '.join(found)}; make one for each")
    kind = kinds[0]
    data = [kind.to_datum(kind.read(Path(s)) if isinstance(s, (str, Path)) else s) for s in given]
    writer = _Writer(_model_for(kind, data, model), kind, data, pack, config or EncodeConfig(), seconds)
    if target_psnr is not None:
        written = writer.of_quality(target_psnr)
    elif target_bytes is not None:
        written = writer.of_size(target_bytes)
    else:
        written = writer.at_rate(writer.model.description.default_rate)
    file, quality = writer.finished(written)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(file)
    points = sum(math.prod(datum.dims) for datum in data)
    return Compressed(file, quality, 8 * len(file) / points, time.monotonic() - start)


def _model_for(kind: ModalityCodec, data: Sequence[Datum], name: str | None) -> CodecModel:
    """The named model, or the shipped one for data of a kind.

    Raises:
        ValueError: it is for another kind of data.
    """
    if name is None:
        small = kind.modality == "picture" and max(size for datum in data for size in datum.dims) <= SMALL
        name = SMALL_MODEL if small else DEFAULT_MODELS[kind.modality]
    model = load_model(name)
    if model.description.modality != kind.modality:
        raise ValueError(f"model {name} is for a {model.description.modality}, not for a {kind.modality}; name another")
    return model


class _Writer:
    """Data on their way to a file."""

    def __init__(
        self,
        model: CodecModel,
        kind: ModalityCodec,
        data: Sequence[Datum],
        pack: bool,
        config: EncodeConfig,
        seconds: float | None,
    ):
        self.model, self.kind, self.data, self.pack = model, kind, data, pack
        self.config = config if seconds is None else self._timed(config, seconds)

    def _timed(self, config: EncodeConfig, seconds: float) -> EncodeConfig:
        """Settings whose steps take about so many seconds, by the time that some take."""
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
        """The file of what was coded, without the check of its samples."""
        empty = self._empty(rate)
        items = [
            dataclasses.replace(item, payload=payload.write(self.model, empty, item, found))
            for item, found in zip(empty.items, coded, strict=True)
        ]
        return dataclasses.replace(empty, items=items)

    def _empty(self, rate: int) -> Container:
        """A file that says nothing of its items but their shape and what is kept exactly."""
        items = [Item(datum.dims, datum.flags, b"", datum.extra) for datum in self.data]
        bits = self.model.description.candidate_bits
        return Container(self.kind.modality, self.model.id, bits, rate, items, self.pack)

    def at_rate(self, rate: int) -> Container:
        """All blocks of a rate."""
        return self.container(rate, self._encoder(rate).encode())

    def of_size(self, target: int) -> Container:
        """At most ``target`` bytes."""
        count = len(self.data)
        empty = len(self._empty(0).write())
        if target < empty:
            raise ValueError(f"target_bytes {target} is less than the {empty} bytes of an empty file; ask for more")
        # Sizes in the table and of the contents need more bytes than those of an empty file.
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
        return found

    def _filled(self, rate: int, encoder: Encoder, target: int) -> Container:
        """At most ``target`` bytes of what is encoded at a rate."""
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
        """The fewest blocks of the lowest rate that reach ``target`` dB."""
        config, last = self.config, len(self.model.rates) - 1
        quick = dataclasses.replace(config, steps=config.steps // QUICK, rounds=2)
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
        """Leave out indices at the end, the same share of every item, while the quality stays."""
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            part = [one.shortened(middle) for one in coded]
            low, high = (low, middle) if self.quality(rate, part) >= target else (middle, high)
        return self.container(rate, [one.shortened(high) for one in coded])

    def quality(self, rate: int, coded: Sequence[CodedDatum]) -> float:
        """PSNR of what this decodes to, dB."""
        return self._measured(decode(self.container(rate, coded), self.model, checked=False))

    def finished(self, container: Container) -> tuple[bytes, float]:
        """The file with the check of its samples, and its quality."""
        samples = decode(container, self.model, checked=False)
        file = dataclasses.replace(container, samples=checksum(samples)).write()
        return file, self._measured(decode(bitstream.read(file), self.model, checked=False))

    def _measured(self, decoded: Sequence[np.ndarray]) -> float:
        originals = [to_samples(datum.values, self.kind.steps) for datum in self.data]
        qualities = [psnr(a, b, peak=self.kind.steps) for a, b in zip(decoded, originals, strict=True)]
        return sum(qualities) / len(qualities)


@declared_by(DecompressOptions)
def decompress(
    source: bytes | str | Path,
    output: str | Path | None = None,
    *,
    model: str | None = None,
    fast: bool = False,
    share: float = 1.0,
    region: Sequence[int] | None = None,
    salvage: bool = False,
) -> Compressible | list[Compressible]:
    """A compressed file's picture, sound, video or volume, or the list of a pack's.

    ``source`` may also be the file's bytes, and ``region`` a list of numbers. The values of a region are those of the
    whole.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share}")
    container = bitstream.read(read_file(source), salvage=salvage)
    kind = MODALITY_CODECS[container.modality]
    codec = model_of(container, model)
    decoded = decode(container, codec, fast=fast, share=share, region=region, salvage=salvage)
    media = [
        _made(kind, samples, item, boxes_of(item, region)[0], salvage)
        for samples, item in zip(decoded, container.items, strict=True)
    ]
    if output is not None:
        _save(kind, media, Path(output), container.pack)
    return media if container.pack else media[0]


def _made(kind: ModalityCodec, samples: np.ndarray, item: Item, box: Box, salvage: bool) -> Compressible:
    """A datum of its samples; salvaged without what is kept exactly, where that is damaged."""
    try:
        return kind.from_samples(samples, item, box)
    except PayloadError as error:
        if not salvage:
            raise
        logger.warning("%s", error)
        return kind.from_samples(samples, dataclasses.replace(item, flags=item.flags & ~EXTRA), box)


def _save(kind: ModalityCodec, media: Sequence[Compressible], output: Path, pack: bool) -> None:
    if pack:
        for number, datum in enumerate(media):
            kind.write(datum, output / f"{number:04d}{kind.ending}")
    else:
        kind.write(media[0], output)


@declared_by(InfoOptions)
def describe(source: bytes | str | Path, *, model: str | None = None) -> dict[str, str | int | float]:
    """What a compressed file's header says, and the bits of each level, by name.

    ``source`` may also be the file's bytes.
    """
    data = read_file(source)
    container = bitstream.read(data)
    codec = model_of(container, model)
    points = sum(math.prod(item.dims) for item in container.items)
    bits, named = [0] * len(codec.description.columns), 0
    for item in container.items:
        order, indices, _ = payload.read(codec, container, item)
        named += 8 * len(payload.write_components(codec, container.rate, order.components))
        sizes = [codec.code.size(index) for index in indices if index != chunks.MISSING]
        for block in order.blocks.values():
            bits[block.level] += sum(sizes[block.first : block.first + len(block.rows)])
    return {
        "modality": container.modality,
        "model": container.model.hex(),
        "rate": container.rate,
        "items": len(container.items),
        "shape": "x".join(map(str, container.items[0].dims)),
        "file bytes": len(data),
        "file bits per point": 8 * len(data) / points,
        **({"component bits": named} if named else {}),
        **{f"level {level + 1} bits": count for level, count in enumerate(bits)},
    }


def read_file(source: bytes | str | Path) -> bytes:
    """Bytes of a file."""
    if isinstance(source, bytes):
        return source
    if not Path(source).is_file():
        raise FileNotFoundError(f"there is no file {source}")
    return Path(source).read_bytes()


def model_of(container: Container, model: str | None) -> CodecModel:
    """The model that wrote a file: the named one, or the shipped one of the file's id.

    Raises:
        WrongModelError: no shipped model has that id.
    """
    if model is not None:
        return load_model(model)
    for name in shipped_models():
        if load_model(name).id == container.model:
            return load_model(name)
    raise WrongModelError(
        f"the file was written with model {container.model.hex()}, which is not shipped; give its folder as model"
    )
