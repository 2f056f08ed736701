"""The streams of a picture's tiles as the bytes of an item: the length of each but the last, then all of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..container.binary import ByteReader, varint
from ..container.bitstream import Item
from ..container.errors import HeaderError, PayloadError, TruncatedError
from .tiles import Grid

SMALLEST = 4
"""Bytes of the shortest stream."""


def join(streams: Sequence[bytes]) -> bytes:
    """Streams to bytes."""
    return b"".join(varint(len(stream)) for stream in streams[:-1]) + b"".join(streams)


def split(item: Item, *, salvage: bool = False) -> list[bytes]:
    """The streams of an item's tiles.

    Args:
        item: of the file.
        salvage: give what is there of a damaged table or of streams that are cut off.

    Raises:
        PayloadError: the streams are not those of the item's tiles.
    """
    count, reader = Grid.of(item.dims).count, ByteReader(item.payload)
    whole = len(item.payload) + item.missing
    if whole < (SMALLEST + 1) * count - 1:
        raise PayloadError(
            f"damaged content: {whole} bytes cannot hold a picture of {' x '.join(map(str, item.dims))} pixels;"
            " get an undamaged copy"
        )
    try:
        lengths = [reader.varint() for _ in range(count - 1)]
        lengths.append(reader.left + item.missing - sum(lengths))
        if min(lengths) < SMALLEST:
            raise HeaderError
    except (HeaderError, TruncatedError):
        if salvage:
            return [b""] * count
        raise PayloadError(
            "damaged content: the sizes of the tiles do not fit that of the item; get an undamaged copy"
        ) from None
    return [reader.available(length) for length in lengths]
