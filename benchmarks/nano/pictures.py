"""Quality of nano's pictures: ``python -m benchmarks.nano.pictures [--samples 2]``.

The autoencoder is measured by PSNR on the held-out objects, the whole model by whether an independent classifier
(`benchmarks.nano.picture_judge`) names what the prompt asks for; renders of the same scenes show what the classifier
itself can do. The sheet shows uncurated samples. All seeds are fresh: no training drew from them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from tqdm import tqdm

from benchmarks.common.results import IMAGES, Results, Row, Table, result_path
from benchmarks.nano.picture_judge import accuracy, load_classifier
from mappers.command_line import run_script
from mappers.hub import resolve
from pipelines.nano import world
from pipelines.nano.recipes.vae import pictures_of, psnr_per_picture

OUTPUT = result_path(__file__)
SEED = 5_000_011
STEPS, GUIDANCE = 25, 4.0


def vae_psnr(pipeline: StableDiffusionPipeline, count: int = 230) -> float:
    """Mean PSNR in dB of reconstructed pictures of held-out objects."""
    names = [info.name for info in world.objects("held-out")]
    pictures = pictures_of(world.scenes_of([names[i % len(names)] for i in range(count)], seed=SEED))
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(pictures).latent_dist.mode()).sample
    return psnr_per_picture(decoded, pictures).mean().item()


def test_scenes(samples: int) -> list[world.Scene]:
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


def main(*, samples: int = 2, model: str = "nano", output: Path = OUTPUT,
         picture: Path = IMAGES / "nano" / "pictures.png") -> None:  # fmt: skip
    """Measure nano's autoencoder and its text-to-image model.

    Args:
        samples: Pictures of each of the 128 names.
        model: Text-to-image model.
        output: Results.
        picture: Sheet of samples.
    """
    pipeline = StableDiffusionPipeline.from_pretrained(resolve(model, "text-to-image"))
    pipeline.set_progress_bar_config(disable=True)
    judge = load_classifier()
    scenes = test_scenes(samples)
    prompts = [prompt_of(scene) for scene in scenes]
    results = Results(output, {"pictures": len(scenes), "steps": STEPS, "guidance": GUIDANCE})
    results.row("autoencoder", lambda: {"psnr": round(vae_psnr(pipeline), 2)})
    pictures = sample(pipeline, prompts)
    sheet(pictures[:64], prompts[:64]).quantize(256).save(picture, optimize=True)
    results.row("generated", lambda: shares(accuracy(judge, pictures, scenes), scenes))
    results.row("renders", lambda: shares(accuracy(judge, pictures_of(scenes), scenes), scenes))
    results.report(*tables(results.rows))


def shares(right: dict[str, list[bool]], scenes: list[world.Scene]) -> Row:
    """Shares of pictures whose object, surroundings and (where one was asked for) tint are right."""
    tinted = [i for i, scene in enumerate(scenes) if scene.tint]
    return {
        "object": round(float(np.mean(right["object"])), 3),
        "surroundings": round(float(np.mean(right["surroundings"])), 3),
        "tint": round(float(np.mean([right["tint"][i] for i in tinted])), 3),
    }


def tables(rows: dict[str, Row]) -> list[Table]:
    """The autoencoder, and the shares that the classifier names."""
    lines = [
        [name, *(f"{rows[name][key]:.1%}" for key in ("object", "surroundings", "tint"))]
        for name in ("generated", "renders")
    ]
    return [
        Table("Autoencoder, held-out objects", ["PSNR in dB"], [[rows["autoencoder"]["psnr"]]]),
        Table("Pictures that the classifier names", ["pictures", "object", "surroundings", "tint"], lines),
    ]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
