"""The payload of an item: the prior's component of every patch, then the indices.

Components are coded in a prefix code of the model, in row-major order of the patches, and padded with bits of one to a
whole byte; a model with a single component writes none. Indices follow as :mod:`nerf.compression.container.chunks`
writes them; their checksums cover the components too. Free of torch until a payload is decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .coding.indices import IndexCode, PrefixCode, to_bytes, to_digits
from .container import chunks
from .container.bitstream import Container, Item
from .description import Description, Tiling

if TYPE_CHECKING:
    from .block_order import BlockOrder
    from .model.codec import CodecModel


@dataclass
class CodedDatum:
    """What an encoder found for one datum."""

    components: tuple[int, ...]
    """The prior's component of every patch."""
    indices: list[int]

    def shortened(self, share: float) -> CodedDatum:
        """The same with a leading share of the indices."""
        return CodedDatum(self.components, self.indices[: math.ceil(share * len(self.indices))])


def component_bytes(description: Description, code: PrefixCode, components: tuple[int, ...]) -> bytes:
    """Components of the patches as bytes."""
    if description.components == 1:
        return b""
    return to_bytes("".join(code.words[component] for component in components))


def write_components(model: CodecModel, rate: int, components: tuple[int, ...]) -> bytes:
    """Components of the patches as bytes, in the code of a rate."""
    return component_bytes(model.description, model.rates[rate].component_code, components)


def write(model: CodecModel, container: Container, item: Item, coded: CodedDatum) -> bytes:
    """The payload of an item whose header is known."""
    components = write_components(model, container.rate, coded.components)
    return components + chunks.join(model.code, coded.indices, container.checksum_seed(item) + components)


def read(model: CodecModel, container: Container, item: Item) -> tuple[BlockOrder, list[int], bool]:
    """Read a payload.

    Returns:
        The order of the item's blocks; its indices, -1 for those that are lost; and whether the payload is undamaged.
        Patches whose component is cut off get the likeliest one.
    """
    from .block_order import block_order_of

    description, rate = model.description, model.rates[container.rate]
    tiling = description.tiling(item.dims)
    components, size, complete = read_components(description, rate.component_code, tiling, item.payload)
    order = block_order_of(model, container.rate, tiling, components)
    indices, whole = read_indices(description, model.code, container, item, size, order.count)
    return order, indices, whole and complete


def read_indices(
    description: Description, code: IndexCode, container: Container, item: Item, start: int, count: int
) -> tuple[list[int], bool]:
    """The indices of an item, -1 for those that are lost, and whether they are undamaged.

    Args:
        description: of the codec model.
        code: the model's index code.
        container: the file.
        item: the item of the file.
        start: bytes of the payload before the indices.
        count: how many indices an undamaged item has at most.
    """
    seed = container.checksum_seed(item) + item.payload[:start]
    indices, whole = chunks.split(code, item.payload[start:], count, seed, missing=item.missing)
    bits = description.candidate_bits
    if max(indices, default=0) >> bits:
        whole = False
        indices = [index if not index >> bits else chunks.MISSING for index in indices]
    return indices, whole


def read_components(
    description: Description, code: PrefixCode, tiling: Tiling, data: bytes
) -> tuple[tuple[int, ...], int, bool]:
    """The component of every patch, the bytes that they take, and whether all of them are there."""
    count = tiling.rows[0]
    if description.components == 1:
        return (0,) * count, 0, True
    likeliest = code.lengths.index(min(code.lengths))
    # The longest word is the end's, so that components take at most as many bits each.
    digits, place, found = to_digits(data[: -(-count * code.lengths[-1] // 8)]), 0, []
    while len(found) < count:
        symbol, place = code.symbol(digits, place)
        if symbol == code.end:
            return (*found, *[likeliest] * (count - len(found))), len(data), False
        found.append(symbol)
    size = -(-place // 8)
    return tuple(found), size, "0" not in digits[place : 8 * size]
