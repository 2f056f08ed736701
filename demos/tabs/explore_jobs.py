"""What the tab Explore does: pictures of a family of prompts, drawn and clustered in the worker; no page in here."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from . import treemap
from .personalize_jobs import loaded
from .treemap import Tree

PROMPTS = "\n".join(f"a photo of a {thing} {place}" for thing, place in product(
    ("bell", "dog", "train"), ("on the beach", "in the snow")
))  # fmt: skip
MOST = 64
"""Pictures of a map: on nano about a third of a second of a core each."""
SHEET = (960, 640)
"""Pixels of the map."""


def gather(
    prompts: list[str], count: int, denoising_steps: int, seed: int, concept: str | None, models: tuple[str, ...],
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Draw pictures, embed them and join the most alike, step by step; runs in the worker."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    pictures, captions = [], []
    with loaded(concept, models=models) as (pipeline, _):
        for i, prompt in enumerate(prompts):
            pictures += pipeline(
                prompt, num_inference_steps=denoising_steps, guidance_scale=5.0, num_images_per_prompt=count,
                generator=torch.Generator().manual_seed(seed),
            ).images  # fmt: skip
            captions += [prompt] * count
            with (folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": i + 1}) + "\n")
    names = [f"{i:03d}.png" for i in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        picture.save(folder / name)
    merges = join(_judge().embed_images["clip_i"](pictures))
    (folder / "tree.json").write_text(json.dumps({"pictures": names, "captions": captions, "merges": merges}))
    tree, pictures = read(folder)
    treemap.draw(tree, tree.root, pictures, *SHEET).save(folder / "map.png")
    return {"thumbnail": str(folder / "map.png")}


@lru_cache(maxsize=1)
def _judge() -> Any:
    from pipelines import Judges

    return Judges("nano-clip", None, "cpu")


def join(embeddings: Any) -> list[tuple[int, int, float]]:
    """Ward's clustering of unit embeddings: nodes joined, and at what height."""
    from scipy.cluster.hierarchy import linkage

    return [(int(a), int(b), float(height)) for a, b, height, _ in linkage(embeddings, method="ward")]


@lru_cache(maxsize=16)
def read(folder: Path) -> tuple[Tree, list[Any]]:
    from PIL import Image

    saved = json.loads((folder / "tree.json").read_text(encoding="utf-8"))
    pictures = []
    for name in saved["pictures"]:
        with Image.open(folder / name) as opened:
            pictures.append(opened.convert("RGB"))
    return Tree(saved["captions"], [(a, b, height) for a, b, height in saved["merges"]]), pictures
