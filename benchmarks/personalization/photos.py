"""nano learns nine photographed things: ``python -m benchmarks.personalization.photos --photos DIR``.

``DIR`` is laid out as DreamBooth's photographs: a folder of pictures for each thing, and ``concepts.json`` with its
"class" and its "images". The last photo of each (two of five and more) is kept from the training and judges what is
drawn, beside the category word and beside the training photos. nano knows a painted world of 64 pixels, so little is
to be expected; the figures are published as they are. Goes on where it was interrupted. Writes
its results and a picture with a row for each thing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

import pipelines
from benchmarks.distillation.all_pairs import ROOT, Table
from mappers.yaml_settings import load_settings
from pipelines.images import load_images, square
from pipelines.personalization.domain_check import unexplained_variance
from pipelines.personalization.settings import EvaluateConfig, PersonalizeConfig
from pipelines.sheets import labelled_grid

PROMPTS = ("a photo of a {}", "a photo of a {} on the beach", "a photo of a {} in the snow", "a sketch of a {}")
SIDE = 64
"""Of nano's pictures."""
SHOWN = 2
"""Photos, and pictures of each prompt, in a row of the picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description="nano learns nine photographed things.")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "concept_photos")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "personalization" / "photos.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "personalization" / "photos.png")
    arguments = parser.parse_args()
    things = json.loads((arguments.photos / "concepts.json").read_text(encoding="utf-8"))
    config = load_settings(PersonalizeConfig, "nano", task="personalize")
    table = Table(arguments.output, {"prompts": str(len(PROMPTS)), "seeds": str(arguments.seeds)})
    rows = []
    for name, thing in tqdm(things.items(), unit="thing", desc="personalizing"):
        photos = load_images([arguments.photos / image for image in thing["images"]])
        kept = len(photos) - (2 if len(photos) > 4 else 1)
        folder, token = arguments.runs / name, f"<{name.replace('_', '-')}>"

        def measure(
            photos: list[Image.Image] = photos, kept: int = kept, folder: Path = folder, token: str = token,
            category: str = thing["class"],
        ) -> dict[str, float]:  # fmt: skip
            pipeline = pipelines.personalize(photos[:kept], token, category=category, output_dir=folder, config=config)
            wanted = EvaluateConfig(prompts=PROMPTS, seeds=arguments.seeds, truncations=())
            result = pipelines.evaluate(
                pipeline.concepts[token],
                photos[kept:],
                training=photos[:kept],
                output_dir=folder / "evaluation",
                config=wanted,
            )
            pixels = torch.stack([pipeline.image_processor.preprocess(square(p, SIDE))[0] for p in photos[:kept]])
            figures = {"photos": float(kept), "lost": 100 * float(unexplained_variance(pipeline.vae, pixels).mean())}
            for row, scores in result["scores"].items():
                figures |= {f"{row}: {score}": estimate["value"] for score, estimate in scores.items()}
            return figures

        table.cell(name, measure)
        sheet = Image.open(folder / "evaluation" / "samples.png")
        rows.append((name, [*(square(photo, SIDE) for photo in photos[:SHOWN]), *first_cells(sheet, arguments.seeds)]))
    labelled_grid(rows).save(arguments.picture)
    report(table)


def first_cells(sheet: Image.Image, seeds: int) -> list[Image.Image]:
    """The first pictures of each prompt out of the sheet of all."""
    boxes = [(SIDE * column, SIDE * row) for row in range(len(PROMPTS)) for column in range(min(seeds, SHOWN))]
    return [sheet.crop((x, y, x + SIDE, y + SIDE)) for x, y in boxes]


def report(table: Table) -> None:
    """A row for each thing, and their mean."""
    print("\n| thing | lost by the autoencoder | CLIP-I: word | category | photos | CLIP-T: word | category |")
    print("|---|---|---|---|---|---|---|")
    keys = ("lost", "word: clip_i", "category: clip_i", "training pictures: clip_i", "word: clip_t", "category: clip_t")
    rows: dict[str, Any] = dict(table.cells)
    rows["mean"] = {key: sum(cell[key] for cell in table.cells.values()) / len(table.cells) for key in keys}
    for name, row in rows.items():
        scores = " | ".join(f"{row[key]:.2f}" for key in keys[1:])
        print(f"| {name.replace('_', ' ')} | {row['lost']:.0f} % | {scores} |")


if __name__ == "__main__":
    main()
