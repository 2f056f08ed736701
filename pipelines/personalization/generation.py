"""Pictures of a prompt as one file: what ``mapfield generate`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
from diffusers.utils import make_image_grid
from PIL import Image, PngImagePlugin

from mappers.files import check_outputs, replacing, writable_folder
from mappers.options import declared_by

from ..images import load_images
from .concept_hub import from_pretrained
from .concepts import Concept
from .inpainting import steps_for_strength
from .options import GenerateOptions, SchedulerName
from .pipeline import NeTIPipeline
from .tokens import split_at_tokens

SCHEDULERS: dict[SchedulerName, Any] = {
    "ddim": diffusers.DDIMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "dpm": diffusers.DPMSolverMultistepScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler-ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "heun": diffusers.HeunDiscreteScheduler,
    "lcm": diffusers.LCMScheduler,
    "pndm": diffusers.PNDMScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}


@declared_by(GenerateOptions)
def generate(
    prompt: str,
    output: Path,
    *,
    concepts: Sequence[str | Path] = (),
    model: str | None = None,
    model_config: str | None = None,
    any_base: bool = False,
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
    height: int | None = None,
    width: int | None = None,
    scheduler: SchedulerName | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    device: str | None = None,
) -> Image.Image:
    """Generate ``count`` pictures of ``prompt`` and write them as one PNG, which carries prompt and seed.

    ``regions`` and ``mask`` are files of masks, ``image`` that of a picture to draw over; see `NeTIPipeline`.

    Raises:
        FileNotFoundError, ValueError: a concept or argument cannot be used, or the prompt has none of the words.
        FileExistsError, OSError: ``output`` exists, or cannot be written.
    """
    _check_numbers(count, steps, guidance_scale, seed, None if image is None else strength)
    pictures_read = {path: _opened(path) for path in (*(regions or {}).values(), image, mask) if path is not None}
    output = _output(Path(output).expanduser(), inputs=[*map(Path, concepts), *pictures_read], overwrite=overwrite)
    loaded = [from_pretrained(source) for source in concepts]
    pipeline = base_of(loaded, model, model_config, dtype=getattr(torch, dtype), device=device)
    if scheduler is not None:
        pipeline.scheduler = SCHEDULERS[scheduler].from_config(pipeline.scheduler.config)
    tokens = [pipeline.load_concept(concept, any_base=any_base) for concept in loaded]
    if tokens and all(token is None for _, token in split_at_tokens(prompt, tokens)):
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
        height=height,
        width=width,
        generator=torch.Generator().manual_seed(seed),
    ).images
    return _write(_grid(pictures), output, prompt, seed)


def _write(grid: Image.Image, output: Path, prompt: str, seed: int) -> Image.Image:
    about = PngImagePlugin.PngInfo()
    about.add_text("prompt", prompt)
    about.add_text("seed", str(seed))
    with replacing(output) as temporary:
        grid.save(temporary, format="PNG", pnginfo=about)
    return grid


def base_of(
    concepts: Sequence[Concept], model: str | Path | None, config: str | None = None, **options: Any
) -> NeTIPipeline:
    """The base model to use with ``concepts``: ``model``, or else that of the first one, or else nano.

    Args:
        concepts: learned words.
        model: as `NeTIPipeline.from_model` takes it; None takes the concept's.
        config: of a model in a single file.
        options: device and dtype.

    Raises:
        FileNotFoundError: there is no such model; of a concept's the message says that another place can be given.
    """
    try:
        base = model or (concepts[0].model if concepts else "") or "nano"
        return NeTIPipeline.from_model(base, config=config, **options)
    except FileNotFoundError as error:
        if model or not concepts:
            raise
        raise FileNotFoundError(
            f"the word {concepts[0].token} was learned on {base!r}, which is not found here; say with --model where "
            "that model is"
        ) from error


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


def _check_numbers(count: int, steps: int, guidance_scale: float, seed: int, strength: float | None) -> None:
    """Refuse numbers that no model can use.

    Raises:
        ValueError: one is out of range; the message says which.
    """
    for name, value in (("count", count), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale must be a finite number, got {guidance_scale}")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be in 0..2^63 - 1, got {seed}")
    if strength is not None:
        steps_for_strength(steps, strength)


def _opened(path: Path) -> Image.Image:
    return load_images([path])[0]
