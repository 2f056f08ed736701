"""A number with its confidence interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A value and the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def bootstrap(
    figure: Callable[..., float], *arrays: np.ndarray, rounds: int = 200, seed: int = 0, centred: bool = False
) -> Estimate:
    """``figure(*arrays)`` with a percentile interval from resampled rows; arrays of equal length stay paired.

    Args:
        figure: computes the value from arrays.
        arrays: rows to resample.
        rounds: resamplings.
        seed: of the resampling.
        centred: shift the interval so that the resamplings' mean lies on the value. For distances of distributions,
            which repeated rows bias upwards.
    """
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(rounds):
        rows = {n: rng.integers(n, size=n) for n in sorted({len(array) for array in arrays})}
        resampled.append(figure(*(array[rows[len(array)]] for array in arrays)))
    value = figure(*arrays)
    low, high = np.percentile(resampled, [2.5, 97.5]) + (value - np.mean(resampled) if centred else 0)
    return Estimate(value, float(low), float(high))
