"""nano learns nine photographed things: ``python -m benchmarks.personalization.photos --photos DIR``.

``DIR`` is laid out as DreamBooth's photographs: a folder of pictures for each thing, and ``concepts.json`` with its
"class" and its "images". The last photo of each thing (the last two of five and more) is kept from the training, and
generated pictures are compared with it, as are those of the category word and the training photos. nano was trained on
a painted world of 64 pixels, so little is to be expected; the figures are published as they are. The picture has a row
for each thing.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

import pipelines
from benchmarks.common.results import IMAGES, RUNS, Results, Row, Table, result_path
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from pipelines.images import load_images, square
from pipelines.personalization.domain_check import unexplained_variance
from pipelines.personalization.settings import EvaluateConfig, PersonalizeConfig
from pipelines.sheets import labelled_grid

OUTPUT = result_path(__file__)
PROMPTS = ("a photo of a {}", "a photo of a {} on the beach", "a photo of a {} in the snow", "a sketch of a {}")
SIDE = 64
"""Of nano's pictures."""
SHOWN = 2
"""Photos, and pictures of each prompt, in a row of the picture."""


def main(*, photos: Path, seeds: int = 4, runs: Path = RUNS / "concept_photos", output: Path = OUTPUT,
         picture: Path = IMAGES / "personalization" / "photos.png") -> None:  # fmt: skip
    """Personalize nano with photographs and measure it on photos that it was not trained on.

    Args:
        photos: Folder of DreamBooth's photographs with concepts.json.
        seeds: Pictures of each prompt.
        runs: Folder of the trainings.
        output: Results.
        picture: Picture of the things.
    """
    things = json.loads((photos / "concepts.json").read_text(encoding="utf-8"))
    results = Results(output, {"prompts": len(PROMPTS), "seeds": seeds})
    rows = []
    for name, thing in tqdm(things.items(), unit="thing", desc="personalizing"):
        pictures = load_images([photos / image for image in thing["images"]])
        results.row(name, lambda name=name, pictures=pictures, category=thing["class"]: measure(
            pictures, f"<{name.replace('_', '-')}>", category, seeds, runs / name
        ))  # fmt: skip
        sheet = Image.open(runs / name / "evaluation" / "samples.png")
        rows.append((name, [*(square(photo, SIDE) for photo in pictures[:SHOWN]), *first_cells(sheet, seeds)]))
    labelled_grid(rows).save(picture)
    results.report(table(results.rows))


def measure(photos: list[Image.Image], token: str, category: str, seeds: int, folder: Path) -> Row:
    """Personalize nano with all photos but the last, and evaluate on the last."""
    kept = len(photos) - (2 if len(photos) > 4 else 1)
    config = load_settings(PersonalizeConfig, "nano", task="personalize")
    pipeline = pipelines.personalize(photos[:kept], token, category=category, output_dir=folder, config=config)
    result = pipelines.evaluate(
        pipeline.concepts[token], photos[kept:], training=photos[:kept], output_dir=folder / "evaluation",
        config=EvaluateConfig(prompts=PROMPTS, seeds=seeds, truncations=()),
    )  # fmt: skip
    pixels = torch.stack([pipeline.image_processor.preprocess(square(photo, SIDE))[0] for photo in photos[:kept]])
    lost = 100 * float(unexplained_variance(pipeline.vae, pixels).mean())
    figures = {"photos": kept, "lost": round(lost, 2)}
    for row, scores in result["scores"].items():
        figures |= {f"{row}: {score}": round(estimate["value"], 2) for score, estimate in scores.items()}
    return figures


def first_cells(sheet: Image.Image, seeds: int) -> list[Image.Image]:
    """The first pictures of each prompt out of the sheet of all."""
    boxes = [(SIDE * column, SIDE * row) for row in range(len(PROMPTS)) for column in range(min(seeds, SHOWN))]
    return [sheet.crop((x, y, x + SIDE, y + SIDE)) for x, y in boxes]


def table(rows: dict[str, Row]) -> Table:
    """A row for each thing, and their mean."""
    keys = ("lost", "word: clip_i", "category: clip_i", "training pictures: clip_i", "word: clip_t", "category: clip_t")
    mean = {key: sum(row[key] for row in rows.values()) / len(rows) for key in keys}
    lines = [
        [name.replace("_", " "), f"{row['lost']:.0f} %", *(f"{row[key]:.2f}" for key in keys[1:])]
        for name, row in {**rows, "mean": mean}.items()
    ]
    columns = ["thing", "lost by the autoencoder", "CLIP-I: word", "category", "training photos", "CLIP-T: word",
               "category"]  # fmt: skip
    return Table("Photographed things", columns, lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
