"""How well objects are found in single pictures: ``python -m benchmarks.editing.inversion [--objects 16]``.

Held-out shapes in held-out palettes are inverted from one picture of 64x64 pixels each, with the model's encoder and
without it (``--without``). PSNR compares renders of the found codes with the truth from four other views at 64x64
pixels; the pose error is the angle between the found and the true camera. One thread; seconds are the processor's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.common.results import IMAGES, Results, Row, Table, result_path
from benchmarks.editing.attributes import SIZE
from mappers.command_line import run_script
from mappers.files import replacing
from mappers.picture_encoder import PictureEncoder
from mappers.quality import psnr
from nerf.cameras import degrees_between
from nerf.conditional import ConditionalModel
from nerf.conditional.families.splits import split_of
from nerf.conditional.inversion.inversion import InversionConfig, encoder_of, invert
from nerf.conditional.inversion.target_picture import Target

OUTPUT = result_path(__file__)
SEED = 17
Codes = tuple[Tensor, Tensor]


def inversions(
    model: ConditionalModel, encoder: PictureEncoder | None, count: int, config: InversionConfig
) -> tuple[dict[str, float], list[Codes]]:
    """Held-out objects from one picture each: PSNR from four other views against the truth, and pose errors."""
    family, generator = model.family, torch.Generator().manual_seed(SEED)
    split = split_of(family, len(model.shape_codes), len(model.appearance_codes))
    values, errors, codes, seconds = [], [], [], []
    for i in range(count):
        shape, palette = split.held_out_shapes[i : i + 1], split.held_out_palettes[i : i + 1]
        camera = family.cameras(1, config.size, generator)
        rgb, alpha, _ = family.render(shape, palette, camera)
        started = time.process_time()
        found = invert(model, Target(rgb[0], alpha[0]), config, encoder=encoder)
        seconds.append(time.process_time() - started)
        place = model.camera(found.azimuth, found.elevation, SIZE).positions[0]
        errors.append(float(degrees_between(place, camera.positions[0])))
        others = family.cameras(4, SIZE, generator)
        truth = family.render(shape.expand(4, -1), palette.expand(4, -1), others)[0]
        codes.append((found.shape_code, found.appearance_code))
        values += [psnr(model.render(*codes[-1], others[k]).color, truth[k]) for k in range(4)]
    within = sum(error <= 10 for error in errors) / count
    return {
        "psnr_other_views": sum(values) / len(values), "pose_within_10_degrees": within,
        "median_pose_error": float(torch.tensor(errors).median()), "seconds": sum(seconds) / count, "objects": count,
    }, codes  # fmt: skip


def sheet(model: ConditionalModel, objects: list[Codes], path: Path, size: int = 96) -> None:
    """Each object as it is, and as it was found, from the side that the picture showed and from another."""
    family, generator = model.family, torch.Generator().manual_seed(SEED)
    split = split_of(family, len(model.shape_codes), len(model.appearance_codes))
    figure = Figure(figsize=(1.6 * len(objects), 6.6), layout="constrained")
    axes = figure.subplots(4, len(objects), squeeze=False)
    for i, codes in enumerate(objects):
        seen = family.cameras(1, size, generator)
        others = family.cameras(4, size, generator)
        for row, camera in ((0, seen), (2, others[0])):
            shape, palette = split.held_out_shapes[i : i + 1], split.held_out_palettes[i : i + 1]
            axes[row, i].imshow(family.render(shape, palette, camera)[0][0].numpy())
            axes[row + 1, i].imshow(model.render(*codes, camera).color.clamp(0, 1).numpy())
    for row, name in enumerate(("picture", "found", "elsewhere", "found")):
        axes[row, 0].set_title(name, loc="left", fontsize=9)
    for one in axes.flat:
        one.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=80)


def main(models: tyro.conf.Positional[tuple[str, ...]] = ("nano-chairs", "nano-cars"), /, *, objects: int = 16,
         without: bool = False, output: Path = OUTPUT, images: Path = IMAGES / "editing") -> None:  # fmt: skip
    """Find held-out objects in single pictures.

    Args:
        models: Category models.
        objects: Objects of each model.
        without: Measure without the encoder, too.
        output: Results.
        images: Folder of the sheets of pictures.
    """
    torch.set_num_threads(1)
    results = Results(output)
    for name in models:
        model = ConditionalModel.load(name)
        for encoder in [encoder_of(name), *([None] if without else [])]:
            figures, codes = inversions(model, encoder, objects, InversionConfig())
            row = {key: round(value, 3) for key, value in figures.items()}
            results.put(name if encoder else f"{name}, no encoder", row)
            if encoder:
                sheet(model, codes[:8], images / f"inversion_{model.family_name}.png")
    results.report(table(results.rows))


def table(rows: Mapping[str, Row]) -> Table:
    """A row for each model."""
    lines = [
        [name, row["objects"], f"{row['psnr_other_views']:.1f}", f"{row['pose_within_10_degrees']:.0%}",
         f"{row['median_pose_error']:.1f}", f"{row['seconds']:.0f}"]
        for name, row in rows.items()
    ]  # fmt: skip
    columns = ["model", "objects", "PSNR from other views, dB", "poses within 10 degrees", "median error in degrees",
               "seconds"]  # fmt: skip
    return Table("Objects found in one picture", columns, lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
