"""The recipe of nano-audio's image encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mappers.training.draws import Draws
from pipelines.nano.recipes.audio_clip import AudioCLIPTask
from pipelines.nano.train_audio import build_task
from pipelines.nano.world.moments import Clips


def draws(count: int) -> Draws:
    return Draws(0, 0, range(count))


def test_audio_clip_starts_as_nano_clip_with_a_head_that_names_by_chance(clips: Clips) -> None:
    torch.manual_seed(0)
    task = build_task("clip", clips, clips)
    assert isinstance(task, AudioCLIPTask)
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws(16)), draws(16))
    assert losses["contrastive"].item() < 0.6 * np.log(16)
    assert losses["naming"].item() == pytest.approx(np.log(16), abs=0.5)
