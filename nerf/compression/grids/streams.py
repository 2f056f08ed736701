"""A range coder for whole numbers: range asymmetric numeral systems with a state of 32 bits and words of 16.

A stream is the state, four bytes, then words of two bytes; all little-endian. What a decoder has read when the stream
ends early is right. After the last symbol a decoder's state is the one that the encoder began with, if the stream is
undamaged: that is a check of 16 bits or more which takes no space.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from jaxtyping import Int

from .tables import FRACTIONS, PRECISION, rows

LOWEST, WORD = 1 << 16, 16
"""Smallest state, with which an encoder begins; bits of a word."""
FARTHEST = (1 << 15) - 1
"""Largest size of a coefficient."""
_MASK = (1 << PRECISION) - 1


class StreamEnd(Exception):
    """The stream, or the part of it to decode, is used up."""


class StreamDamage(Exception):
    """The stream cannot have been written by an encoder."""


class StreamWriter:
    """Collects symbols in the order in which they will be decoded."""

    def __init__(self) -> None:
        self._starts: list[np.ndarray] = []
        self._frequencies: list[np.ndarray] = []

    def write(self, values: Int[np.ndarray, " n"], row: Int[np.ndarray, " n"], centre: Int[np.ndarray, " n"]) -> None:
        """Add coefficients with their rows of the tables and their centres; those not sent must be left out."""
        tables = rows()
        side = tables.sides[row // FRACTIONS]
        symbol = values - centre + side
        outside = (symbol < 0) | (symbol > 2 * side)
        place = tables.starts[row] + np.where(outside, 2 * side + 1, symbol)
        starts, ends = tables.flat[place], tables.flat[place + 1]
        last = 0
        for index in np.flatnonzero(outside).tolist():
            self._append(starts[last : index + 1], ends[last : index + 1])
            distance, order = int(values[index] - centre[index]), tables.raw_bits[int(row[index]) // FRACTIONS]
            self._far(distance < 0, abs(distance) - int(side[index]) - 1, order)
            last = index + 1
        self._append(starts[last:], ends[last:])

    def _append(self, starts: np.ndarray, ends: np.ndarray) -> None:
        self._starts.append(starts)
        self._frequencies.append(ends - starts)

    def _far(self, negative: bool, excess: int, order: int) -> None:
        """An exponential Golomb code: the sign, a one for every further bit, a zero, and the bits below the highest."""
        shifted = excess + (1 << order)
        more = shifted.bit_length() - 1 - order
        low = shifted - (1 << (order + more))
        pieces = [(int(negative), 1), *[(1, 1)] * more, (0, 1)]
        pieces += [(low >> WORD // 2, max(order + more - WORD // 2, 0)), (low & 255, min(order + more, WORD // 2))]
        pieces = [(value, bits) for value, bits in pieces if bits]
        self._starts.append(np.array([value << (PRECISION - bits) for value, bits in pieces]))
        self._frequencies.append(np.array([1 << (PRECISION - bits) for _, bits in pieces]))

    @property
    def bits(self) -> float:
        """Information of all symbols."""
        if not self._frequencies:
            return 0.0
        return float((PRECISION - np.log2(np.concatenate(self._frequencies))).sum())

    def finish(self) -> bytes:
        """The stream."""
        starts = np.concatenate([np.zeros(0, np.int64), *self._starts]).tolist()
        frequencies = np.concatenate([np.zeros(0, np.int64), *self._frequencies]).tolist()
        state, words = LOWEST, []
        for start, frequency in zip(reversed(starts), reversed(frequencies), strict=True):
            if state >= frequency << WORD:
                words.append(state & 0xFFFF)
                state >>= WORD
            state = (state // frequency << PRECISION) + state % frequency + start
        return state.to_bytes(4, "little") + np.array(words[::-1], "<u2").tobytes()


class StreamReader:
    """Decodes a stream.

    Args:
        data: the stream, or its beginning.
        share: of the words, this leading share is decoded.

    Raises:
        StreamEnd: there is not even a state.
        StreamDamage: the state is impossible.
    """

    def __init__(self, data: bytes, share: float = 1.0):
        if len(data) < 4 or share == 0:
            raise StreamEnd
        self._state = int.from_bytes(data[:4], "little")
        if self._state < LOWEST:
            raise StreamDamage
        words = np.frombuffer(data[4 : len(data) - len(data) % 2], "<u2").tolist()
        self._words, self._place = words[: -(-len(words) * share // 1).__int__()] if share < 1 else words, 0

    def read(self, row: Int[np.ndarray, " n"], centre: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Coefficients that have these rows and centres.

        Raises:
            StreamEnd: the stream ends before; its ``args`` have the coefficients until then.
            StreamDamage: a coefficient is impossible.
        """
        cumulative, sides = rows().cumulative, rows().sides.tolist()
        found: list[int] = []
        state, words, place, count = self._state, self._words, self._place, len(self._words)
        for number in row.tolist():
            table = cumulative[number]
            slot = state & _MASK
            symbol = bisect_right(table, slot) - 1
            start = table[symbol]
            state = (table[symbol + 1] - start) * (state >> PRECISION) + slot - start
            if state < LOWEST:
                if place == count:
                    raise StreamEnd(np.array(found, np.int64) + centre[: len(found)])
                state = state << WORD | words[place]
                place += 1
            side = sides[number // FRACTIONS]
            if symbol > 2 * side:
                self._state, self._place = state, place
                try:
                    found.append(self._far(side, rows().raw_bits[number // FRACTIONS]))
                except StreamEnd:
                    raise StreamEnd(np.array(found, np.int64) + centre[: len(found)]) from None
                state, place = self._state, self._place
            else:
                found.append(symbol - side)
        self._state, self._place = state, place
        return np.array(found, np.int64) + centre

    def _far(self, side: int, order: int) -> int:
        negative, more = self._raw(1), 0
        while self._raw(1):
            more += 1
            if order + more > WORD:
                raise StreamDamage
        bits = order + more
        low = self._raw(max(bits - WORD // 2, 0)) << WORD // 2 | self._raw(min(bits, WORD // 2))
        distance = (1 << bits) + low - (1 << order) + side + 1
        if distance > 2 * FARTHEST:
            raise StreamDamage
        return -distance if negative else distance

    def _raw(self, bits: int) -> int:
        if not bits:
            return 0
        slot = self._state & _MASK
        value = slot >> (PRECISION - bits)
        self._state = (self._state >> PRECISION << (PRECISION - bits)) + (slot & ((1 << (PRECISION - bits)) - 1))
        if self._state < LOWEST:
            if self._place == len(self._words):
                raise StreamEnd
            self._state = self._state << WORD | self._words[self._place]
            self._place += 1
        return value

    @property
    def whole(self) -> bool:
        """Whether the stream is used up and was undamaged."""
        return self._state == LOWEST and self._place == len(self._words)
