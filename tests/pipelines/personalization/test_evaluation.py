"""Scores of a learned word on a tiny model: against plain cosines, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTImageProcessor, ViTModel

import pipelines
from mappers.neti import NeTIMapper, TextualInversionMapper
from pipelines.estimate import Estimate
from pipelines.personalization.concepts import Concept
from pipelines.personalization.evaluation import Judges, estimate_over_seeds
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import EvaluateConfig

TOKEN = "<cat>"
CONFIG = EvaluateConfig(
    prompts=("a photo of a {}", "a red {}"), seeds=2, inference_steps=2, truncations=(0.0, 1.0)
)  # fmt: skip


def pictures(count: int, seed: int) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]


def concept(pipeline: NeTIPipeline, mapper: torch.nn.Module, model: Path) -> Concept:
    return Concept(TOKEN, "toy", mapper, pipeline.base, str(model))


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**settings, image_size=16, patch_size=8), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def test_scores_are_the_cosines_that_they_are_said_to_be(
    pipeline: NeTIPipeline, tiny_model: Path, dino: Path, tmp_path: Path
) -> None:
    seen, held_out = pictures(3, 1), pictures(2, 2)
    learned = concept(pipeline, NeTIMapper(16, 16, 20.0, seed=3), tiny_model)
    made = pipelines.evaluate(
        learned, held_out, training=seen, output_dir=tmp_path, dino=dino, config=CONFIG, device="cpu"
    )
    assert json.loads((tmp_path / "report.json").read_text())["scores"] == made["scores"]
    assert all((tmp_path / name).stat().st_size > 0 for name in ("truncation.png", "neighbours.png"))
    sheet = np.asarray(Image.open(tmp_path / "samples.png"))

    pipeline.load_concept(learned)
    drawn = []
    for prompt in ("a photo of a <cat>", "a red <cat>"):
        for seed in range(2):
            noise = torch.Generator().manual_seed(seed)
            drawn += pipeline(prompt, num_inference_steps=2, guidance_scale=5.0, generator=noise).images
    rows = [np.concatenate([np.asarray(picture) for picture in drawn[i : i + 2]], 1) for i in (0, 2)]
    np.testing.assert_allclose(sheet.astype(int), np.concatenate(rows).astype(int), atol=2)
    judges = Judges("nano-clip", dino, "cpu")
    for name in ("clip_i", "dino"):
        expected = np.mean(
            [[float(a @ b) for b in judges.embed_images[name](held_out)] for a in judges.embed_images[name](drawn)]
        )
        assert made["scores"]["word"][name]["value"] == pytest.approx(expected, abs=2e-3)
    texts = judges.embed_texts(["a photo of a", "a photo of a", "a red", "a red"])
    expected = np.mean([float(a @ b) for a, b in zip(judges.embed_images["clip_i"](drawn), texts, strict=True)])
    assert made["scores"]["word"]["clip_t"]["value"] == pytest.approx(expected, abs=2e-3)
    assert list(made["truncation"]) == [0, 128]
    assert made["truncation"][128] == made["scores"]["word"]
    assert made["truncation"][0] != made["scores"]["word"]


def test_a_word_that_is_its_category_scores_as_that(
    pipeline: NeTIPipeline, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A vector has no truncation curve; pictures that are not given are not looked for."""
    start = pipeline.text.category_embedding("toy")[0]
    mapper = TextualInversionMapper(16, 16, 1.0)
    mapper.start_at(start)
    made = pipelines.evaluate(concept(pipeline, mapper, tiny_model), pictures(1, 2), config=CONFIG, device="cpu")
    for name, score in made["scores"]["word"].items():
        assert score["value"] == pytest.approx(made["scores"]["category"][name]["value"], abs=1e-3)
    assert made["truncation"] == {}
    assert "copies" not in made
    assert "nano-clip, which knows drawn pictures of 64 pixels alone, judges those of" in caplog.text


def test_copies_are_found(monkeypatch: pytest.MonkeyPatch, pipeline: NeTIPipeline, tiny_model: Path) -> None:
    seen, held_out = pictures(4, 1), pictures(2, 2)
    learned = concept(pipeline, NeTIMapper(16, 16, 20.0), tiny_model)
    config = dataclasses.replace(CONFIG, truncations=(1.0,))
    monkeypatch.setattr("pipelines.personalization.evaluation.Measurement._draw", lambda *_: seen)
    copied = pipelines.evaluate(learned, held_out, training=seen, config=config, device="cpu")["copies"]
    assert copied["suspicious"] == 1.0
    assert copied["nearest"] == pytest.approx(1.0, abs=1e-5)
    monkeypatch.setattr("pipelines.personalization.evaluation.Measurement._draw", lambda *_: held_out * 2)
    new = pipelines.evaluate(learned, held_out, training=seen, config=config, device="cpu")["copies"]
    assert new["suspicious"] == 0.0


def test_intervals_are_students() -> None:
    """Of 1, 2, 3: mean 2, deviation 1, t(2) = 4.303."""
    found = estimate_over_seeds(torch.tensor([1.0, 2.0, 3.0]))
    half = 4.303 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert isinstance(found, Estimate)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": ("a toy",)}, "each of prompts must have one {}"),
        ({"seeds": 1}, "seeds must be at least 2"),
        ({"truncations": (2.0,)}, "truncations must be shares"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**settings)


def test_bad_input(pipeline: NeTIPipeline, tiny_model: Path, tmp_path: Path) -> None:
    learned, seen = concept(pipeline, NeTIMapper(16, 16, 20.0), tiny_model), pictures(3, 1)
    with pytest.raises(ValueError, match="reference 1 is one of the training pictures"):
        pipelines.evaluate(learned, seen[1:], training=seen, device="cpu")
    with pytest.raises(FileNotFoundError, match="could not load the judge"):
        pipelines.evaluate(learned, pictures(1, 5), clip=tmp_path, device="cpu")
    with pytest.raises(FileNotFoundError, match="neither a folder"):
        pipelines.evaluate(learned, pictures(1, 5), dino="./none", device="cpu")
