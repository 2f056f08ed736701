"""The log-mel spectrogram that AudioLDM's autoencoder and vocoder work on."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import hertz_to_mel, mel_filter_bank, mel_to_hertz

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
def mel_filters(
    sampling_rate: int = RATE, window: int = WINDOW, *, low: float = 0.0, high: float | None = None
) -> Float[Tensor, "64 f"]:
    """Weights of 64 Slaney bands over the bins of the Fourier transform of ``window`` samples.

    Args:
        sampling_rate: samples per second.
        window: samples of the Fourier transform.
        low: hertz where the lowest band begins.
        high: hertz where the highest band ends; None takes half the sampling rate.
    """
    bands = mel_filter_bank(
        num_frequency_bins=window // 2 + 1, num_mel_filters=BINS, min_frequency=low,
        max_frequency=sampling_rate / 2 if high is None else high, sampling_rate=sampling_rate, norm="slaney",
        mel_scale="slaney",
    )  # fmt: skip
    return torch.from_numpy(bands.T.copy()).float()


def band_centres(high: float) -> list[float]:
    """Hertz in the middle of each of the 64 bands from 0 to ``high`` hertz."""
    highest = hertz_to_mel(high, mel_scale="slaney")
    edges = np.arange(BINS + 2) / (BINS + 1) * float(highest)
    return np.asarray(mel_to_hertz(edges, mel_scale="slaney"))[1:-1].tolist()


def decibels(wave: Float[np.ndarray, " samples"], sampling_rate: int) -> Float[np.ndarray, "64 frames"]:
    """Power in each band, a frame every 10 ms, in dB; at most 80 dB below the largest."""
    hop, size = sampling_rate // 100, 2 ** math.ceil(math.log2(sampling_rate / 20))
    padded = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    spectrum = torch.stft(padded, size, hop, size, torch.hann_window(size), pad_mode="constant", return_complex=True)
    power = mel_filters(sampling_rate, size) @ spectrum.abs().square()
    found = 10 * power.clamp(min=1e-10).log10()
    return found.clamp(min=found.amax() - 80).numpy()
