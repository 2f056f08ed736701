"""An autoencoder that overflows in half precision computes in single precision where its configuration says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from PIL import Image

from mappers.pixels import NotFiniteError
from pipelines.autoencoder import decode, encode
from pipelines.personalization.latents import LatentPictures
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.subjects import Subject

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
MASK = Image.new("L", (32, 32), "white")
DRAWING: dict[str, Any] = {"image": PICTURE, "strength": 0.6, "num_inference_steps": 4, "output_type": "np"}


@pytest.fixture
def overflowing(tiny_sdxl: Path) -> NeTIPipeline:
    """SDXL in fp16 with an encoder whose activations are beyond fp16, as those of the published one are."""
    pipeline = NeTIPipeline.from_model(tiny_sdxl, dtype=torch.float16, device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.register_to_config(force_upcast=True)
    with torch.no_grad():
        weight = pipeline.vae.encoder.conv_in.weight
        weight.copy_(weight.float() * (6e4 / weight.abs().max().float()))
    return pipeline


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("mask", [None, MASK])
def test_drawing_over_a_picture_in_half_precision(overflowing: NeTIPipeline, mask: Image.Image | None) -> None:
    drawn = overflowing("a cat", mask=mask, generator=noise(), **DRAWING).images
    assert np.isfinite(drawn).all()
    assert drawn.std() > 0.01
    assert overflowing.vae.dtype == torch.float16
    if mask is None:
        parts = {name: part for name, part in overflowing.components.items() if name != "safety_checker"}
        theirs = StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
        theirs.set_progress_bar_config(disable=True)
        expected = theirs("a cat", generator=noise(), guidance_scale=7.5, **DRAWING).images
        np.testing.assert_allclose(drawn, expected, atol=0.02)


def test_learning_encodes_in_enough_precision(overflowing: NeTIPipeline) -> None:
    subject = Subject("<x>", torch.nn.Linear(1, 1), torch.rand(1, 3, 32, 32) * 2 - 1)
    assert LatentPictures(overflowing.vae, [subject], 0.0).mean.isfinite().all()


def test_both_ways_keep_the_precision_of_the_weights(overflowing: NeTIPipeline) -> None:
    vae, pixels = overflowing.vae, torch.rand(1, 3, 32, 32) * 2 - 1
    latents = encode(vae, pixels).mode() * vae.config.scaling_factor
    assert latents.isfinite().all()
    assert decode(vae, latents).isfinite().all()
    assert vae.dtype == torch.float16


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_a_black_picture_is_an_error(overflowing: NeTIPipeline, output_type: str) -> None:
    overflowing.vae.register_to_config(force_upcast=False)
    with pytest.raises(NotFiniteError, match=r"overflows in torch.float16; load it with dtype float32 or bfloat16"):
        overflowing("a cat", **DRAWING | {"output_type": output_type})
