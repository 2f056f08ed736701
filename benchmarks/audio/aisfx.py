"""Features of sounds by aiSFX (ISMIR 2022), a network for sound effects that no part of this package was trained with.

Its package brings its weights and pins versions that do not go with ours, so it is installed alone:
``pip install --no-deps aisfx``. Its network and weights are used; spectrograms are computed here as its librosa front
end computes them, from arrays rather than files.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

RATE, WINDOW, HOP, BINS, BLOCK = 44_100, 2048, 1024, 96, 100
LOUDEST = 9.457798957824707
"""The largest value of its training spectrograms, by which they are divided."""

NUMBERS = [(np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
"""What its file has besides tensors: counts of classes, as numpy's numbers."""


def installed() -> bool:
    """Whether aisfx is there."""
    return importlib.util.find_spec("aisfx") is not None


class Aisfx:
    """The published network; weights are read as tensors only."""

    def __init__(self) -> None:
        nets: Any = importlib.import_module("aisfx.models.cnn2d")
        with torch.serialization.safe_globals(NUMBERS):
            tensors, datasets = torch.load(
                Path(nets.__file__).with_name("checkpoint.pth"), map_location="cpu", weights_only=True
            )
        self.net = nets.CrossNet(nets.EmbeddingNet("max", 3, 1, 64), datasets, "cpu")
        self.net.load_state_dict(tensors)
        self.net.eval()

    @torch.no_grad()
    def __call__(self, waves: Float[Tensor, "n samples"], rate: int) -> Float[np.ndarray, "n 512"]:
        """The mean over blocks of two and a third seconds, which overlap by half."""
        rows = []
        for wave in waves.numpy():
            spectrum = spectrogram(wave, rate)
            count = max((len(spectrum) - BLOCK) // (BLOCK // 2) + 1, 1)
            spectrum = np.pad(spectrum, ((0, max(BLOCK - len(spectrum), 0)), (0, 0)))
            blocks = np.stack([spectrum[i * BLOCK // 2 : i * BLOCK // 2 + BLOCK] for i in range(count)])
            rows.append(self.net.get_embedding(torch.from_numpy(blocks).float()).mean(0).numpy())
        return np.stack(rows)


def spectrogram(wave: Float[np.ndarray, " samples"], rate: int) -> Float[np.ndarray, "frames 96"]:
    """Logarithms of mel power of a sound of peak 1."""
    wave = librosa.resample(wave, orig_sr=rate, target_sr=RATE)
    wave = wave / (np.abs(wave).max() or 1)
    mel = librosa.feature.melspectrogram(
        y=wave, sr=RATE, n_fft=WINDOW, win_length=WINDOW, hop_length=HOP, n_mels=BINS, norm=1.0, fmin=0.0,
        fmax=RATE / 2, htk=True, power=2.0,
    )  # fmt: skip
    return np.log10(mel * 10_000 + 1).T / LOUDEST
