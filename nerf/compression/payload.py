"""What an item's bytes say: which component of the prior every patch has, then the indices.

The names of the components come first, in a prefix code of the model and in row-major order of the patches, with bits
of one to a whole byte; models with a single component have none. Then the indices as
:mod:`nerf.compression.container.chunks` writes them, whose checks cover the names too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .block_order import BlockOrder, block_order_of
from .coding.indices import PrefixCode, to_bytes, to_digits
from .container import chunks
from .container.bitstream import Container, Item
from .description import Tiling
from .model.codec import CodecModel


@dataclass
class CodedDatum:
    """What an encoder found for one datum."""

    components: tuple[int, ...]
    """Of every patch."""
    indices: list[int]

    def shortened(self, share: float) -> CodedDatum:
        """With a leading share of the indices."""
        return CodedDatum(self.components, self.indices[: math.ceil(share * len(self.indices))])


def write_components(model: CodecModel, rate: int, components: tuple[int, ...]) -> bytes:
    """The components' names as bytes."""
    if model.description.components == 1:
        return b""
    code = model.rates[rate].component_code
    return to_bytes("".join(code.words[component] for component in components))


def write(model: CodecModel, container: Container, item: Item, coded: CodedDatum) -> bytes:
    """The bytes of an item whose header is known."""
    named = write_components(model, container.rate, coded.components)
    return named + chunks.join(model.code, coded.indices, container.checksum_seed(item) + named)


def read(model: CodecModel, container: Container, item: Item) -> tuple[BlockOrder, list[int], bool]:
    """The order of an item's blocks; its indices, -1 in place of those that are lost; whether all is as written.

    Where names are cut off, patches have the likeliest component.
    """
    tiling, rate = model.description.tiling(item.dims), model.rates[container.rate]
    components, size, named = _components(model, rate.component_code, tiling, item.payload)
    order = block_order_of(model, container.rate, tiling, components)
    seed = container.checksum_seed(item) + item.payload[:size]
    indices, whole = chunks.split(model.code, item.payload[size:], order.count, seed, missing=item.missing)
    bits = model.description.candidate_bits
    if max(indices, default=0) >> bits:
        whole = False
        indices = [index if not index >> bits else chunks.MISSING for index in indices]
    return order, indices, whole and named


def _components(model: CodecModel, code: PrefixCode, tiling: Tiling, data: bytes) -> tuple[tuple[int, ...], int, bool]:
    """Of every patch, the bytes that they take, and whether they are all there."""
    count = tiling.rows[0]
    if model.description.components == 1:
        return (0,) * count, 0, True
    likeliest = code.lengths.index(min(code.lengths))
    # No name is longer than the last one, which is none.
    digits, place, found = to_digits(data[: -(-count * code.lengths[-1] // 8)]), 0, []
    while len(found) < count:
        symbol, place = code.symbol(digits, place)
        if symbol == code.end:
            return (*found, *[likeliest] * (count - len(found))), len(data), False
        found.append(symbol)
    size = -(-place // 8)
    return tuple(found), size, "0" not in digits[place : 8 * size]
