"""The file of a field, read without torch.

    magic         4   that of :mod:`nerf.compression.container.binary`
    version       1   of this layout
    kind          1   7: a field, which is none of the codec's modalities
    length, head      JSON compressed by zlib: family, configuration, tensors (name, shape, bits, exponent of the step)
                      and what drawing needs: size and times of a picture or video, or views and cells of a run
    length, body      raw deflate with Huffman codes only: of all tensors in turn, one signed byte for each weight of
                      2..8 bits, four bytes for each number that is kept as it is (bits 32)
    checksum      4   CRC-32 of all bytes before

Lengths are variable-length integers.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

from .binary import CHECKSUM, MAGIC, ByteReader
from .errors import HeaderError

VERSION, KIND, RAW = 1, 7, 32
LARGEST = 1 << 28
"""The most bytes of decoded weights that a reader accepts."""


def is_field(data: bytes) -> bool:
    """Whether these bytes are a field's file, in contrast to one of the codec."""
    return data[: len(MAGIC)] == MAGIC and len(data) > 5 and data[5] == KIND


def read_field(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The description in a field's file, and its weights one after the other.

    They are decoded only after the checksum matches.

    Raises:
        CompressedFileError: the subclass says what is wrong.
    """
    reader = ByteReader(data)
    reader.start(VERSION)
    if reader.integer(1) != KIND:
        raise HeaderError("the file holds no field; decompress it with its codec model")
    head, body = reader.sized(), reader.sized()
    reader.check_end(CHECKSUM)
    try:
        content = json.loads(zlib.decompress(head))
        size = sum(sizes(content))
        if size > LARGEST:
            raise ValueError(f"it has {size} bytes of weights")
        inflater = zlib.decompressobj(-15)
        values = inflater.decompress(body, size + 1)
        if len(values) != size or not inflater.eof:
            raise ValueError("the number of weights is another")
    except (ValueError, LookupError, TypeError, ArithmeticError, zlib.error) as error:
        raise contradiction(error) from error
    return content, values


def sizes(head: dict[str, Any]) -> list[int]:
    """Bytes of each tensor of a description."""
    return [math.prod(shape) * (4 if bits == RAW else 1) for _, shape, bits, _ in head["tensors"]]


def contradiction(error: Exception) -> HeaderError:
    """The error of a description that cannot be right."""
    return HeaderError(
        f"damaged header: the description of the field contradicts itself ({error}); get an undamaged copy"
    )
