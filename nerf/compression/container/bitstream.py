"""The file: a header, a table of items, their contents, and a checksum of the whole file.

    magic         4   "mfc" and a byte that text never has
    version       1   1: the method "indices"; 2: the method follows
    kind          1   number of the modality in bits 0-2; bit 3: a pack, with a table of items
    method        1   in version 2 only: 2, "grids"
    model         8   the model's id: first bytes of the SHA-256 of what a decoder needs of the model
    candidates    1   in version 1 only: log2 of the candidates of an index
    index mode    1   in version 1 only: 0, a canonical prefix code of the exponent and raw digits
    rate          1   number of the rate among those of the model; of grids, number of the step
    table             without a pack, the item's shape. Of a pack: the number of items; runs of equal shapes until all
                      items have one, each a length and a shape; then the size in bytes of every item but the last
    length            of the contents in bytes
    contents          of every item: what is kept exactly, with its length before it, if the flags say so; then its
                      payload (:mod:`nerf.compression.payload`, :mod:`nerf.compression.grids.payload`)
    samples       2   low half of the CRC-32 of all decoded samples, to notice a decoder that computes differently
    checksum      4   CRC-32 of all bytes before

Numbers are little-endian. Those without a size here are variable-length integers
(:func:`nerf.compression.container.binary.varint`). A shape is a byte of flags, then one size for each axis.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import numpy as np

from ..description import MODALITIES, Modality
from .binary import CHECKSUM, MAGIC, ByteReader, varint, with_checksum
from .errors import DimensionsError, HeaderError, TruncatedError, VersionError

Method = Literal["indices", "grids"]
VERSIONS: dict[Method, int] = {"indices": 1, "grids": 2}
PREFIX_CODE, GRIDS = 0, 2
PACK = 8
TRAILER = 2 + CHECKSUM
"""Bytes after the contents."""
GREY, EXTRA, STEREO = 1, 2, 4
"""Flags of an item: the input had one channel; something is kept exactly; the input had two channels."""
AXES: dict[Modality, int] = {"picture": 2, "sound": 1, "video": 3, "volume": 3}
LARGEST_AXIS, LARGEST_ITEM, MOST_ITEMS, LARGEST_FILE = 1 << 24, 1 << 26, 1 << 20, 1 << 28
"""The most points along an axis, points of an item, items of a file and points of a file that a reader accepts."""


@dataclass(frozen=True)
class Item:
    """One datum of a file."""

    dims: tuple[int, ...]
    """Points along each axis."""
    flags: int
    payload: bytes
    """What the method's ``payload`` module writes."""
    extra: bytes = b""
    """What is kept exactly: a picture's transparency, a video's frame rate, a volume's type and range."""

    missing: int = 0
    """Bytes of the payload that are missing because the file is truncated."""

    @property
    def content(self) -> bytes:
        """The item's bytes in the file."""
        extra = varint(len(self.extra)) + self.extra if self.flags & EXTRA else b""
        return extra + self.payload


@dataclass(frozen=True)
class Container:
    """A file's content."""

    modality: Modality
    model: bytes
    candidate_bits: int
    """log2 of the candidates of an index; 0 for grids."""
    rate: int
    """Number of the rate; of grids, number of the step."""
    items: list[Item] = field(default_factory=list)
    pack: bool = False
    samples: int = 0
    """Low half of the CRC-32 of all decoded samples."""
    method: Method = "indices"

    def checksum_seed(self, item: Item) -> bytes:
        """What an item's payload can only be read with, so that its chunks' checksums cover it too."""
        return self.model + bytes([self.candidate_bits, self.rate]) + _shape(item.flags, item.dims)

    def write(self) -> bytes:
        """The file's bytes."""
        contents = [item.content for item in self.items]
        kind = MODALITIES.index(self.modality) | (PACK if self.pack else 0)
        header = MAGIC + bytes([VERSIONS[self.method], kind])
        if self.method == "grids":
            header += bytes([GRIDS]) + self.model + bytes([self.rate])
        else:
            header += self.model + bytes([self.candidate_bits, PREFIX_CODE, self.rate])
        if self.pack:
            header += varint(len(self.items))
            for shape, run in groupby(self.items, key=lambda item: (item.flags, item.dims)):
                header += varint(len(list(run))) + _shape(*shape)
            header += b"".join(varint(len(content)) for content in contents[:-1])
        else:
            header += _shape(self.items[0].flags, self.items[0].dims)
        body = b"".join(contents)
        return with_checksum(header + varint(len(body)) + body + self.samples.to_bytes(2, "little"))


def read(data: bytes, *, salvage: bool = False) -> Container:
    """Parse a file. Sizes that it names are checked before anything of that size is allocated.

    Args:
        data: the file.
        salvage: read what is there of a file whose contents are damaged or cut off, or that has bytes after its end.

    Raises:
        CompressedFileError: the subclass says what is wrong.
    """
    reader = ByteReader(data)
    version = reader.start(*VERSIONS.values())
    method: Method = "grids" if version == VERSIONS["grids"] else "indices"
    kind = reader.integer(1)
    if kind & ~(PACK | 7) or kind & 7 >= len(MODALITIES):
        raise HeaderError(f"damaged header: {kind} is no kind of data; get an undamaged copy")
    modality = MODALITIES[kind & 7]
    model, candidate_bits, rate = _settings(reader, method)
    shapes, lengths = _table(reader, AXES[modality], pack=bool(kind & PACK))
    total = reader.varint()
    last = total - sum(lengths)
    if not salvage:
        reader.check_end(total + TRAILER)
    if last < 0:
        raise HeaderError("damaged header: the items' sizes exceed that of the whole content; get an undamaged copy")
    items = []
    for (flags, dims), length in zip(shapes, [*lengths, last], strict=True):
        content = reader.available(length)
        items.append(_item(content, flags, dims, length - len(content)))
    samples = int.from_bytes(reader.available(2), "little")
    return Container(modality, model, candidate_bits, rate, items, bool(kind & PACK), samples, method)


def _settings(reader: ByteReader, method: Method) -> tuple[bytes, int, int]:
    """The model's id, the bits of a candidate and the rate."""
    if method == "grids":
        found = reader.integer(1)
        if found != GRIDS:
            raise VersionError(
                f"the file is of method {found}, this program knows method {GRIDS} in this version; update mapfield"
            )
        return reader.take(8), 0, reader.integer(1)
    model = reader.take(8)
    candidate_bits, mode, rate = reader.take(3)
    if mode != PREFIX_CODE:
        raise VersionError(
            f"the file's indices are coded in mode {mode}, this program knows mode {PREFIX_CODE} only; update mapfield"
        )
    return model, candidate_bits, rate


def _table(reader: ByteReader, axes: int, *, pack: bool) -> tuple[list[tuple[int, tuple[int, ...]]], list[int]]:
    """Flags and shape of every item, and the bytes of all but the last."""
    if not pack:
        return [_read_shape(reader, axes)], []
    count, size = reader.varint(), len(reader.data)
    if not 1 <= count <= min(MOST_ITEMS, 8 * size):
        raise DimensionsError(
            f"damaged header: a file of {size} bytes cannot hold {count} items; get an undamaged copy"
        )
    shapes: list[tuple[int, tuple[int, ...]]] = []
    points = 0
    while len(shapes) < count:
        run, shape = reader.varint(), _read_shape(reader, axes)
        points += run * math.prod(shape[1])
        if not 1 <= run <= count - len(shapes) or points > LARGEST_FILE:
            raise DimensionsError(
                f"damaged header: its table has {run} items of {' x '.join(map(str, shape[1]))} points, which is not"
                " possible here; get an undamaged copy"
            )
        shapes += [shape] * run
    return shapes, [reader.varint() for _ in range(count - 1)]


def _read_shape(reader: ByteReader, axes: int) -> tuple[int, tuple[int, ...]]:
    flags = reader.integer(1)
    if flags & ~(GREY | EXTRA | STEREO):
        raise HeaderError(f"damaged header: {flags} is no combination of an item's flags; get an undamaged copy")
    dims = tuple(reader.varint() for _ in range(axes))
    check_dims(dims)
    return flags, dims


def check_dims(dims: Sequence[int]) -> None:
    """Refuse an item without points, or with too many.

    Raises:
        DimensionsError: an axis is empty, or the item too large.
    """
    if max(dims) > LARGEST_AXIS:
        raise DimensionsError(
            f"an axis must have at most {LARGEST_AXIS:,} points, got {' x '.join(map(str, dims))}; a file that says so"
            " is damaged, and data that are too large must be cut into parts"
        )
    if min(dims) < 1 or math.prod(dims) > LARGEST_ITEM:
        raise DimensionsError(
            f"an item must have 1 to {LARGEST_ITEM:,} points, got {' x '.join(map(str, dims))}; a file that says so is"
            " damaged, and data that are too large must be cut into parts"
        )


def _item(content: bytes, flags: int, dims: tuple[int, ...], missing: int) -> Item:
    if not flags & EXTRA:
        return Item(dims, flags, content, missing=missing)
    reader = ByteReader(content)
    try:
        extra = reader.sized()
    except TruncatedError:
        if not missing:
            raise
        return Item(dims, flags & ~EXTRA, b"", missing=missing)
    return Item(dims, flags, reader.available(reader.left), extra, missing)


def _shape(flags: int, dims: Sequence[int]) -> bytes:
    return bytes([flags]) + b"".join(map(varint, dims))


def checksum(decoded: Sequence[np.ndarray]) -> int:
    """The checksum of decoded samples in a file: the low two bytes of their CRC-32."""
    check = 0
    for samples in decoded:
        check = zlib.crc32(np.ascontiguousarray(samples).tobytes(), check)
    return check & 0xFFFF
