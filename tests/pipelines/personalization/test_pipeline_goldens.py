"""Latents and gradients of before: `NeTIPipeline` had attention processors and a denoising loop of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from pipelines.personalization.concepts import Concept
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask
from pipelines.plugging.learning import fed_by_argument

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


@pytest.mark.parametrize("layers", [70, 11])
def test_sdxl(expected: Callable[..., None], tiny_sdxl: Any, layers: int) -> None:
    latents = drawn(knowing(tiny_sdxl, layers), num_inference_steps=2)
    expected(f"sdxl-{layers}", sample(latents), **CLOSE)


CASES: dict[str, dict[str, Any]] = {
    "plain": {"shared_points": 1},
    "masks": {"attention_weight": 0.1, "outside_weight": 0.2},
    "shared points": {"shared_points": 4},
    "two words": {"min_snr": 5.0},
}


def made(pipeline: NeTIPipeline, case: str) -> NeTITask:
    generator = torch.Generator().manual_seed(0)
    side = 64 if pipeline.unet.config.sample_size > 8 else 32
    pictures = torch.rand(3, 3, side, side, generator=generator) * 2 - 1
    inside = torch.zeros(3, 1, side, side)
    inside[..., : side // 2] = 1
    parts = pipeline.text.category_embedding("toy")
    widths, norms = [len(part) for part in parts], [float(part.norm()) for part in parts]
    one = len(parts) == 1
    sizes = (pipeline.layers, widths[0] if one else widths, norms[0] if one else norms)
    words = ["<cat>", "<dog>"] if case == "two words" else ["<cat>"]
    masks = inside if case == "masks" else None
    subjects = [Subject(w, NeTIMapper(*sizes, seed=i), pictures, masks) for i, w in enumerate(words)]
    return NeTITask(pipeline, subjects, PersonalizeConfig(**CASES[case]))


def gradients(task: NeTITask, steps: tuple[int, ...] = (0,)) -> tuple[float, torch.Tensor]:
    """Of the sum of the losses of ``steps``: all forward passes come before the one backward pass."""
    losses = []
    for step in steps:
        draws = Draws(1, step, range(4))
        losses.append(task.loss(task.modules, task.batch(draws), draws)["loss"])
    total = torch.stack(losses).sum()
    total.backward()
    found = []
    for module in task.modules.values():
        found += [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        module.zero_grad()
    return float(total.detach()), torch.cat(found)


@pytest.mark.parametrize("case", list(CASES))
def test_gradients(expected: Callable[..., None], case: str) -> None:
    pipeline = NeTIPipeline.from_model("nano", device="cpu")
    with fed_by_argument(pipeline.unet):
        loss, found = gradients(made(pipeline, case))
    sampled = found[:: len(found) // 24]
    expected(case, [loss, float(found.norm()), *sampled.tolist()], rel=1e-3, abs=1e-3 * float(sampled.abs().max()))
