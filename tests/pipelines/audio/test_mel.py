"""The mel front end against an independent computation."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from pipelines.audio.mel import log_mel
from pipelines.nano.world.sounds import render_sound


def test_equals_librosa_frame_by_frame() -> None:
    waves = np.stack([render_sound("bell", seed=1), render_sound("fountain", seed=2)])
    found = log_mel(torch.from_numpy(waves.astype(np.float64)))  # in fp32 rounding shows in near silence
    assert found.shape == (2, 256, 64)  # 40,960 samples
    for wave, mel in zip(waves, found, strict=True):
        padded = np.pad(wave.astype(np.float64), 432, mode="reflect")
        expected = librosa.feature.melspectrogram(
            y=padded, sr=16000, n_fft=1024, hop_length=160, center=False, power=1, n_mels=64, fmin=0, fmax=8000
        )
        np.testing.assert_allclose(mel.numpy(), np.log(expected.clip(1e-5)).T, atol=1e-4)


def test_a_tone_lies_in_its_bin_and_silence_at_the_floor() -> None:
    time = torch.arange(16000) / 16000
    mel = log_mel(torch.sin(2 * torch.pi * 1000 * time)[None])
    centres = librosa.mel_frequencies(66, fmin=0, fmax=8000)[1:-1]
    assert abs(centres[mel[0, 50].argmax()] - 1000) < 70
    torch.testing.assert_close(log_mel(torch.zeros(1, 4000)), torch.full((1, 25, 64), -11.512925))


def test_unusable_sounds_are_refused() -> None:
    with pytest.raises(ValueError, match="got 48000; resample"):
        log_mel(torch.zeros(1, 4000), 48000)
    with pytest.raises(ValueError, match="at least 1024 samples, got 0"):
        log_mel(torch.zeros(1, 0))
    with pytest.raises(ValueError, match="not finite"):
        log_mel(torch.full((1, 4000), float("nan")))
