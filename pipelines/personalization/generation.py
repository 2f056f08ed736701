"""Pictures of a prompt as one file: what ``mapfield generate`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.utils import make_image_grid
from PIL import Image, PngImagePlugin

from mappers.options import declared_by

from ..images import load_images
from .concepts import load_concept
from .options import GenerateOptions
from .pipeline import NeTIPipeline


@declared_by(GenerateOptions)
def generate(
    prompt: str,
    output: Path,
    *,
    concepts: Sequence[Path] = (),
    model: str | None = None,
    count: int = 4,
    seed: int = 0,
    steps: int = 30,
    guidance_scale: float = 5.0,
    negative_prompt: str | None = None,
    truncation: int | None = None,
    regions: Mapping[str, Path] | None = None,
    image: Path | None = None,
    mask: Path | None = None,
    strength: float = 0.8,
) -> Image.Image:
    """Generate ``count`` pictures of ``prompt`` and write them as one PNG, which carries prompt and seed.

    ``regions`` and ``mask`` are files of masks, ``image`` that of a picture to draw over; see `NeTIPipeline`.

    Raises:
        FileNotFoundError, ValueError: a concept or argument cannot be used, or the prompt has none of the
            loaded words; the message says why.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    loaded = [load_concept(path) for path in concepts]
    base = model or (loaded[0].model if loaded else "") or "nano"
    pipeline = NeTIPipeline.from_model(base)
    tokens = [pipeline.load_concept(concept) for concept in loaded]
    if tokens and not any(token in prompt for token in tokens):
        raise ValueError(f"the prompt {prompt!r} has none of the learned words {', '.join(tokens)} in it; add one")
    pictures = pipeline(
        prompt,
        negative_prompt=negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        num_images_per_prompt=count,
        truncation=truncation,
        regions={word: _opened(path) for word, path in (regions or {}).items()},
        image=image and _opened(image),
        mask=mask and _opened(mask),
        strength=strength,
        generator=torch.Generator().manual_seed(seed),
    ).images
    columns = math.ceil(count**0.5)
    blank = Image.new("RGB", pictures[0].size, "white")
    pictures += [blank] * (-count % columns)
    grid = make_image_grid(pictures, rows=len(pictures) // columns, cols=columns)
    about = PngImagePlugin.PngInfo()
    about.add_text("prompt", prompt)
    about.add_text("seed", str(seed))
    output.parent.mkdir(parents=True, exist_ok=True)
    grid.save(output, format="PNG", pnginfo=about)
    return grid


def _opened(path: Path) -> Image.Image:
    return load_images([path])[0]
