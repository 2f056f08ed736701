"""The sound codecs to compare with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.common.sound_codecs import CODECS, aligned_psnr, encode


@pytest.fixture
def wave() -> np.ndarray:
    time = np.arange(16000) / 16000
    return 0.5 * np.sin(2 * np.pi * (300 + 200 * time) * time)


def test_a_delay_does_not_count(wave: np.ndarray) -> None:
    late = np.concatenate([np.zeros(1000), wave])
    assert aligned_psnr(wave, late) == pytest.approx(100)
    assert aligned_psnr(wave, 0.9 * late) == pytest.approx(-10 * np.log10(np.square(0.05 * wave).mean()), abs=0.1)


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_is_near_its_rate_and_near_the_sound(name: str, wave: np.ndarray) -> None:
    bits, quality = encode(wave, 16000, CODECS[name], 24)
    assert 10_000 < bits < 40_000
    assert quality > 20
