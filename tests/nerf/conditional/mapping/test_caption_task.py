"""The first stage of a mapper's training lowers the codes' negative log likelihood."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.mapping.caption_library import build_library
from nerf.conditional.mapping.caption_task import CaptionTask
from nerf.conditional.mapping.objective import ObjectiveConfig
from nerf.conditional.mapping.render_task import MapperConfig, MapperTask

FEW = TrainConfig(steps=3, batch_size=2, learning_rate=1e-2, weight_decay=0.0, cpu=True, log_every=1)
SMALL = MapperConfig(hidden=8, prompts=6, objective=ObjectiveConfig(size=8), library=FEW, train=FEW)


def test_codes_become_likelier(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    """Texts move all shapes alike, pictures need not. Instances without captions are trained on pictures."""
    train = dataclasses.replace(FEW, steps=60, batch_size=64)
    config = dataclasses.replace(SMALL, hidden=64, prompts=40, pictures=0.5, library=train)
    task = MapperTask(untrained, tiny_clip, config)
    captions, everything = CaptionTask(task), Draws(0, 0, range(200))
    with torch.no_grad():
        before = captions.loss(captions.modules, captions.batch(everything), everything)
    fit(captions, train)
    with torch.no_grad():
        after = captions.loss(captions.modules, captions.batch(everything), everything)
        along = task.mapper.predicted_gaussian("shape", task.library.embedding)[1].square().sum((1, 2))
    assert all(after[kind] < before[kind] for kind in ("shape", "appearance"))
    text = torch.tensor([bool(prompt) for prompt in task.library.prompts])
    assert float(along[text].mean()) < 0.5 * float(along[~text].mean())
    untrained.notes["objective"] = "gan"
    assert not CaptionTask(task).batch(everything).text.any()
    task.library = build_library(untrained, tiny_clip, 4, pictures=0.0)
    with pytest.raises(ValueError, match="set pictures above 0"):
        CaptionTask(task)
