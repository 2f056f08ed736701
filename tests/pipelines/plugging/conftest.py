"""Stock pipelines of diffusers on the tiny models, and words for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from mappers.neti import NeTIMapper, TextualInversionMapper
from pipelines.personalization.concepts import Concept
from pipelines.personalization.contexts import ContextTable
from pipelines.personalization.text_encoding import TextEncoders
from pipelines.plugging.fingerprint import fingerprint
from pipelines.plugging.prompts import MIDDLE
from pipelines.plugging.sites import cross_attentions


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return pipe


@pytest.fixture
def stock(tiny_model: Path) -> StableDiffusionPipeline:
    return quiet(StableDiffusionPipeline.from_pretrained(tiny_model))


@pytest.fixture
def stock_xl(tiny_sdxl: Path) -> StableDiffusionXLPipeline:
    return quiet(StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False))


def texts(pipe: Any) -> TextEncoders:
    if getattr(pipe, "text_encoder_2", None) is None:
        return TextEncoders([pipe.tokenizer], [pipe.text_encoder])
    return TextEncoders([pipe.tokenizer, pipe.tokenizer_2], [pipe.text_encoder, pipe.text_encoder_2])


def learned(pipe: Any, token: str = "<cat>", *, layers: int | None = None, seed: int = 3) -> Concept:
    """A random word that differs by layer and timestep."""
    text, found = texts(pipe), len(cross_attentions(pipe.unet))
    widths = text.widths if len(text.widths) > 1 else text.widths[0]
    norms = [20.0] * len(text.widths) if len(text.widths) > 1 else 20.0
    mapper = NeTIMapper(layers or found, widths, norms, seed=seed).eval().requires_grad_(False)
    return Concept(token, "toy", mapper, fingerprint(pipe.unet, text.encoders, found), "tiny")


def ordinary(pipe: Any, word: str = "beach", token: str = "<cat>") -> Concept:
    """A word that has an ordinary word's vectors, so that it has to draw what the ordinary word draws."""
    text, found = texts(pipe), len(cross_attentions(pipe.unet))
    widths = text.widths if len(text.widths) > 1 else text.widths[0]
    norms = [1.0] * len(text.widths) if len(text.widths) > 1 else 1.0
    mapper = TextualInversionMapper(found, widths, norms, per_layer=True)
    mapper.start_at(torch.cat(text.category_embedding(word)))
    base = fingerprint(pipe.unet, text.encoders, found)
    return Concept(token, "toy", mapper.requires_grad_(False), base, "tiny")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``encode_prompt`` returns for words is useless but for being recognized: only fed sites draw the word."""
    at = ContextTable.at

    def noisy(table: ContextTable, timestep: float, following: Any = ()) -> Any:
        made = at(table, timestep, following)
        if timestep != MIDDLE:
            return made
        noise = torch.randn(made.keys.shape, generator=torch.Generator().manual_seed(1))
        return made._replace(keys=made.keys + 3 * noise.to(made.keys))

    monkeypatch.setattr(ContextTable, "at", noisy)


def latents(pipe: Any, prompt: str | list[str], **options: Any) -> torch.Tensor:
    options = {"num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "latent", **options}
    made = pipe(prompt, generator=torch.Generator().manual_seed(0), **options)
    return made.frames if hasattr(made, "frames") else made.images


Draw = Callable[[Any, str], torch.Tensor]


def check_word(pipe: Any, draw: Draw) -> None:
    """The plugged word draws what the ordinary word draws, its category something else; unplugged it is gone."""
    want, category = draw(pipe, "beach"), draw(pipe, "toy")
    assert (want - category).abs().max() > 0.01
    socket = ordinary(pipe).plug(pipe)
    torch.testing.assert_close(draw(pipe, "<cat>"), want, atol=2e-5, rtol=1e-4)
    socket.unplug()
    assert torch.equal(draw(pipe, "beach"), want)


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def half(*, left: bool = True) -> Image.Image:
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32) if left else (16, 0, 32, 32))
    return mask
