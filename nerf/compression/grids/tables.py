"""Probabilities of the coder as whole numbers, computed without floating point: equal on every machine.

A coefficient's distribution has a scale, one of :data:`SCALES`, and a mean in sixteenths of a step. The sixteenths
relative to the nearest whole number, the centre, choose a row of cumulative frequencies for the coefficients around the
centre. The last symbol of a row, the escape, says that the coefficient lies farther away.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

FRACTIONS, SCALES_PER_NAT, LARGEST_LOG = 16, 8, 5
"""Means per step; scales per unit of their natural logarithm, which is at most 5 in size."""
SCALES = 2 * LARGEST_LOG * SCALES_PER_NAT + 1
PRECISION = 16
"""The frequencies of a row have the sum 2 to this power."""
WIDEST, TAIL = 40, 12
"""Most coefficients of a row on either side of the centre; and their number for a scale of one step."""
SURE = 64
"""Coefficients whose centre has all but this many frequencies are not sent: they are the centre. It is one in 1024."""
SMALLEST_STEP, STEPS_PER_OCTAVE, LARGEST_STEP = 1.0, 32, 255
"""The step that a file's byte 0 means, for samples 0..255; the number of steps to twice a step; the largest byte."""
_BITS = 60


@dataclass(frozen=True)
class Rows:
    """The rows of all scales and fractions: row ``scale * FRACTIONS + fraction`` for a mean ``fraction - 8`` sixteenths
    above the centre."""

    cumulative: list[list[int]]
    """Of each row: the sums of the frequencies before each symbol, and 2 ** PRECISION."""
    sides: Int[np.ndarray, " scales"]
    """Coefficients on either side of the centre, of each scale."""
    sure: Bool[np.ndarray, " rows"]
    """Whether a row's coefficients are not sent."""
    flat: Int[np.ndarray, " _n"]
    """The cumulative frequencies of all rows one after another."""
    starts: Int[np.ndarray, " rows"]
    """Place of each row's first number in ``flat``."""
    raw_bits: list[int]
    """Of each scale, the order of the exponential Golomb code of what follows an escape."""
    costs: Float[np.ndarray, " _n"]
    """Information of each symbol of ``flat`` in bits, for an encoder's choices; a row's last number is of no use."""


@lru_cache(maxsize=1)
def rows() -> Rows:
    """The tables; they take a fraction of a second to compute."""
    context = Context(prec=40)
    cumulative, sides, sure, raw_bits = [], [], [], []
    for scale in range(SCALES):
        length = context.exp(Decimal(scale - SCALES // 2) / SCALES_PER_NAT)
        side = max(1, min(WIDEST, int(TAIL * length) + 1))
        sides.append(side)
        raw_bits.append(max(0, int(length).bit_length() - 1))
        ratio = int(context.exp(-1 / (FRACTIONS * length)) * 2**_BITS)
        survival = _survival(ratio, FRACTIONS * (side + 2))
        for fraction in range(FRACTIONS):
            edges = FRACTIONS * np.arange(-side, side + 2) - FRACTIONS // 2 - (fraction - FRACTIONS // 2)
            below = np.where(edges < 0, survival[abs(edges)], 2**40 - survival[abs(edges)])
            row = _frequencies(np.diff(below), side)
            cumulative.append([0, *np.cumsum(row).tolist()])
            sure.append(row[side] >= 2**PRECISION - SURE)
    counts = np.array([len(row) for row in cumulative])
    flat = np.concatenate([np.array(row, np.int64) for row in cumulative])
    costs = PRECISION - np.log2(np.diff(flat, append=2**PRECISION).clip(1)).astype(np.float32)
    return Rows(cumulative, np.array(sides), np.array(sure), flat, np.cumsum(counts) - counts, raw_bits, costs)


def _survival(ratio: int, count: int) -> Int[np.ndarray, " count"]:
    """Half the powers of ``ratio``, which has 60 binary places, with 40 places."""
    power, found = 1 << _BITS, []
    for _ in range(count):
        found.append(power >> (_BITS - 39))
        power = power * ratio >> _BITS
    return np.array(found)


def _frequencies(mass: Int[np.ndarray, " symbols"], side: int) -> Int[np.ndarray, " symbols1"]:
    """Frequencies of at least 1 for the symbols and the escape; the centre gets what rounding leaves."""
    free = 2**PRECISION - len(mass) - 1
    found = np.append(mass * free >> 40, max(0, free * (2**40 - int(mass.sum())) >> 40)) + 1
    found[side] += 2**PRECISION - found.sum()
    return found


def step_of(number: int) -> float:
    """The step that a file's byte 0..255 means."""
    return SMALLEST_STEP * 2 ** (number / STEPS_PER_OCTAVE)


def squash_table(fraction_bits: int, count: int = 8192) -> Int[np.ndarray, " count"]:
    """Natural logarithms of 1 + n / 16 for n from 0, with ``fraction_bits`` binary places."""
    context = Context(prec=30)
    values = [context.ln(1 + Decimal(n) / 16) * 2**fraction_bits for n in range(count)]
    return np.array([int(value.to_integral_value()) for value in values], np.int16)
