"""The file: a header, a table of items, their contents, and a checksum of it all.

    magic         4   "mfc" and a byte that text never has
    version       1
    kind          1   modality in bits 0-2; bit 3: a pack, with a table of items
    model         8   first bytes of the SHA-256 of what a decoder needs of the model
    candidates    1   log2 of the candidates of an index
    index mode    1   0: canonical prefix code of the exponent, raw digits
    rate          1   which of the model's rates
    table             of one item: its shape. Of a pack: number of items; runs of equal shapes until all items have one,
                      each a length and a shape; then the bytes of every item but the last
    length            of the contents in bytes
    contents          of every item in turn: what is kept exactly with its length, where the flags say so; its payload
                      (:mod:`nerf.compression.payload`)
    samples       2   low half of the CRC-32 of all decoded samples: a decoder that computes otherwise is noticed
    checksum      4   CRC-32 of all before

Numbers are little-endian; those without a size are varints: seven bits a byte, lowest first, the highest bit says that
more follow. A shape is a byte of flags and one size for each axis.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from ..description import MODALITIES, Modality
from .errors import (
    ChecksumError,
    DimensionsError,
    HeaderError,
    NotCompressedError,
    TrailingBytesError,
    TruncatedError,
    VersionError,
)

MAGIC, VERSION, PREFIX_CODE = b"mfc\xb1", 1, 0
PACK = 8
TRAILER = 6
"""Bytes after the contents."""
GREY, EXTRA, STEREO = 1, 2, 4
"""Flags of an item: one channel was given; something that is kept exactly comes with it; two channels were given."""
AXES: dict[Modality, int] = {"picture": 2, "sound": 1, "video": 3, "volume": 3}
LARGEST_AXIS, LARGEST_ITEM, MOST_ITEMS, LARGEST_FILE = 1 << 24, 1 << 26, 1 << 20, 1 << 28
"""Points along an axis, points of an item, items of a file and points of a file that a reader accepts."""


@dataclass(frozen=True)
class Item:
    """One datum of a file."""

    dims: tuple[int, ...]
    """Points along each axis."""
    flags: int
    payload: bytes
    """What :mod:`nerf.compression.payload` writes."""
    extra: bytes = b""
    """What is kept exactly: a picture's transparency, a video's frame rate, a volume's type and range."""

    missing: int = 0
    """Bytes of the payload that lie behind the end of a truncated file."""

    @property
    def content(self) -> bytes:
        """What stands in the file's contents."""
        extra = varint(len(self.extra)) + self.extra if self.flags & EXTRA else b""
        return extra + self.payload


@dataclass(frozen=True)
class Container:
    """A file's content."""

    modality: Modality
    model: bytes
    candidate_bits: int
    rate: int
    items: list[Item] = field(default_factory=list)
    pack: bool = False
    samples: int = 0
    """Low half of the CRC-32 of all decoded samples."""

    def seed(self, item: Item) -> bytes:
        """What the payload of an item is worth nothing without."""
        return self.model + bytes([self.candidate_bits, self.rate]) + _shape(item.flags, item.dims)

    def write(self) -> bytes:
        """The file's bytes."""
        contents = [item.content for item in self.items]
        kind = MODALITIES.index(self.modality) | (PACK if self.pack else 0)
        header = MAGIC + bytes([VERSION, kind]) + self.model + bytes([self.candidate_bits, PREFIX_CODE, self.rate])
        if self.pack:
            header += varint(len(self.items))
            for shape, run in groupby(self.items, key=lambda item: (item.flags, item.dims)):
                header += varint(len(list(run))) + _shape(*shape)
            header += b"".join(varint(len(content)) for content in contents[:-1])
        else:
            header += _shape(self.items[0].flags, self.items[0].dims)
        body = b"".join(contents)
        data = header + varint(len(body)) + body + self.samples.to_bytes(2, "little")
        return data + zlib.crc32(data).to_bytes(4, "little")


class _Reader:
    """Bytes from front to back."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise TruncatedError(
                f"the file ends after {len(self.data)} bytes, inside its content; get a whole copy of it"
            )
        self.place += count
        return self.data[self.place - count : self.place]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    break
                return value
        raise HeaderError("the header holds a number that is not written as numbers are; get an undamaged copy")


def read(data: bytes, *, salvage: bool = False) -> Container:
    """Parse a file; nothing of the sizes that it names is allocated before they are checked.

    Args:
        data: the file.
        salvage: take what a file has whose contents are damaged, cut off or followed by something.

    Raises:
        CompressedFileError: the subclass says what is wrong.
    """
    reader = _Reader(data)
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise NotCompressedError("this is not a file of `python -m nerf compress`; it does not begin with 'mfc'")
    reader.take(len(MAGIC))
    version = reader.take(1)[0]
    if version != VERSION:
        raise VersionError(f"the file is of version {version}, this program reads {VERSION}; update mapfield")
    kind = reader.take(1)[0]
    if kind & ~(PACK | 7) or kind & 7 >= len(MODALITIES):
        raise HeaderError(f"the header's kind is {kind}, which no program writes; get an undamaged copy")
    model = reader.take(8)
    candidate_bits, mode, rate = reader.take(3)
    if mode != PREFIX_CODE:
        raise VersionError(f"the file codes indices in way {mode}, this program knows {PREFIX_CODE}; update mapfield")
    modality = MODALITIES[kind & 7]
    shapes, lengths = _table(reader, AXES[modality], pack=bool(kind & PACK))
    total = reader.varint()
    last = total - sum(lengths)
    missing = total + TRAILER - (len(data) - reader.place)
    if not salvage:
        _check_end(data, missing)
    if last < 0:
        raise HeaderError("the items' sizes exceed the file's content; get an undamaged copy")
    items = []
    for (flags, dims), length in zip(shapes, [*lengths, last], strict=True):
        content = data[reader.place : reader.place + length]
        reader.place += length
        items.append(_item(content, flags, dims, length - len(content)))
    samples = int.from_bytes(data[reader.place : reader.place + 2], "little")
    return Container(modality, model, candidate_bits, rate, items, bool(kind & PACK), samples)


def _check_end(data: bytes, missing: int) -> None:
    """Refuse a file that is not whole."""
    if missing > 0:
        raise TruncatedError(f"the file lacks {missing} of its {len(data) + missing} bytes; get a whole copy of it")
    if missing < 0:
        raise TrailingBytesError(f"{-missing} bytes follow the file's end; cut them off, or get an undamaged copy")
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ChecksumError("the file's checksum does not match its content; get an undamaged copy")


def _table(reader: _Reader, axes: int, *, pack: bool) -> tuple[list[tuple[int, tuple[int, ...]]], list[int]]:
    """Flags and shape of every item, and the bytes of all but the last."""
    if not pack:
        return [_read_shape(reader, axes)], []
    count = reader.varint()
    if not 1 <= count <= min(MOST_ITEMS, 8 * len(reader.data)):
        raise DimensionsError(f"the header names {count} items in {len(reader.data)} bytes; get an undamaged copy")
    shapes: list[tuple[int, tuple[int, ...]]] = []
    points = 0
    while len(shapes) < count:
        run, shape = reader.varint(), _read_shape(reader, axes)
        points += run * math.prod(shape[1])
        if not 1 <= run <= count - len(shapes) or points > LARGEST_FILE:
            raise DimensionsError(f"the header's table describes {run} items of {shape[1]}; get an undamaged copy")
        shapes += [shape] * run
    return shapes, [reader.varint() for _ in range(count - 1)]


def _read_shape(reader: _Reader, axes: int) -> tuple[int, tuple[int, ...]]:
    flags = reader.take(1)[0]
    if flags & ~(GREY | EXTRA | STEREO):
        raise HeaderError(f"the header's flags are {flags}, which no program writes; get an undamaged copy")
    dims = tuple(reader.varint() for _ in range(axes))
    check_dims(dims)
    return flags, dims


def check_dims(dims: Sequence[int]) -> None:
    """Refuse sizes that no item may have.

    Raises:
        DimensionsError: an axis is empty, or the item too large.
    """
    if min(dims) < 1 or max(dims) > LARGEST_AXIS or math.prod(dims) > LARGEST_ITEM:
        raise DimensionsError(
            f"{' x '.join(map(str, dims))} points are not between 1 and {LARGEST_ITEM:,} in all; "
            "the file is damaged, or the data must be cut into parts"
        )


def _item(content: bytes, flags: int, dims: tuple[int, ...], missing: int) -> Item:
    if not flags & EXTRA:
        return Item(dims, flags, content, missing=missing)
    reader = _Reader(content)
    try:
        extra = reader.take(reader.varint())
    except TruncatedError:
        if not missing:
            raise
        return Item(dims, flags & ~EXTRA, b"", missing=missing)
    return Item(dims, flags, content[reader.place :], extra, missing)


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the highest bit says that more follow."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _shape(flags: int, dims: Sequence[int]) -> bytes:
    return bytes([flags]) + b"".join(map(varint, dims))
