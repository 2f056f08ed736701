"""Drawing over a picture, against diffusers' own image-to-image and inpainting pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from PIL import Image

from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
MASK = Image.new("L", (32, 32))
MASK.paste(255, (16, 0, 32, 32))


def draw(pipeline: DiffusionPipeline, prompt: str = "a red cat", **options: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    given = {"image": PICTURE, "num_inference_steps": 5, "guidance_scale": 3.0, "output_type": "np", **options}
    return np.asarray(pipeline(prompt, generator=noise, **given).images)  # pyright: ignore


def like(other: type[DiffusionPipeline], pipeline: NeTIPipeline, **options: Any) -> DiffusionPipeline:
    no_checker = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    return other(**pipeline.components | no_checker, requires_safety_checker=False, **options)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler])
def test_image_to_image_is_diffusers(pipeline: NeTIPipeline, scheduler: Any) -> None:
    """Fractional and repeated timesteps included."""
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    theirs = like(StableDiffusionImg2ImgPipeline, pipeline)
    for strength in (0.4, 1.0):
        np.testing.assert_allclose(
            draw(pipeline, strength=strength), draw(theirs, strength=strength), atol=1e-4, err_msg=str(strength)
        )


def test_image_to_image_with_sdxl(sdxl: NeTIPipeline, tiny_sdxl: Path) -> None:
    theirs = StableDiffusionXLImg2ImgPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    np.testing.assert_allclose(draw(sdxl, strength=0.6), draw(theirs, strength=0.6), atol=1e-4)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_is_diffusers(pipeline: NeTIPipeline, strength: float) -> None:
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    theirs = like(StableDiffusionInpaintPipeline, pipeline)
    np.testing.assert_allclose(
        draw(pipeline, mask=MASK, strength=strength), draw(theirs, mask_image=MASK, strength=strength), atol=1e-4
    )


def test_a_word_is_drawn_within_the_mask_only(pipeline: NeTIPipeline) -> None:
    pipeline.load_concept(Concept("<cat>", "toy", NeTIMapper(16, 16, 20.0, seed=3), pipeline.base, "tiny"))
    latents = {"mask": MASK, "output_type": "latent", "strength": 1.0}
    word, toy = (draw(pipeline, prompt, **latents) for prompt in ("a <cat>", "a toy"))
    np.testing.assert_array_equal(word[..., :4], toy[..., :4])
    assert np.abs(word[..., 4:] - toy[..., 4:]).max() > 1e-3
    black = draw(pipeline, "a <cat>", mask=Image.new("L", (32, 32)), output_type="latent")
    np.testing.assert_array_equal(black[..., :4], draw(pipeline, "a <cat>", **latents)[..., :4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, "strength must be above 0"),
        ({"strength": 0.1}, "got 0.1, which leaves 0"),
        ({"mask": Image.new("L", (8, 32))}, "mask has 8x32 pixels, the picture 32x32"),
        ({"image": None, "mask": MASK}, "mask needs the picture"),
    ],
)
def test_bad_input(pipeline: NeTIPipeline, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(pipeline, **options)
