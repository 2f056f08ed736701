"""The coder's tables: the same numbers on every machine, and the probabilities that they stand for."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from nerf.compression.grids.tables import FRACTIONS, SCALES, rows, squash_table


def test_tables_never_change() -> None:
    digest = hashlib.sha256(rows().flat.astype("<u4").tobytes() + rows().sure.tobytes()).hexdigest()
    assert digest[:16] == "cb5802b1ae180d97"
    assert hashlib.sha256(squash_table(8, 256).astype("<i2").tobytes()).hexdigest()[:16] == "89429ea3fa1d932e"


def test_frequencies_are_those_of_a_laplace_distribution() -> None:
    for scale, fraction in ((40, 8), (48, 3), (30, 15), (60, 8)):
        row, side = rows().cumulative[scale * FRACTIONS + fraction], int(rows().sides[scale])
        length, mean = math.exp((scale - SCALES // 2) / 8), (fraction - 8) / 16

        def below(x: float, length: float = length) -> float:
            return math.exp(x / length) / 2 if x < 0 else 1 - math.exp(-x / length) / 2

        for value in (-side, -1, 0, 1, side):
            expected = below(value + 0.5 - mean) - below(value - 0.5 - mean)
            found = row[value + side + 1] - row[value + side]
            assert abs(found / 65536 - expected) < 2e-3 * expected + 3e-5 + (2e-3 if value == 0 else 0)


def test_every_symbol_can_be_coded() -> None:
    for row in rows().cumulative:
        assert row[0] == 0
        assert row[-1] == 65536
        assert min(np.diff(row)) >= 1
