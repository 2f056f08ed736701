"""Loudness and true peak of mono sounds by ITU-R BS.1770-5, and the gain that sets both."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter, resample_poly

TARGET = -23.0
"""Loudness that sounds are written at, in LUFS: that of EBU R 128."""
HIGHEST_PEAK = -1.0
"""Largest true peak of what is written, in dBTP: that of EBU R 128. A sound of short peaks stays below `TARGET`."""
BLOCK, STEP = 0.4, 0.1
"""Seconds of a gating block, and from the start of one to that of the next."""
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
"""Blocks below the first, in LUFS, do not count; nor do blocks this many LU below the mean of the others."""
OFFSET = -0.691
"""Makes the loudness of a sine of 997 Hz its level."""

Wave = Float[np.ndarray, " samples"]


def loudness(wave: Wave, sampling_rate: int) -> float:
    """Integrated loudness in LUFS; minus infinity for silence.

    A sound shorter than a gating block is measured as one block.
    """
    weighted = k_weighted(wave, sampling_rate)
    size, step = round(BLOCK * sampling_rate), round(STEP * sampling_rate)
    starts = range(0, max(len(weighted) - size, 0) + 1, step)
    powers = np.array([np.square(weighted[start : start + size]).mean() for start in starts])
    heard = powers[powers > _power(ABSOLUTE_GATE)]
    if not len(heard):
        return -math.inf
    return _level(heard[heard > heard.mean() * 10 ** (RELATIVE_GATE / 10)].mean())


def true_peak(wave: Wave) -> float:
    """Largest absolute value of the continuous signal, in dBTP, from four times as many samples."""
    highest = float(np.abs(resample_poly(np.asarray(wave, dtype=np.float64), 4, 1)).max())
    highest = max(highest, float(np.abs(wave).max()))
    return 20 * math.log10(highest) if highest else -math.inf


def leveled(wave: Wave, sampling_rate: int) -> Wave:
    """``wave`` at `TARGET` loudness, or below it where the true peak would exceed `HIGHEST_PEAK`; silence as it is."""
    level = loudness(wave, sampling_rate)
    if not math.isfinite(level):
        return wave
    gain = min(TARGET - level, HIGHEST_PEAK - true_peak(wave))
    return (wave * 10 ** (gain / 20)).astype(np.float32)


def k_weighted(wave: Wave, sampling_rate: int) -> Wave:
    """The sound after the standard's two filters: the head's shelf, and a high pass."""
    for numerator, denominator in k_filters(sampling_rate):
        wave = np.asarray(lfilter(numerator, denominator, wave))
    return wave


def k_filters(sampling_rate: int) -> list[tuple[list[float], list[float]]]:
    """Numerator and denominator of both filters at any rate; at 48 kHz they are the standard's tables 1 and 2.

    The standard gives coefficients at 48 kHz only. Frequencies, gain and quality are those of the analogue filters of
    which the tables are the bilinear transforms.
    """
    k = math.tan(math.pi * 1681.974450955533 / sampling_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = (
        [(high + middle * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - middle * k / q + k * k) / a0],
        [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0],
    )
    k = math.tan(math.pi * 38.13547087602444 / sampling_rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    return [shelf, ([1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0])]


def _level(power: float) -> float:
    return OFFSET + 10 * math.log10(power)


def _power(level: float) -> float:
    return 10 ** ((level - OFFSET) / 10)
