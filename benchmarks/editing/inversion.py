"""How well objects are found in single pictures: ``python -m benchmarks.editing.inversion [--objects 16]``.

Held-out shapes in held-out palettes from one picture of 64x64 pixels each, with the model's encoder and without
(``--without``): PSNR of renders of the found codes against the truth from four other views at 64x64, and how far the
found pose is off. Prints a table, writes its results after every row and a sheet of pictures. One
thread; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.editing.attributes import SIZE
from mappers.files import replacing
from mappers.picture_encoder import PictureEncoder
from mappers.quality import psnr
from nerf.cameras import degrees_between
from nerf.conditional import ConditionalModel
from nerf.conditional.families.splits import split_of
from nerf.conditional.inversion.inversion import InversionConfig, encoder_of, invert
from nerf.conditional.inversion.target_picture import Target

ROOT = Path(__file__).parents[2]
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


def main() -> None:
    parser = argparse.ArgumentParser(description="How well objects are found in single pictures.")
    parser.add_argument("models", nargs="*", default=["nano-chairs", "nano-cars"])
    parser.add_argument("--objects", type=int, default=16)
    parser.add_argument("--without", action="store_true", help="also without the encoder")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "editing" / "inversion.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "editing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    for name in arguments.models:
        model = ConditionalModel.load(name)
        for encoder in [encoder_of(name), *([None] if arguments.without else [])]:
            figures, objects = inversions(model, encoder, arguments.objects, InversionConfig())
            rows[name if encoder else f"{name}, no encoder"] = {k: round(v, 3) for k, v in figures.items()}
            if encoder:
                sheet(model, objects[:8], arguments.images / f"inversion_{model.family_name}.png")
            with replacing(arguments.output) as temporary:
                temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("| model | objects | PSNR from elsewhere | poses within 10 degrees | median error | seconds |")
    print("|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['objects']} | {row['psnr_other_views']:.1f} | {row['pose_within_10_degrees']:.0%}"
            f" | {row['median_pose_error']:.1f} | {row['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
