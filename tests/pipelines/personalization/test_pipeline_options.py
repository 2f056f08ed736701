"""Options of a call that change no word: sizes, steps, and the safety checker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline

QUICK: dict[str, Any] = {"num_inference_steps": 1, "output_type": "np"}


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_pictures_may_have_any_multiple_of_the_autoencoders_factor(pipeline: NeTIPipeline) -> None:
    factor, size = pipeline.vae_scale_factor, {"height": 40, "width": 24}  # halved three times: 5 and 3
    drawn = pipeline("a cat", generator=noise(), **size, **QUICK).images
    no_checker = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    theirs = StableDiffusionPipeline(**pipeline.components | no_checker, requires_safety_checker=False)
    expected = theirs("a cat", generator=noise(), guidance_scale=7.5, **size, **QUICK).images
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    with pytest.raises(ValueError, match=rf"height and width must be multiples of {factor}, got"):
        pipeline("a cat", height=factor + 1, **QUICK)
    with pytest.raises(ValueError, match="must be multiples"):
        pipeline("a cat", height=0, **QUICK)


def test_regions_work_at_any_size(pipeline: NeTIPipeline) -> None:
    pipeline.load_concept(Concept("<x>", "toy", NeTIMapper(pipeline.layers, 16, 20.0).eval(), pipeline.base))
    factor = pipeline.vae_scale_factor
    everywhere = Image.new("RGB", (3 * factor, 5 * factor), "white")
    size = {"height": 5 * factor, "width": 3 * factor}
    plain = pipeline("a <x>", generator=noise(), **size, **QUICK).images
    within = pipeline("a <x>", generator=noise(), regions={"<x>": everywhere}, **size, **QUICK).images
    np.testing.assert_allclose(within, plain, atol=1e-5)


def test_no_steps_are_refused(pipeline: NeTIPipeline) -> None:
    with pytest.raises(ValueError, match="num_inference_steps must be at least 1, got 0"):
        pipeline("a cat", num_inference_steps=0)


@pytest.mark.parametrize("limit", [-2.0, 2.0])
def test_a_safety_checker_is_asked(pipeline: NeTIPipeline, limit: float) -> None:
    """Of a checker that flags all pictures, and of one that flags none."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {**small, "image_size": 32, "patch_size": 16}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=small, vision_config=vision, projection_dim=16)
    ).eval()
    checker.concept_embeds_weights.data.fill_(limit)
    checker.special_care_embeds_weights.data.fill_(2.0)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    plain = pipeline("a cat", generator=noise(), **QUICK)
    checked = NeTIPipeline(**pipeline.components | {"safety_checker": checker, "feature_extractor": processor})
    checked.set_progress_bar_config(disable=True)
    result = checked("a cat", generator=noise(), **QUICK)
    assert plain.nsfw_content_detected is None
    assert result.nsfw_content_detected == [limit < 0]
    np.testing.assert_array_equal(result.images, np.zeros_like(plain.images) if limit < 0 else plain.images)
