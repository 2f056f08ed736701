"""Latents that `NeTIPipeline` drew when it had attention processors and a denoising loop of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch

from mappers.neti import NeTIMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline

PROMPTS = ["a photo of a <cat> on the beach", "a red toy"]
SETTING = {"negative_prompt": ["a <cat> in the snow", "blue"], "guidance_scale": 5.0}
SCHEDULERS = {
    "ddim": diffusers.DDIMScheduler,
    "euler-ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "pndm": diffusers.PNDMScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}
CLOSE = {"rel": 1e-4, "abs": 1e-4}
"""On the processor that drew them they are equal; others add in another order."""


def knowing(model: Any, layers: int | None = None, **options: Any) -> NeTIPipeline:
    pipeline = NeTIPipeline.from_model(model, device="cpu", **options)
    pipeline.set_progress_bar_config(disable=True)
    widths, norms = pipeline.text.widths, [20.0] * len(pipeline.text.widths)
    one = len(widths) == 1
    mapper = NeTIMapper(
        layers or pipeline.layers, widths[0] if one else widths, norms[0] if one else norms, seed=3
    ).eval()
    pipeline.load_concept(Concept("<cat>", "toy", mapper, pipeline.base))
    return pipeline


def drawn(pipeline: NeTIPipeline, prompt: Any = None, **options: Any) -> torch.Tensor:
    options = {**SETTING, "num_inference_steps": 3, **options}
    generator = torch.Generator().manual_seed(0)
    return pipeline(prompt or PROMPTS, output_type="latent", generator=generator, **options).images


def sample(latents: torch.Tensor) -> list[float]:
    """Some of the numbers of each picture, and their mean size."""
    rows = latents.float().flatten(1)
    picked = rows[:, :: max(1, rows.shape[1] // 12)].flatten().tolist()
    return [round(value, 6) for value in [*picked, float(rows.square().mean().sqrt())]]


@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_nano(expected: Callable[..., None], scheduler: str) -> None:
    pipeline = knowing("nano")
    pipeline.scheduler = SCHEDULERS[scheduler].from_config(pipeline.scheduler.config)
    expected(f"nano-{scheduler}", sample(drawn(pipeline, num_inference_steps=4)), **CLOSE)


def test_nano_without_negative_words_and_cut_short(expected: Callable[..., None]) -> None:
    pipeline = knowing("nano")
    expected("nano-plain-negative", sample(drawn(pipeline, negative_prompt=None)), **CLOSE)
    expected("nano-unguided", sample(drawn(pipeline, guidance_scale=1.0, negative_prompt=None)), **CLOSE)
    expected("nano-truncated", sample(drawn(pipeline, truncation=16, num_images_per_prompt=2)), **CLOSE)


def test_nano_in_half_precision(expected: Callable[..., None]) -> None:
    """Of bf16 the last of eight bits differs between processors."""
    latents = drawn(knowing("nano", dtype=torch.bfloat16), "a <cat>", negative_prompt=None, num_inference_steps=1)
    expected("nano-bf16", sample(latents), rel=0.05, abs=0.05)
