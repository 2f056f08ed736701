"""Options over time: pictures that start small, and a training that ends when validation brings nothing more."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from pipelines import personalize
from pipelines.personalization.attention import context_attention
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask

TOKEN = "<thing>"
TRAIN = TrainConfig(steps=4, batch_size=2, learning_rate=1e-2, save_every=1, log_every=1)
CONFIG = PersonalizeConfig(train=TRAIN)
PIXELS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def pictures(count: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]


def made(pipeline: NeTIPipeline, config: PersonalizeConfig, held_out: torch.Tensor | None = None) -> NeTITask:
    mapper, inside = NeTIMapper(16, 16, 20.0), torch.ones(2, 1, 32, 32)
    mapper.dropout = 0.0
    held = None if held_out is None else [Subject(TOKEN, mapper, held_out, inside[: len(held_out)])]
    return NeTITask(pipeline, [Subject(TOKEN, mapper, PIXELS, inside)], config, held)


def test_pictures_start_small(pipeline: NeTIPipeline) -> None:
    task = made(pipeline, dataclasses.replace(CONFIG, early_resolution=16, early_steps=2))
    plain = made(pipeline, CONFIG)
    for step in range(4):
        draws = Draws(0, step, range(4))
        latents, noise = task.batch(draws)
        assert latents.shape == noise.shape == (4, 4, *([4, 4] if step < 2 else [8, 8]))
        with context_attention(pipeline.unet), torch.no_grad():
            assert task.loss(task.modules, (latents, noise), draws)["loss"].isfinite()
        if step >= 2:
            assert all(torch.equal(a, b) for a, b in zip((latents, noise), plain.batch(draws), strict=True))


def test_a_run_that_starts_small_resumes_bit_equal(tiny_model: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, early_resolution=16, early_steps=2)
    whole = personalize(pictures(), TOKEN, model=tiny_model, config=config)
    personalize(pictures(), TOKEN, model=tiny_model, config=config, output_dir=tmp_path, max_minutes=1e-9)
    resumed = personalize(pictures(), TOKEN, model=tiny_model, config=config, output_dir=tmp_path, resume=True)
    a, b = (p.concepts[TOKEN].mapper.state_dict() for p in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_validation_measures_held_out_pictures_with_the_same_noise(pipeline: NeTIPipeline) -> None:
    patient = dataclasses.replace(CONFIG, train=dataclasses.replace(TRAIN, patience=1, validate_every=1))
    other = torch.rand(1, 3, 32, 32) * 2 - 1
    with context_attention(pipeline.unet), torch.no_grad():
        losses = [
            task._validation_loss(task.modules)
            for task in (made(pipeline, patient), made(pipeline, patient), made(pipeline, patient, other))
        ]
        big = dataclasses.replace(patient, train=dataclasses.replace(patient.train, batch_size=32))
        whole = made(pipeline, big)
        together = whole._validation_loss(whole.modules)
    assert losses[0] == losses[1] != losses[2]
    assert together == pytest.approx(losses[0], abs=1e-5)


def test_stops_when_validation_brings_nothing(tiny_model: Path, tmp_path: Path) -> None:
    """A rate of nothing learns nothing, so the second validation is the last. Held-out pictures are not learned."""
    still = dataclasses.replace(TRAIN, learning_rate=1e-30, patience=1, validate_every=1, weight_decay=0.0)
    config = dataclasses.replace(CONFIG, train=still, held_out=1)
    personalize(pictures(), TOKEN, model=tiny_model, config=config, output_dir=tmp_path / "a")
    report = json.loads((tmp_path / "a" / "report.json").read_text())["metrics"]
    assert (report["steps"], report["stopped"]) == (2, "patience")
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [row["val/loss"] for row in rows if "val/loss" in row] == [report["val/loss"]] * 2
    with pytest.raises(ValueError, match="held_out is 3, but there are only 3 pictures of <thing>"):
        personalize(pictures(), TOKEN, model=tiny_model, config=dataclasses.replace(config, held_out=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_resolution": 16}, "early_resolution and a positive early_steps belong together; got 16 and 0"),
        ({"early_steps": 5}, "early_resolution and a positive early_steps belong together; got None and 5"),
        ({"early_resolution": 8, "early_steps": 5}, "early_resolution must be at least 16 pixels, got 8"),
        ({"held_out": -1}, "held_out must be at least 0"),
    ],
)
def test_bad_settings(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PersonalizeConfig(**options)


def test_the_early_resolution_is_the_lower_one(pipeline: NeTIPipeline) -> None:
    with pytest.raises(ValueError, match="early_resolution must be below the later 32 pixels, got 32"):
        made(pipeline, dataclasses.replace(CONFIG, early_resolution=32, early_steps=1))
