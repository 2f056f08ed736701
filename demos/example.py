"""Show the embedded model four pictures of an object that it has never seen, and put that object in new places."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import pipelines
from pipelines.nano import world

OBJECT, TOKEN = "teapot", "<new-thing>"
SCENES = (
    "on the beach",
    "in the snow",
    "in the night sky",
    "in the meadow",
    "on a yellow ground",
    "on blue stripes",
)


def run(output: Path) -> Path:
    """Learn the object and draw it; writes ``grid.png`` and all that `pipelines.personalize` writes.

    Returns:
        The path of the grid: the four pictures on top, then one row of samples for each new place.
    """
    inputs = world.render_all(world.reference_scenes(OBJECT))
    if output.exists():
        shutil.rmtree(output)
    pipeline = pipelines.personalize(inputs, TOKEN, category=world.find_object(OBJECT).category, output_dir=output)
    rows = [("the four pictures it learns from", inputs)]
    for place in SCENES:
        prompt = f"a photo of a {TOKEN} {place}"
        samples = pipeline(
            prompt,
            num_inference_steps=30,
            guidance_scale=5.0,
            num_images_per_prompt=4,
            generator=torch.Generator().manual_seed(0),
        ).images
        rows.append((prompt, samples))
    path = output / "grid.png"
    pipelines.labelled_grid(rows).save(path)
    print(f"look at {path}: four pictures of an unseen object on top, the learned object in new places below")
    return path
