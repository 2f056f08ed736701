"""``nerf.compression.compress`` and ``decompress``: data to files of a given size or quality, and back."""

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
"""The shipped model of each modality."""
SMALL_MODEL, SMALL = "pictures32", 32
"""The model for small pictures, and their largest side in pixels."""
FILLED = 0.9
"""If a file uses less than this share of its target size, the next higher rate is tried."""
QUICK, SLACK = 8, 1.0
"""With a target PSNR, a rate is chosen by a search that is shorter by the factor `QUICK`, whose files may lie below the
target by `SLACK` dB."""


@dataclass(frozen=True)
class Compressed:
    """A compressed file, with its quality and size."""

    data: bytes
    psnr: float
    """PSNR of the decoded file compared with the input in dB; the mean over the items of a pack."""
    bits_per_point: float
    """Size of the whole file, header included; a point is a pixel, a sample in time or a voxel."""
    seconds: float
    """How long compression took."""


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
    """Compress a picture, sound, video or volume, or several of one modality into one file, a pack.

    Args:
        sources: what to compress, or its file; a list makes a pack.
        output: file to write.
        config: settings of the search.

    Returns:
        The file's bytes, and its quality measured by decoding it.

    Raises:
        FileNotFoundError, ValueError: an input, the model or a target cannot be used; the message says why.
    """
    start = time.monotonic()
    if target_bytes is not None and target_psnr is not None:
        raise ValueError("target_bytes and target_psnr cannot be combined; give one of them")
    if output is not None and not Path(output).parent.is_dir():
        raise FileNotFoundError(f"there is no folder {Path(output).parent} for {output}; make it first")
    pack = isinstance(sources, (list, tuple))
    given = list(sources) if isinstance(sources, (list, tuple)) else [sources]
    if not given:
        raise ValueError("there is nothing to compress; give at least one picture, sound, video or volume")
    codecs = [modality_codec_of(source) for source in given]
    if len(set(codecs)) > 1:
        found = sorted({codec.modality for codec in codecs})
        raise ValueError(f"a pack holds data of one kind, got {' and '.join(found)}; make a pack for each")
    codec = codecs[0]
    data = [codec.to_datum(codec.read(Path(s)) if isinstance(s, (str, Path)) else s) for s in given]
    writer = _Writer(_model_for(codec, data, model), codec, data, pack, config or EncodeConfig(), seconds)
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


def _model_for(codec: ModalityCodec, data: Sequence[Datum], name: str | None) -> CodecModel:
    """The named model, or the shipped one for the modality and size of the data.

    Raises:
        ValueError: the named model is for another modality.
    """
    if name is None:
        small = codec.modality == "picture" and max(size for datum in data for size in datum.dims) <= SMALL
        name = SMALL_MODEL if small else DEFAULT_MODELS[codec.modality]
    model = load_model(name)
    if model.description.modality != codec.modality:
        raise ValueError(
            f"model {name} is for a {model.description.modality}, not for a {codec.modality}; name another"
        )
    return model


class _Writer:
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

    def at_rate(self, rate: int) -> Container:
        """The file with all blocks of a rate."""
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
        """The smallest file found that reaches ``target`` dB.

        Raises:
            ValueError: the highest rate does not reach it.
        """
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
        originals = [to_samples(datum.values, self.codec.steps) for datum in self.data]
        qualities = [psnr(a, b, peak=self.codec.steps) for a, b in zip(decoded, originals, strict=True)]
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
    """The picture, sound, video or volume of a compressed file, or the list of those of a pack.

    ``source`` may also be the file's bytes, and ``region`` a list of numbers. The samples of a region are those of the
    whole.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share}")
    container = bitstream.read(read_file(source), salvage=salvage)
    codec = MODALITY_CODECS[container.modality]
    codec_model = model_of(container, model)
    decoded = decode(container, codec_model, fast=fast, share=share, region=region, salvage=salvage)
    media = [
        _made(codec, samples, item, boxes_of(item, region)[0], salvage)
        for samples, item in zip(decoded, container.items, strict=True)
    ]
    if output is not None:
        _save(codec, media, Path(output), container.pack)
    return media if container.pack else media[0]


def _made(codec: ModalityCodec, samples: np.ndarray, item: Item, box: Box, salvage: bool) -> Compressible:
    """Decoded data from samples. With ``salvage``, what is kept exactly is left out if it is damaged."""
    try:
        return codec.from_samples(samples, item, box)
    except PayloadError as error:
        if not salvage:
            raise
        logger.warning("%s", error)
        return codec.from_samples(samples, dataclasses.replace(item, flags=item.flags & ~EXTRA), box)


def _save(codec: ModalityCodec, media: Sequence[Compressible], output: Path, pack: bool) -> None:
    if pack:
        for number, datum in enumerate(media):
            codec.write(datum, output / f"{number:04d}{codec.ending}")
    else:
        codec.write(media[0], output)


@declared_by(InfoOptions)
def describe(source: bytes | str | Path, *, model: str | None = None) -> dict[str, str | int | float]:
    """What a compressed file holds, by name: its header, its size, and the bits of the indices of each level.

    ``source`` may also be the file's bytes.
    """
    data = read_file(source)
    container = bitstream.read(data)
    codec_model = model_of(container, model)
    points = sum(math.prod(item.dims) for item in container.items)
    bits, named = [0] * len(codec_model.description.columns), 0
    for item in container.items:
        order, indices, _ = payload.read(codec_model, container, item)
        named += 8 * len(payload.write_components(codec_model, container.rate, order.components))
        sizes = [codec_model.code.size(index) for index in indices if index != chunks.MISSING]
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
    """The bytes of a file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, bytes):
        return source
    if not Path(source).is_file():
        raise FileNotFoundError(f"there is no file {source}")
    return Path(source).read_bytes()


def model_of(container: Container, model: str | None) -> CodecModel:
    """The model that a file was written with: the named one, or the shipped one with the id in the file.

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
