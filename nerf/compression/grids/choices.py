"""What an encoder sends of a coefficient: the nearest whole number, or one closer to what is expected, if that is worth
its bits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from .network import LAGRANGIAN
from .streams import FARTHEST
from .tables import FRACTIONS, rows

FAR_BITS = 24.0
"""Bits that a coefficient outside of its row is taken to cost."""


def chosen(
    targets: Float[np.ndarray, "*shape"],
    row: Int[np.ndarray, "*shape"],
    centre: Int[np.ndarray, "*shape"],
    thrift: float,
) -> Int[np.ndarray, "*shape"]:
    """Whole numbers for coefficients.

    Args:
        targets: the coefficients in steps.
        row, centre: their distributions.
        thrift: what a bit is worth, relative to training; 0 rounds.
    """
    nearest = np.rint(targets).astype(np.int64).clip(-FARTHEST, FARTHEST)
    if thrift > 0:
        closer = nearest - np.sign(nearest - centre)
        saved = _bits(nearest, row, centre) - _bits(closer, row, centre)
        lost = np.square(targets - closer) - np.square(targets - nearest)
        nearest = np.where(saved * (LAGRANGIAN * thrift) > lost, closer, nearest)
    return np.where(rows().sure[row], centre, nearest)


def _bits(values: np.ndarray, row: np.ndarray, centre: np.ndarray) -> np.ndarray:
    tables = rows()
    side = tables.sides[row // FRACTIONS]
    symbol = values - centre + side
    inside = (symbol >= 0) & (symbol <= 2 * side)
    return np.where(inside, tables.costs[tables.starts[row] + np.where(inside, symbol, 0)], FAR_BITS)
