"""Indices as bits: a prefix code for the number of binary digits, then the digits below the leading one.

An index ``i`` is written as its exponent ``e = floor(log2(i + 1))``, in a canonical prefix code whose word lengths are
in the model's configuration, followed by the ``e`` binary digits of ``i + 1 - 2^e``. The last word, all ones, is no
exponent: bits of one fill the last byte, so that a stream ends without a count of its indices.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def word_lengths(weights: Sequence[float]) -> list[int]:
    """Lengths in bits of a Huffman code for symbols of these weights, and of one more word that ends a stream.

    Weights are at least a small share of their sum, so that no word is longer than about 20 bits.
    """
    floor = max(sum(weights), 1e-9) * 2.0**-16
    heap = [(max(weight, floor), place, [place]) for place, weight in enumerate(weights)]
    heap.append((floor / 4, len(weights), [len(weights)]))
    heapq.heapify(heap)
    lengths = [0] * len(heap)
    while len(heap) > 1:
        (a, _, first), (b, tie, second) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in first + second:
            lengths[symbol] += 1
        heapq.heappush(heap, (a + b, tie, first + second))
    return lengths


class PrefixCode:
    """A canonical prefix code of the whole numbers from 0. Its last word, all ones, ends a stream.

    Args:
        lengths: bits of each symbol's word, then those of the end's word.
    """

    def __init__(self, lengths: Sequence[int]):
        if sum(2.0**-length for length in lengths) != 1 or lengths[-1] != max(lengths):
            raise ValueError(f"word lengths {list(lengths)} are not those of a complete code whose end is longest")
        self.lengths = list(lengths)
        self.end = len(lengths) - 1
        self.words: dict[int, str] = {}
        self.symbols: dict[str, int] = {}
        word, before = 0, 0
        for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
            word <<= length - before
            digits = f"{word:0{length}b}"
            self.words[symbol], self.symbols[digits] = digits, symbol
            word, before = word + 1, length

    def symbol(self, digits: str, place: int) -> tuple[int, int]:
        """The symbol at a place, and the place after it; the end's symbol if no whole word is left."""
        for length in range(1, min(self.lengths[-1], len(digits) - place) + 1):
            symbol = self.symbols.get(digits[place : place + length])
            if symbol is not None:
                return symbol, place + length
        return self.end, len(digits)


class IndexCode(PrefixCode):
    """The code of a model's indices; its symbols are exponents."""

    def size(self, index: int) -> int:
        """Size of an index in bits."""
        exponent = (index + 1).bit_length() - 1
        return self.lengths[exponent] + exponent

    def encode(self, indices: Iterable[int]) -> bytes:
        """Indices to bytes."""
        digits = []
        for index in indices:
            exponent = (index + 1).bit_length() - 1
            digits += self.words[exponent], f"{index + 1:b}"[1:]
        return to_bytes("".join(digits))

    def decode(self, data: bytes, limit: int) -> tuple[list[int], bool]:
        """Bytes to at most ``limit`` indices, and whether the stream ends as :meth:`encode` ends one."""
        digits = to_digits(data)
        place, indices = 0, []
        while len(indices) < limit:
            symbol, after = self.symbol(digits, place)
            if symbol == self.end or after + symbol > len(digits):
                break
            indices.append(int("1" + digits[after : after + symbol], 2) - 1)
            place = after + symbol
        return indices, len(digits) - place < 8 and "0" not in digits[place:]


def to_bytes(digits: str) -> bytes:
    """Binary digits as text to bytes; bits of one fill the last byte."""
    digits += "1" * (-len(digits) % 8)
    return bytes(int(digits[place : place + 8], 2) for place in range(0, len(digits), 8))


def to_digits(data: bytes) -> str:
    """Bytes to binary digits as text."""
    return "".join(f"{byte:08b}" for byte in data)
