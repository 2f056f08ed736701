"""Randomness that encoder and decoder share: raw Philox words and a table, so that it depends on no library's version.

Part of the file format. Words come from Philox4x64-10 with a 256-bit counter and a 128-bit key:

- key = (first 8 bytes of the model's id, purpose), each a little-endian 64-bit word;
- counter = (place, block, level, component) for candidates: ``place = candidate * W + w`` with ``W = ceil(d / 16)``
  counters for a candidate of ``d`` numbers; a counter gives four words, a word four 16-bit numbers, lowest bits first;
- a 16-bit number looks up the model's table of normal quantiles.

NumPy adds one to the counter before its first use, so its generator has to start one below.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

CANDIDATES, PERMUTATIONS = 1, 2
"""Purposes: second word of the key."""
PER_COUNTER = 16
"""16-bit numbers in the four words of a counter."""


def philox_words(key: tuple[int, int], counter: tuple[int, int, int, int], count: int) -> np.ndarray:
    """``count`` 64-bit words from ``counter`` on, [count]; the first entry of ``counter`` is its lowest word."""
    before = (sum(word << (64 * place) for place, word in enumerate(counter)) - 1) % (1 << 256)
    words = [(before >> (64 * place)) & (2**64 - 1) for place in range(4)]
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(words, np.uint64))
    return generator.random_raw(count)


def normal_table() -> np.ndarray:
    """Quantiles of the standard normal at the middles of 65,536 equal parts, float32 [65536].

    Used only when a model is made: a decoder reads the table in the model.
    """
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile((place + 0.5) / 65536) for place in range(32768, 65536)], np.float32)
    return np.concatenate([-upper[::-1], upper])


def candidates(
    table: np.ndarray, model: int, key: tuple[int, int, int], size: int, *, first: int = 0, count: int = 1
) -> np.ndarray:
    """Standard normal candidates ``first`` to ``first + count - 1`` of a block of ``size`` numbers, [count, size].

    Args:
        table: the model's table of quantiles.
        model: the model's key.
        key: level, component and number of the block.
    """
    level, component, block = key
    counters = -(-size // PER_COUNTER)
    words = philox_words((model, CANDIDATES), (first * counters, block, level, component), 4 * counters * count)
    halves = words.astype("<u8").view("<u2").reshape(count, counters * PER_COUNTER)
    return table.take(halves[:, :size], mode="clip")  # every 16-bit number is a valid entry; "clip" skips a slow check


def permutations(model: int, level: int, component: int, rows: int, columns: int) -> np.ndarray:
    """A random order of ``rows`` for every column, [rows, columns]: that of the Philox words of the column."""
    if rows == 1:
        return np.zeros((1, columns), np.int64)
    counters = -(-rows // 4)
    words = philox_words((model, PERMUTATIONS), (0, 0, level, component), 4 * counters * columns)
    return np.argsort(words.reshape(columns, 4 * counters)[:, :rows], axis=1, kind="stable").T
