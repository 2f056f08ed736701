"""``nerf.compression.compress`` and ``decompress``: pictures to files of a wanted size and back."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence as ListOf
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mappers.files import replacing

from . import bitstream
from .bitstream import GREY, Container, Item
from .decoder import draw, latents, payload, to_bytes
from .encoder import EncodeConfig, Encoder
from .errors import HeaderError, PayloadError, WrongModelError
from .model import CodecModel, load_model, shipped_models
from .pictures import Picture, make_picture, read_picture
from .sequence import Sequence

DEFAULT_MODEL = "pictures32"
FILLED = 0.9
"""Share of a wanted size below which a higher rate is tried."""


@dataclass(frozen=True)
class Compressed:
    """A compressed file, and what its own decoder makes of it."""

    data: bytes
    psnr: float
    """Of the decoded file against the input, dB, mean over items."""
    bits_per_pixel: float
    """Of the whole file, header included."""
    seconds: float


def compress(
    sources: Image.Image | str | Path | ListOf[Image.Image | str | Path],
    output: str | Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    target_bytes: int | None = None,
    target_psnr: float | None = None,
    seconds: float | None = None,
    config: EncodeConfig | None = None,
) -> Compressed:
    """Compress a picture, or several into one pack.

    Args:
        sources: a picture or its file; a sequence of them makes a pack.
        output: file to write.
        model: a shipped codec model or a folder.
        target_bytes: the file has at most so many bytes, and nine tenths of them where the model has that much to say.
        target_psnr: the smallest file that decodes to at least so many dB; with several pictures, on their mean.
        seconds: about how long to search; sets the number of steps.
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
    pack = not isinstance(sources, (Image.Image, str, Path))
    given = list(sources) if pack else [sources]  # pyright: ignore
    if not given:
        raise ValueError("there is nothing to compress; give at least one picture")
    pictures = [read_picture(s if isinstance(s, Image.Image) else Path(s)) for s in given]  # pyright: ignore
    writer = _Writer(load_model(model), pictures, pack, config or EncodeConfig(), seconds)
    if target_psnr is not None:
        data = writer.of_quality(target_psnr)
    elif target_bytes is not None:
        data = writer.of_size(target_bytes)
    else:
        data = writer.at_rate(writer.model.description.default_rate)
    quality = writer.quality(data)
    if output is not None:
        with replacing(output) as temporary:
            temporary.write_bytes(data)
    pixels = sum(math.prod(picture.dims) for picture in pictures)
    return Compressed(data, quality, 8 * len(data) / pixels, time.monotonic() - start)


class _Writer:
    """Pictures on their way to a file."""

    def __init__(
        self, model: CodecModel, pictures: ListOf[Picture], pack: bool, config: EncodeConfig, seconds: float | None
    ):
        self.model, self.pictures, self.pack = model, pictures, pack
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
        values = [picture.values for picture in self.pictures]
        return Encoder(self.model, rate, values, bits, config or self.config)

    def container(self, rate: int, indices: ListOf[ListOf[int]]) -> bytes:
        """The file of these indices."""
        description = self.model.description
        items = [
            Item(picture.dims, picture.flags, self.model.code.encode(chosen), picture.alpha)
            for picture, chosen in zip(self.pictures, indices, strict=True)
        ]
        return Container("picture", self.model.id, description.candidate_bits, rate, items, self.pack).write()

    def at_rate(self, rate: int) -> bytes:
        """All blocks of a rate."""
        return self.container(rate, self._encoder(rate).encode())

    def of_size(self, target: int) -> bytes:
        """At most ``target`` bytes."""
        count = len(self.pictures)
        empty = len(self.container(0, [[]] * count))
        if target < empty:
            raise ValueError(f"target_bytes {target} is less than the {empty} bytes of an empty file; ask for more")
        # Sizes in the table and of the contents need more bytes than those of an empty file.
        sizes = [len(bitstream.varint(size)) - 1 for size in ((target - empty) // count, target)]
        room = max(target - empty - (count - 1) * sizes[0] - sizes[1], 0)
        bits = 8.0 * room - 4.0 * (count - 1)  # the last byte of every item but one is half full
        distances = [abs(math.log(self._expected(number) / max(bits, 1.0))) for number in range(len(self.model.rates))]
        rate = distances.index(min(distances))
        data = self._filled(rate, bits, target)
        while len(data) < FILLED * target and rate + 1 < len(self.model.rates):
            rate += 1
            data = self._filled(rate, bits, target)
        return data

    def _filled(self, rate: int, bits: float, target: int) -> bytes:
        """At most ``target`` bytes at a rate."""
        indices = self._encoder(rate, bits).encode()
        data = self.container(rate, indices)
        while len(data) > target:
            max(indices, key=len).pop()
            data = self.container(rate, indices)
        return data

    def _expected(self, rate: int) -> float:
        """Bits of all indices of a rate as the training data had them; an index takes a quarter more than it tells."""
        description = self.model.description
        patches = sum(description.tiling(picture.dims).rows[0] for picture in self.pictures)
        return 1.25 * description.budgets[rate] * patches

    def of_quality(self, target: float) -> bytes:
        """The fewest blocks of the lowest rate that reach ``target`` dB."""
        reached = 0.0
        for rate in range(len(self.model.rates)):
            indices = self._encoder(rate).encode()
            reached = self.quality(self.container(rate, indices))
            if reached >= target:
                return self._shortened(rate, indices, target)
        raise ValueError(
            f"target_psnr {target} dB is more than the {reached:.2f} dB of this model's highest rate; ask for less"
        )

    def _shortened(self, rate: int, indices: ListOf[ListOf[int]], target: float) -> bytes:
        """Leave out indices at the end, the same share of every item, while the quality stays."""
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            part = [chosen[: math.ceil(middle * len(chosen))] for chosen in indices]
            low, high = (low, middle) if self.quality(self.container(rate, part)) >= target else (middle, high)
        return self.container(rate, [chosen[: math.ceil(high * len(chosen))] for chosen in indices])

    def quality(self, data: bytes) -> float:
        """PSNR of the decoded file, dB."""
        decoded = [values for values, _ in decode(bitstream.read(data), self.model)]
        originals = [to_bytes(picture.values) for picture in self.pictures]
        return sum(psnr(a, b) for a, b in zip(decoded, originals, strict=True)) / len(decoded)


def decode(
    container: Container, model: CodecModel, *, fast: bool = False, share: float = 1.0
) -> list[tuple[UInt8[np.ndarray, "3 ..."], Item]]:
    """Values of every item of a file.

    Raises:
        WrongModelError, HeaderError, PayloadError: the file does not fit the model, or its indices are damaged.
    """
    if container.model != model.id:
        raise WrongModelError(
            f"the file was written with model {container.model.hex()}, not with {model.id.hex()}; name the right one"
        )
    if container.rate >= len(model.rates) or container.candidate_bits != model.description.candidate_bits:
        raise HeaderError("the header names a rate or candidates that its model lacks; get an undamaged copy")
    drawn, sequences = [], {}
    for item in container.items:
        if item.dims not in sequences:
            sequences[item.dims] = Sequence(model, container.rate, model.description.tiling(item.dims))
        sequence = sequences[item.dims]
        indices, whole = payload(model, sequence, item.indices)
        if not whole:
            raise PayloadError("the indices do not end with the item; get an undamaged copy")
        indices = indices[: math.ceil(share * len(indices))]
        values = draw(model, sequence.tiling, latents(model, container.rate, sequence, indices), fast=fast)
        drawn.append((_grey(to_bytes(values)) if item.flags & GREY else to_bytes(values), item))
    return drawn


def _grey(values: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "3 h w"]:
    mean = np.rint(values.mean(0, keepdims=True)).astype(np.uint8)
    return np.repeat(mean, 3, 0)


def decompress(
    source: bytes | str | Path,
    output: str | Path | None = None,
    *,
    model: str | None = None,
    fast: bool = False,
    share: float = 1.0,
) -> Image.Image | list[Image.Image]:
    """A compressed file's picture, or the list of a pack's.

    Args:
        source: the file, or its bytes.
        output: picture file to write; of a pack, a folder for 0000.png, 0001.png, ...
        model: folder of the model that wrote it; a shipped one is found by itself.
        fast: single precision: quicker, but values may differ by one from machine to machine.
        share: decode only this leading share of each item's indices; what is missing keeps the prior's mean.

    Raises:
        CompressedFileError: the file is damaged; the subclass and the message say how.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share}")
    container = bitstream.read(read_file(source))
    decoded = decode(container, model_of(container, model), fast=fast, share=share)
    pictures = [make_picture(values, item.flags, item.alpha) for values, item in decoded]
    if output is not None:
        _save(pictures, Path(output), container.pack)
    return pictures if container.pack else pictures[0]


def _save(pictures: ListOf[Image.Image], output: Path, pack: bool) -> None:
    if pack:
        output.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures):
            picture.save(output / f"{number:04d}.png")
    else:
        pictures[0].save(output)


def describe(source: bytes | str | Path, *, model: str | None = None) -> dict[str, str | int | float]:
    """What a compressed file's header says, and the bits of each level, by name."""
    data = read_file(source)
    container = bitstream.read(data)
    codec = model_of(container, model)
    points = sum(math.prod(item.dims) for item in container.items)
    bits = [0] * len(codec.description.columns)
    for item in container.items:
        sequence = Sequence(codec, container.rate, codec.description.tiling(item.dims))
        sizes = [codec.code.size(index) for index in payload(codec, sequence, item.indices)[0]]
        for block in sequence.blocks:
            bits[block.level] += sum(sizes[block.first : block.first + len(block.rows)])
    return {
        "modality": container.modality,
        "model": container.model.hex(),
        "rate": container.rate,
        "items": len(container.items),
        "shape": "x".join(map(str, container.items[0].dims)),
        "file bytes": len(data),
        "file bits per point": 8 * len(data) / points,
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


def psnr(a: UInt8[np.ndarray, ...], b: UInt8[np.ndarray, ...]) -> float:
    """Peak signal-to-noise ratio of 8-bit values, dB."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
