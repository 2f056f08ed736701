"""The recipe of nano-clip: losses of a fresh model, and batches whose groups share their surroundings."""

from __future__ import annotations

import pytest
import torch

from mappers.training.draws import Draws
from pipelines.nano.recipes.clip import CLIPTask
from pipelines.nano.train import build_task


def test_clip_loss_of_a_fresh_model_is_that_of_chance() -> None:
    torch.manual_seed(0)
    task = build_task("clip")
    assert isinstance(task, CLIPTask)
    draws = Draws(0, 0, range(8))
    with torch.no_grad():
        losses = task.loss(task.modules, task.batch(draws), draws)
    assert losses["contrastive"].item() == pytest.approx(torch.tensor(8.0).log().item(), abs=0.5)
    assert losses["naming"].item() == pytest.approx(torch.tensor(350.0).log().item(), abs=0.5)


def test_every_other_group_of_the_contrastive_batch_differs_in_objects_only() -> None:
    task = build_task("clip")
    assert isinstance(task, CLIPTask)
    draws = Draws(0, 3, range(32))
    scenes = task.batch.scenes(draws, [draws.numpy(i) for i in range(32)])
    surroundings = [(s.place, s.color, s.tint, s.style, s.count) for s in scenes]
    assert [len(set(surroundings[i : i + 8])) == 1 for i in (0, 8, 16, 24)] == [False, True, False, True]
    assert len({scene.object for scene in scenes}) > 28
    # A process that holds the second half of the batch draws the same scenes.
    half = Draws(0, 3, range(16, 32))
    assert task.batch.scenes(half, [half.numpy(i) for i in range(16)]) == scenes[16:]
