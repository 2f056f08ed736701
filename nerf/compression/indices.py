"""Indices as bits: a prefix code for the number of binary digits, then the digits below the leading one.

An index ``i`` is written as its exponent ``e = floor(log2(i + 1))`` in a canonical prefix code, which the model's
configuration gives by the lengths of its words, and then ``e`` raw digits of ``i + 1 - 2^e``. The last word, all
ones, is no exponent: bits of one that fill the last byte end a stream without a count of indices.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def word_lengths(weights: Sequence[float]) -> list[int]:
    """Huffman's lengths for symbols of these weights, and for one more that ends a stream and never occurs.

    Weights get a floor, so that no word is longer than about 20 bits.
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


class IndexCode:
    """The code of a model.

    Args:
        lengths: bits of the word of each exponent from 0, and of the end.
    """

    def __init__(self, lengths: Sequence[int]):
        if sum(2.0**-length for length in lengths) != 1 or lengths[-1] != max(lengths):
            raise ValueError(f"word lengths {list(lengths)} are not those of a complete code whose end is longest")
        self.lengths = list(lengths)
        self.end = len(lengths) - 1
        self.words: dict[int, int] = {}
        self.symbols: dict[tuple[int, int], int] = {}
        word, before = 0, 0
        for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
            word <<= length - before
            self.words[symbol], self.symbols[length, word] = word, symbol
            word, before = word + 1, length

    def size(self, index: int) -> int:
        """Bits of an index."""
        exponent = (index + 1).bit_length() - 1
        return self.lengths[exponent] + exponent

    def encode(self, indices: Iterable[int]) -> bytes:
        """Indices to bytes."""
        digits = []
        for index in indices:
            exponent = (index + 1).bit_length() - 1
            digits.append(f"{self.words[exponent]:0{self.lengths[exponent]}b}")
            digits.append(f"{index + 1:b}"[1:])
        text = "".join(digits)
        text += "1" * (-len(text) % 8)
        return bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))

    def decode(self, data: bytes, limit: int) -> tuple[list[int], bool]:
        """Bytes to at most ``limit`` indices, and whether the stream ends as :meth:`encode` ends one."""
        digits = "".join(f"{byte:08b}" for byte in data)
        place, indices = 0, []
        while len(indices) < limit:
            symbol, after = self._word(digits, place)
            if symbol == self.end or after + symbol > len(digits):
                break
            indices.append(int("1" + digits[after : after + symbol], 2) - 1)
            place = after + symbol
        return indices, len(digits) - place < 8 and "0" not in digits[place:]

    def _word(self, digits: str, place: int) -> tuple[int, int]:
        """The symbol at a place, and the place after it; the end where no word is whole."""
        word = 0
        for length in range(1, min(self.lengths[-1], len(digits) - place) + 1):
            word = 2 * word + (digits[place + length - 1] == "1")
            symbol = self.symbols.get((length, word))
            if symbol is not None:
                return symbol, place + length
        return self.end, len(digits)
