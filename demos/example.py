"""Show the embedded model four pictures of an object that it has never seen, and put that object in new places."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import pipelines
from pipelines.nano import world

OBJECT, TOKEN = "teapot", "<new-thing>"
MARK = ".mapfield-demo"
"""File by which a folder is known as an earlier demo; hidden, so that a training takes the folder for an empty one."""
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

    Raises:
        ValueError: the folder holds files that are not of an earlier demo.
    """
    inputs = world.render_all(world.reference_scenes(OBJECT))
    _make_room(output)
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
    unfinished = path.with_name(f".{path.name}")
    pipelines.labelled_grid(rows).save(unfinished, format="PNG")
    unfinished.replace(path)
    print(f"look at {path}: four pictures of an unseen object on top, the learned object in new places below")
    return path


def _make_room(output: Path) -> None:
    """Make the folder; an earlier demo there is deleted, anything else is not."""
    if output.is_dir() and any(output.iterdir()) and not (output / MARK).is_file():
        raise ValueError(f"{output} holds files that are not of an earlier demo; choose another output folder")
    if output.is_dir():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    (output / MARK).write_text(
        "mapfield demo made this folder, and replaces it when it runs again.\n", encoding="utf-8"
    )
