"""The log-mel spectrogram that AudioLDM's autoencoder and vocoder work on."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mappers.extras import extra

RATE = 16_000
WINDOW = 1024
"""Samples of the Hann window and of the Fourier transform."""
HOP = 160
"""Samples from frame to frame."""
BINS = 64
FLOOR = 1e-5
"""Smaller magnitudes are raised to this: the logarithm of silence is -11.5."""


def log_mel(waves: Float[Tensor, "n samples"], sampling_rate: int = RATE) -> Float[Tensor, "n frames 64"]:
    """Natural logarithms of mel magnitudes: 64 Slaney bands up to 8 kHz, one frame every 10 ms.

    Reflection padding makes exactly n frames of n x 160 samples; a centred transform would give one more.

    Args:
        waves: mono at 16 kHz, in [-1, 1].
        sampling_rate: of ``waves``; a check, since another rate would not be noticed.

    Raises:
        ValueError: another rate, a clip shorter than a window, or samples that are not finite.
    """
    if sampling_rate != RATE:
        raise ValueError(f"sounds must have {RATE} samples a second here, got {sampling_rate}; resample them first")
    if waves.shape[-1] < WINDOW:
        raise ValueError(f"a sound must have at least {WINDOW} samples, got {waves.shape[-1]}")
    if not torch.isfinite(waves).all():
        raise ValueError("a sound has samples that are not finite numbers")
    padded = F.pad(waves, ((WINDOW - HOP) // 2,) * 2, mode="reflect")
    window = torch.hann_window(WINDOW, dtype=waves.dtype, device=waves.device)
    spectrum = torch.stft(padded, WINDOW, HOP, WINDOW, window, center=False, return_complex=True).abs()
    return (mel_filters().to(spectrum) @ spectrum).clamp(min=FLOOR).log().transpose(1, 2)


@cache
def mel_filters() -> Float[Tensor, "64 513"]:
    """Weights of the Slaney bands over the bins of the Fourier transform."""
    with extra("audio"):
        import librosa

    return torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=WINDOW, n_mels=BINS, fmin=0, fmax=RATE / 2))
