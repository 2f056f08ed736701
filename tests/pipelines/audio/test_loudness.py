"""Loudness and true peak have the values that ITU-R BS.1770 and EBU Tech 3341 give for their test signals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.audio.loudness import HIGHEST_PEAK, TARGET, k_filters, leveled, loudness, true_peak

RATE = 48_000


def sine(level: float, seconds: float, *, hertz: float = 1000.0, rate: int = RATE, phase: float = 0.0) -> np.ndarray:
    """A sine whose peak is ``level`` dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (level / 20) * np.sin(2 * np.pi * hertz * time + phase)).astype(np.float32)


def test_the_filters_are_those_of_the_standard() -> None:
    """Tables 1 and 2 of BS.1770, at 48 kHz."""
    (shelf, shelf_poles), (high_pass, high_pass_poles) = k_filters(RATE)
    assert shelf == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-7)
    assert shelf_poles == pytest.approx([1.0, -1.69065929318241, 0.73248077421585], abs=1e-7)
    assert high_pass == [1.0, -2.0, 1.0]
    assert high_pass_poles == pytest.approx([1.0, -1.99004745483398, 0.99007225036621], abs=1e-7)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_full_sine_in_one_channel_has_3_decibels_less(rate: int) -> None:
    """BS.1770, Annex 1: 0 dBFS at 997 Hz is -3.01 LKFS."""
    assert loudness(sine(0, 2, hertz=997, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(
    "parts",
    [
        [(-20, 5)],
        [(-33, 2), (-20, 12), (-33, 2)],
        [(-69, 2), (-33, 2), (-20, 12), (-33, 2), (-69, 2)],
        [(-23, 4), (-17, 4.02), (-23, 4)],
    ],
)
def test_quiet_parts_are_gated(parts: list[tuple[float, float]]) -> None:
    """Test signals 1, 3, 4 and 5 of EBU Tech 3341, shorter and in one channel, for which levels are 3 dB higher."""
    wave = np.concatenate([sine(level, seconds) for level, seconds in parts])
    assert loudness(wave, RATE) == pytest.approx(-23, abs=0.15)


@pytest.mark.parametrize(
    ("hertz", "phase", "level", "wanted"),
    [(12_000, 0, -6, -6), (12_000, 45, -6, -6), (8_000, 60, -6, -6), (6_000, 67.5, -6, -6), (12_000, 45, 3, 3)],
)
def test_the_true_peak_lies_between_samples(hertz: float, phase: float, level: float, wanted: float) -> None:
    """Test signals 15 to 19 of EBU Tech 3341, with its tolerance of +0.2 and -0.4 dB."""
    wave = sine(level, 0.5, hertz=hertz, phase=math.radians(phase))
    faded = wave * np.minimum(1, np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / 2400)
    assert -0.4 <= true_peak(faded) - wanted <= 0.2


def test_a_sound_is_set_to_the_loudness_or_to_the_highest_peak() -> None:
    for level in (-60, -20, 12):
        wave = leveled(sine(level, 1, rate=16_000), 16_000)
        assert loudness(wave, 16_000) == pytest.approx(TARGET, abs=0.01)
        assert wave.dtype == np.float32
    clicks = np.zeros(16_000, dtype=np.float32)
    clicks[::4000] = 3.0
    quieter = leveled(clicks, 16_000)
    assert true_peak(quieter) == pytest.approx(HIGHEST_PEAK, abs=0.01)
    assert loudness(quieter, 16_000) < TARGET
    assert np.abs(quieter).max() < 1
    short = leveled(sine(0, 0.1, rate=16_000), 16_000)
    assert loudness(short, 16_000) == pytest.approx(TARGET, abs=0.01)
    silence = np.zeros(16_000, dtype=np.float32)
    assert loudness(silence, 16_000) == true_peak(silence) == -math.inf
    np.testing.assert_array_equal(leveled(silence, 16_000), silence)
