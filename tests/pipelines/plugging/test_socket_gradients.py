"""Gradients of a word through the sockets: those of before, and the same under gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mappers.neti import NeTIMapper
from mappers.training.draws import Draws
from pipelines.personalization.attention import context_attention
from pipelines.personalization.pipeline import NeTIPipeline
from pipelines.personalization.settings import PersonalizeConfig
from pipelines.personalization.subjects import Subject
from pipelines.personalization.task import NeTITask

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
def test_nano(expected: Callable[..., None], case: str) -> None:
    pipeline = NeTIPipeline.from_model("nano", device="cpu")
    with context_attention(pipeline.unet):
        loss, found = gradients(made(pipeline, case))
    sampled = found[:: len(found) // 24]
    expected(case, [loss, float(found.norm()), *sampled.tolist()], rel=1e-3, abs=1e-3 * float(sampled.abs().max()))
