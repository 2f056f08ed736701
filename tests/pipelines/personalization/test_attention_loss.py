"""The attention regulariser: its closed form, the maps it sees, and what it does to a word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization.attention import LayerContexts, context_attention
from pipelines.personalization.attention_loss import AttentionMaps, attention_loss
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask

TOKEN = "<thing>"
CONFIG = PersonalizeConfig(train=TrainConfig(steps=20, batch_size=2, learning_rate=3e-2, log_every=1), flip=0.5)


def test_closed_form() -> None:
    """A map in the mask's shape costs nothing at any height; an even one costs the share outside."""
    inside = torch.zeros(1, 1, 8, 8)
    inside[..., :2] = 1
    shape = torch.zeros(1, 4, 4)
    shape[..., :1] = 1
    assert float(attention_loss(0.01 * shape, inside)) == 0
    assert float(attention_loss(torch.full((1, 4, 4), 0.3), inside)) == pytest.approx(0.75)
    assert float(attention_loss(torch.zeros(1, 4, 4), inside)) == pytest.approx(0.25)
    half = torch.zeros(1, 1, 8, 8)
    half[..., :1] = 1  # half of the first column of cells
    assert float(attention_loss(shape, half)) == pytest.approx(0.25 * 0.5**2)


def test_maps_are_the_mean_of_the_layers_own_scores(pipeline: NeTIPipeline) -> None:
    unet, layers = pipeline.unet, pipeline.layers
    position = torch.tensor([[False, True, False, True, False]])
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(layers, 1, 5, 16, generator=generator)
    attention_maps, expected, finest = AttentionMaps(position, 4), [], AttentionMaps(position, 99)
    with context_attention(unet) as order, torch.no_grad():
        for layer, name in enumerate(order):
            module = unet.get_submodule(name)
            cells = torch.randn(1, 16 if layer % 2 else 64, module.to_q.in_features, generator=generator)
            contexts = LayerContexts(keys, keys)
            plain = module(cells, contexts=contexts)
            assert torch.equal(module(cells, contexts=contexts, attention_maps=attention_maps), plain)
            module(cells, contexts=contexts, attention_maps=finest)
            if layer % 2:
                query, key = (module.head_to_batch_dim(x) for x in (module.to_q(cells), module.to_k(keys[layer])))
                scores = module.get_attention_scores(query, key)
                expected.append(scores[..., position[0]].sum(-1).mean(0))
    torch.testing.assert_close(attention_maps.mean()[0], torch.stack(expected).mean(0).view(4, 4))


def measured(pipeline: NeTIPipeline, mapper: torch.nn.Module, config: PersonalizeConfig) -> float:
    inside = torch.zeros(1, 1, 32, 32)
    inside[..., :16] = 1
    task = NeTITask(pipeline, [Subject(TOKEN, mapper, torch.zeros(1, 3, 32, 32), inside)], config)
    draws = Draws(5, 0, range(8))
    with context_attention(pipeline.unet), torch.no_grad():
        parts = task.loss(task.modules, task.batch(draws), draws)
        plain = dataclasses.replace(config, attention_weight=0.0)
        task.config = plain
        alone = task.loss(task.modules, task.batch(draws), draws)
    assert set(alone) == {"loss"}
    torch.testing.assert_close(parts["loss"], alone["loss"] + config.attention_weight * parts["attention"])
    return float(parts["attention"])


def test_a_word_learns_to_stay_inside(tiny_model: Path) -> None:
    """Mirrored pictures included; the tiny model is random, so it is asked for little."""
    picture, mask = Image.new("RGB", (32, 32), "gray"), np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    losses = []
    for weight in (0.0, 100.0):
        config = dataclasses.replace(CONFIG, attention_weight=weight)
        learned = personalize([picture], TOKEN, model=tiny_model, masks=[mask], category="toy", config=config)
        losses.append(
            measured(learned, learned.concepts[TOKEN].mapper, dataclasses.replace(CONFIG, attention_weight=1))
        )
    assert losses[1] < losses[0]


def test_it_needs_masks(pipeline: NeTIPipeline) -> None:
    subject = Subject(TOKEN, NeTIMapper(16, 16, 20.0), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="attention_weight keeps words within their masks, and there are none"):
        NeTITask(pipeline, [subject], dataclasses.replace(CONFIG, attention_weight=0.01))
    with pytest.raises(ValueError, match="attention_weight must be at least 0"):
        PersonalizeConfig(attention_weight=-1)
