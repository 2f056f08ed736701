"""Measures the embedded text-to-image model: ``python -m benchmarks.nano.pictures [--samples 2]``.

The autoencoder by PSNR on the held-out objects, the whole model by whether an independent classifier
(``nano_classifier.py``) names what the prompt asked for. Prints a table, writes its results and a sheet
of uncurated samples. All seeds are fresh: no training drew from them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from tqdm import tqdm

from benchmarks.nano.picture_judge import accuracy, load_classifier
from mappers.hub import resolve
from pipelines.nano import world
from pipelines.nano.recipes.vae import pictures_of, psnr_per_picture

SEED = 5_000_011
STEPS, GUIDANCE = 25, 4.0
ROOT = Path(__file__).parents[2]


def vae_psnr(pipeline: StableDiffusionPipeline, count: int = 230) -> float:
    """Mean PSNR in dB of reconstructed pictures of held-out objects."""
    names = [info.name for info in world.objects("held-out")]
    pictures = pictures_of(world.scenes_of([names[i % len(names)] for i in range(count)], seed=SEED))
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(pictures).latent_dist.mode()).sample
    return psnr_per_picture(decoded, pictures).mean().item()


def wanted(samples: int) -> list[world.Scene]:
    """Every trained name ``samples`` times: one object, no style, half tinted, places and grounds at random."""
    rng = np.random.default_rng(SEED)
    scenes = []
    for i, name in enumerate(world.SUBSET * samples):
        tint = list(world.COLORS)[rng.integers(len(world.COLORS))] if i % 2 else None
        scenes.append(world.sample_scene(rng, [name], tint=tint, count=1, style=None))
    return scenes


def prompt_of(scene: world.Scene) -> str:
    """The plainest caption that says everything about ``scene``."""
    return f"a photo of {world.subject(scene.object, scene.tint)} {world.where(scene.place, scene.color)}"


def sample(pipeline: StableDiffusionPipeline, prompts: list[str], batch: int = 32) -> torch.Tensor:
    """One picture per prompt, [n, 3, 64, 64] in [-1, 1]; each has its own noise."""
    parts = []
    for first in tqdm(range(0, len(prompts), batch), unit="batch", desc="sampling"):
        part = prompts[first : first + batch]
        noise = [torch.Generator().manual_seed(SEED + first + i) for i in range(len(part))]
        parts.append(
            pipeline(part, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=noise, output_type="pt").images
        )
    return torch.cat(parts) * 2 - 1


def sheet(pictures: torch.Tensor, prompts: list[str], columns: int = 8) -> Image.Image:
    """Pictures above the prompts that asked for them."""
    cell, label = 128, 36
    rows = -(-len(prompts) // columns)
    page = Image.new("RGB", (columns * cell, rows * (cell + label)), "white")
    draw = ImageDraw.Draw(page)
    for i, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        left, top = i % columns * cell, i // columns * (cell + label)
        pixels = ((picture.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
        page.paste(Image.fromarray(pixels).resize((cell, cell), Image.Resampling.LANCZOS), (left, top))
        words = prompt.removeprefix("a photo of ").replace(" on ", "\non ").replace(" in ", "\nin ")
        draw.text((left + 3, top + cell + 2), words, fill="black")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the embedded text-to-image model.")
    parser.add_argument("--samples", type=int, default=2, help="pictures of each of the 128 names")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "nano" / "pictures.json")
    parser.add_argument("--sheet", type=Path, default=ROOT / "docs" / "images" / "nano" / "pictures.png")
    arguments = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(resolve(arguments.model, "text-to-image"))
    pipeline.set_progress_bar_config(disable=True)
    judge = load_classifier()

    scenes = wanted(arguments.samples)
    prompts = [prompt_of(scene) for scene in scenes]
    pictures = sample(pipeline, prompts)
    generated = accuracy(judge, pictures, scenes)
    renders = accuracy(judge, pictures_of(scenes), scenes)
    tinted = [i for i, scene in enumerate(scenes) if scene.tint]
    result = {
        "vae_psnr_db": round(vae_psnr(pipeline), 2),
        "pictures": len(scenes),
        "steps": STEPS,
        "guidance": GUIDANCE,
    }
    for label, right in (("generated", generated), ("renders", renders)):
        result[label] = {
            "object": round(float(np.mean(right["object"])), 3),
            "surroundings": round(float(np.mean(right["surroundings"])), 3),
            "tint": round(float(np.mean([right["tint"][i] for i in tinted])), 3),
        }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sheet(pictures[:64], prompts[:64]).quantize(256).save(arguments.sheet, optimize=True)
    print(f"autoencoder, held-out objects: {result['vae_psnr_db']} dB")
    print(f"{len(scenes)} pictures     object  surroundings  tint")
    for label in ("generated", "renders"):
        row = result[label]
        print(f"{label:12s}    {row['object']:6.1%}  {row['surroundings']:12.1%}  {row['tint']:4.1%}")


if __name__ == "__main__":
    main()
