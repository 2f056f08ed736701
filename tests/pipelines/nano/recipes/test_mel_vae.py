"""The recipe of the nano mel autoencoder: shapes, a fresh model's output, and spectrograms as pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.nano.recipes.mel_vae import LATENT_SHAPE, MelVAETask, mels_of, spectrogram_grid
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips


def test_a_fresh_autoencoder_says_the_usual_loudness_and_keeps_the_shape(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("mel-vae", clips, clips)
    assert isinstance(task, MelVAETask)
    mels = mels_of(clips.waves(slice(0, 2)))
    assert mels.shape == (2, 1, 256, 64)
    with torch.no_grad():
        posterior = task.vae.encode(mels).latent_dist
        assert posterior.mean.shape[1:] == LATENT_SHAPE
        assert task.vae.decode(posterior.mean).sample.mean().item() == pytest.approx(-7, abs=2)
        found = task.validate(task.modules, 0)
    assert found["reconstructions"].size == (4 * 258, 4 * 66)


def test_spectrogram_pictures_have_low_tones_at_the_bottom_and_time_to_the_right() -> None:
    mel = torch.full((1, 10, 6), -12.0)
    mel[0, 8, 1] = 3.0
    pixels = np.asarray(spectrogram_grid(mel, 1))
    assert pixels.shape == (8, 12)
    assert np.argwhere(pixels == 255).tolist() == [[1 + 4, 1 + 8]]
