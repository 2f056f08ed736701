"""Streams: any whole numbers survive, near the size that their probabilities allow; damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.compression.grids.streams import FARTHEST, StreamDamage, StreamEnd, StreamReader, StreamWriter
from nerf.compression.grids.tables import FRACTIONS, SCALES, rows

SENT = np.flatnonzero(~rows().sure)


def coded(values: np.ndarray, row: np.ndarray, centre: np.ndarray) -> tuple[bytes, float]:
    writer = StreamWriter()
    writer.write(values, row, centre)
    return writer.finish(), writer.bits


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-FARTHEST, FARTHEST), st.integers(0, len(SENT) - 1), st.integers(-99, 99))))
def test_any_numbers_survive(symbols: list[tuple[int, int, int]]) -> None:
    array = np.array(symbols, np.int64).reshape(-1, 3)
    values, row, centre = array[:, 0], SENT[array[:, 1]], array[:, 2]
    data, bits = coded(values, row, centre)
    reader = StreamReader(data)
    np.testing.assert_array_equal(reader.read(row, centre), values)
    assert reader.whole
    assert 8 * len(data) < bits + 49


def typical(count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    row = rng.choice(SENT[SENT < 56 * FRACTIONS], count)
    centre = rng.integers(-3, 4, count)
    length = np.exp((row // FRACTIONS - SCALES // 2) / 8)
    values = np.rint(rng.laplace(0, 1, count) * length + (row % FRACTIONS - 8) / 16).astype(int) + centre
    return values, row, centre


def test_size_is_that_of_the_distribution() -> None:
    values, row, centre = typical()
    length, mean = np.exp((row // FRACTIONS - SCALES // 2) / 8), centre + (row % FRACTIONS - 8) / 16

    def below(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, np.exp(-abs(x) / length) / 2, 1 - np.exp(-abs(x) / length) / 2)

    ideal = -np.log2(below(values + 0.5 - mean) - below(values - 0.5 - mean)).sum()
    assert 8 * len(coded(values, row, centre)[0]) < 1.01 * ideal + 48


def test_what_was_read_before_the_end_is_right() -> None:
    values, row, centre = typical()
    data = coded(values, row, centre)[0]
    for length in (4, 5, 100, len(data) - 1):
        with pytest.raises(StreamEnd) as end:
            StreamReader(data[:length]).read(row, centre)
        found = end.value.args[0]
        np.testing.assert_array_equal(found, values[: len(found)])
        assert len(found) > len(values) * (length - 8) / len(data) - 40
    with pytest.raises(StreamEnd):
        StreamReader(data[:3])


def test_flipped_bits_are_noticed() -> None:
    values, row, centre = typical(400)
    data = coded(values, row, centre)[0]
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 16
        try:
            reader = StreamReader(bytes(damaged))
            reader.read(row, centre)
        except (StreamEnd, StreamDamage):
            continue
        assert not reader.whole
