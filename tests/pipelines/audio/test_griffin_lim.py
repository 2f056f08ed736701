"""The vocoder without learned weights, on tones whose waveform is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from pipelines.audio.griffin_lim import GriffinLim
from pipelines.audio.mel import log_mel, mel_filters


def tone(frequency: float, samples: int = 16_000) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(samples) / 16_000)[None]


def peak(wave: torch.Tensor) -> float:
    """The loudest frequency of a clip's middle in Hz."""
    middle = wave[0, 4000:12000] * torch.hann_window(8000)
    return float(torch.fft.rfft(middle).abs().argmax()) * 2


@pytest.mark.parametrize("frequency", [273.0, 1234.0])
def test_tones_come_back_at_their_pitch_and_loudness(frequency: float) -> None:
    wave = tone(frequency)
    again = GriffinLim()(log_mel(wave))
    assert again.shape == wave.shape
    assert peak(again) == pytest.approx(frequency, rel=0.03)
    middle = slice(4000, 12000)
    assert again[0, middle].std().item() == pytest.approx(wave[0, middle].std().item(), rel=0.25)


def test_a_convolution_over_frames_gives_a_steady_tone_the_period_of_a_frame() -> None:
    """Why this vocoder exists: whatever its weights, a HiFi-GAN cannot tell where in a steady tone it is."""
    torch.manual_seed(0)
    hifigan = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=64, upsample_initial_channel=32, upsample_rates=[5, 4, 2, 2, 2],
            upsample_kernel_sizes=[15, 16, 8, 4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    ).eval()  # fmt: skip
    for weight in hifigan.parameters():
        weight.data.mul_(12)
    steady = log_mel(tone(273.0))[:, 50:51].expand(1, 100, 64)
    with torch.no_grad():
        wave = hifigan(steady)[0, 6400:9600]
    assert wave.std() > 1e-4
    torch.testing.assert_close(wave[160:], wave[:-160], atol=1e-4, rtol=1e-3)


def test_magnitudes_are_resolved_so_that_their_bands_are_those_asked_for() -> None:
    magnitudes = torch.rand(1, 513, 4, generator=torch.Generator().manual_seed(0))
    bands = mel_filters() @ magnitudes
    found = GriffinLim(sharpening=200).resolve(bands)
    assert (found >= 0).all()
    torch.testing.assert_close(mel_filters() @ found, bands, rtol=0.02, atol=0)


def test_a_batch_equals_single_calls_and_calls_repeat() -> None:
    mels = torch.cat([log_mel(tone(300.0, 3200)), log_mel(tone(700.0, 3200))])
    vocoder = GriffinLim(iterations=4)
    both = vocoder(mels)
    for row in range(2):
        torch.testing.assert_close(vocoder(mels[row : row + 1])[0], both[row], atol=1e-5, rtol=1e-4)


def test_it_is_saved_and_loaded_like_any_part(tmp_path: Path) -> None:
    mels = log_mel(tone(300.0, 3200))
    GriffinLim(iterations=3).half().save_pretrained(tmp_path)
    again = GriffinLim.from_pretrained(tmp_path)
    assert again.config.iterations == 3
    assert again.dtype == torch.float32
    np.testing.assert_allclose(again(mels), GriffinLim(iterations=3)(mels), atol=2e-2)
