"""Pictures of a prompt as one file: what ``mapfield generate`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers.utils import make_image_grid
from PIL import Image, PngImagePlugin

from mappers.files import check_outputs, replacing, writable_folder
from mappers.options import declared_by

from ..images import load_images
from .concepts import load_concept
from .inpainting import steps_for_strength
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
    overwrite: bool = False,
) -> Image.Image:
    """Generate ``count`` pictures of ``prompt`` and write them as one PNG, which carries prompt and seed.

    ``regions`` and ``mask`` are files of masks, ``image`` that of a picture to draw over; see `NeTIPipeline`.

    Raises:
        FileNotFoundError, ValueError: a concept or argument cannot be used, or the prompt has none of the
            loaded words; the message says why.
        FileExistsError: ``output`` exists.
        OSError: ``output`` cannot be written.
    """
    _check_numbers(count, steps, guidance_scale)
    steps_for_strength(steps, strength)
    pictures_read = {path: _opened(path) for path in (*(regions or {}).values(), image, mask) if path is not None}
    output = _output(Path(output).expanduser(), inputs=[*concepts, *pictures_read], overwrite=overwrite)
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
        regions={word: pictures_read[path] for word, path in (regions or {}).items()},
        image=image and pictures_read[image],
        mask=mask and pictures_read[mask],
        strength=strength,
        generator=torch.Generator().manual_seed(seed),
    ).images
    grid = _grid(pictures)
    about = PngImagePlugin.PngInfo()
    about.add_text("prompt", prompt)
    about.add_text("seed", str(seed))
    with replacing(output) as temporary:
        grid.save(temporary, format="PNG", pnginfo=about)
    return grid


def _output(output: Path, *, inputs: Sequence[Path], overwrite: bool) -> Path:
    """The file to write, which has the right ending, replaces nothing, and is in a folder that can be written to."""
    if output.suffix.lower() != ".png":
        raise ValueError(f"pictures are written as .png, got {output.name}; choose this ending")
    check_outputs([output], inputs=inputs, overwrite=overwrite)
    writable_folder(output.parent)
    return output


def _grid(pictures: list[Image.Image]) -> Image.Image:
    """All pictures in rows of about as many as there are rows; white where none is left."""
    columns = math.ceil(len(pictures) ** 0.5)
    blank = Image.new("RGB", pictures[0].size, "white")
    pictures = pictures + [blank] * (-len(pictures) % columns)
    return make_image_grid(pictures, rows=len(pictures) // columns, cols=columns)


def _check_numbers(count: int, steps: int, guidance_scale: float) -> None:
    """Refuse numbers that no model can use.

    Raises:
        ValueError: one is out of range; the message says which.
    """
    for name, value in (("count", count), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")


def _opened(path: Path) -> Image.Image:
    return load_images([path])[0]
