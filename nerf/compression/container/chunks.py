"""An item's indices as bytes, in chunks that a decoder can check and find by themselves.

Up to :data:`CHUNK` bytes there is one chunk and nothing but the encoded indices. More are cut into chunks of exactly
that size, but for the last: two bytes of a CRC-32 over the item's seed and what follows, four bytes that number the
chunk's first index, whole indices, and bits of one to the end. Numbers are little-endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ..coding.indices import IndexCode
from .binary import ByteReader

CHUNK, HEAD = 2048, 6
"""Bytes of a chunk, and of its check and number."""
MISSING = -1
"""In place of an index that is lost."""


def join(code: IndexCode, indices: Sequence[int], seed: bytes) -> bytes:
    """Indices to bytes; ``seed`` is what they are worth nothing without: the model, the rate and the shape."""
    whole = code.encode(indices)
    if len(whole) <= CHUNK:
        return whole
    chunks, first = [], 0
    while first < len(indices):
        end, bits = first, 0
        while end < len(indices) and bits + code.size(indices[end]) <= 8 * (CHUNK - HEAD):
            bits += code.size(indices[end])
            end += 1
        body = first.to_bytes(4, "little") + code.encode(indices[first:end])
        if end < len(indices):
            body = body.ljust(CHUNK - 2, b"\xff")
        chunks.append(_check(body, seed) + body)
        first = end
    return b"".join(chunks)


def split(code: IndexCode, data: bytes, limit: int, seed: bytes, *, missing: int = 0) -> tuple[list[int], bool]:
    """Bytes to at most ``limit`` indices, and whether all of it is as :func:`join` wrote it.

    Of a damaged chunk every index is :data:`MISSING`; of one where the data end ``missing`` bytes too early, those
    before the end are found.
    """
    if len(data) + missing <= CHUNK:
        indices, whole = code.decode(data, limit)
        return indices, whole and not missing
    found: list[int] = []
    intact, gap = not missing, False
    for start in range(0, len(data), CHUNK):
        reader = ByteReader(data[start : start + CHUNK])
        cut = reader.left < min(CHUNK, len(data) + missing - start)
        if reader.left < HEAD:
            intact, gap = False, True
            continue
        damaged = reader.take(2) != _check(reader.data[2:], seed)
        first = reader.integer(HEAD - 2)
        follows = first == len(found) or (gap and len(found) < first <= limit)
        if (damaged and not cut) or not follows:
            intact, gap = False, True
            continue
        part, _ = code.decode(reader.available(reader.left), limit - first)
        found += [MISSING] * (first - len(found)) + part
        gap = False
    return found, intact


def _check(body: bytes, seed: bytes) -> bytes:
    return (zlib.crc32(body, zlib.crc32(seed)) & 0xFFFF).to_bytes(2, "little")
