"""An item's indices as bytes, in chunks that a decoder can find and check independently.

Indices of at most :data:`CHUNK` bytes are written as they are encoded. More are cut into chunks of exactly that size,
of which the last may be shorter. A chunk has two bytes of a CRC-32 over the item's seed and the rest of the chunk, four
bytes for the number of its first index, whole indices, and bits of one to its end. Numbers are little-endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ..coding.indices import IndexCode
from .binary import ByteReader

CHUNK, HEAD = 2048, 6
"""Bytes of a chunk, and of its checksum and number together."""
MISSING = -1
"""Value of an index that is lost."""


def join(code: IndexCode, indices: Sequence[int], seed: bytes) -> bytes:
    """Indices to bytes. ``seed`` is what they can only be read with, the model, rate and shape; checksums cover it."""
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
    """Bytes to at most ``limit`` indices, and whether the bytes are undamaged.

    All indices of a damaged chunk are :data:`MISSING`. If the data end ``missing`` bytes too early, the last chunk has
    the indices before the end.
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
