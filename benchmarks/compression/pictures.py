"""The codec beside Pillow's: ``python -m benchmarks.compression.pictures --data DIR [--count 64]``.

Held-out 32x32 pictures of ``DIR/natural32``, all in one file for every codec: ours packs them, the others get them
tiled into one picture. Sizes are those of files, quality is the mean PSNR of single pictures after decoding. Prints a
table, writes its results and the curves as ``docs/images/compression/pictures.png``.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from mappers.quality import psnr
from nerf.compression import compress
from nerf.compression.learning.datasets import training_data

ROOT = Path(__file__).parents[2]
SIDE = 32
RATES = (0.25, 0.5, 1.0)
"""Bits per pixel of the files."""
SEED = 1
Point = tuple[float, float]
"""Bits per pixel and PSNR in dB."""


def chosen(data: Path, count: int) -> list[UInt8[np.ndarray, "32 32 3"]]:
    """Random held-out pictures."""
    values = torch.stack(training_data("natural32", data, held_out=True))
    picked = np.random.default_rng(SEED).choice(len(values), count, replace=False)
    return list(((values[picked] + 0.5) * 255).round().byte().permute(0, 2, 3, 1).numpy())


def tiled(pictures: list[UInt8[np.ndarray, "32 32 3"]]) -> Image.Image:
    """All in one picture, as square as can be."""
    columns = math.ceil(math.sqrt(len(pictures)))
    page = Image.new("RGB", (columns * SIDE, -(-len(pictures) // columns) * SIDE))
    for place, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (place % columns * SIDE, place // columns * SIDE))
    return page


def encodings(page: Image.Image) -> Iterator[tuple[str, int, UInt8[np.ndarray, "h w 3"]]]:
    """Name, bytes and decoded pixels of a picture in every setting of every other codec."""
    for name, kind, options in settings():
        file = io.BytesIO()
        page.save(file, kind, **options)
        yield name, len(file.getvalue()), np.asarray(Image.open(file).convert("RGB"))


def settings() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Name, Pillow's format and options of every setting of every codec."""
    for quality in range(1, 96, 2):
        yield "JPEG", "JPEG", {"quality": quality, "optimize": True}
        yield "WebP", "WEBP", {"quality": quality, "method": 6}
        yield "AVIF", "AVIF", {"quality": quality, "subsampling": "4:4:4", "speed": 4}
    for ratio in np.geomspace(12, 200, 30):
        yield "JPEG 2000", "JPEG2000", {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True}


def curves(pictures: list[UInt8[np.ndarray, "32 32 3"]]) -> dict[str, list[Point]]:
    """Every codec's points, by bits per pixel."""
    page, found = tiled(pictures), {}
    columns = page.width // SIDE
    for name, size, decoded in encodings(page):
        parts = [
            psnr(decoded[top : top + SIDE, left : left + SIDE], picture)
            for place, picture in enumerate(pictures)
            for top, left in [(place // columns * SIDE, place % columns * SIDE)]
        ]
        rate = 8 * size / (len(pictures) * SIDE**2)
        found.setdefault(name, []).append((rate, float(np.mean(parts))))
    return {name: sorted(points) for name, points in found.items()}


def at(points: list[Point], rate: float) -> float | None:
    """PSNR of a curve at a rate, between its neighbours; None outside of it."""
    rates, quality = (np.array(values) for values in zip(*sorted(points), strict=True))
    if not rates.min() <= rate <= rates.max():
        return None
    return float(np.interp(rate, rates, np.maximum.accumulate(quality)))


def plot(points: dict[str, list[Point]], path: Path, *, most: float = 1.25) -> None:
    """PSNR over bits per pixel, up to ``most``."""
    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in points.items():
        ours = name == "mapfield"
        inside = [value for value in values if value[0] < 1.05 * most]
        if not inside:
            continue
        axes.plot(*zip(*inside, strict=True), marker="o" if ours else None, linewidth=2.5 if ours else 1, label=name)
    axes.set(xlabel="bits per pixel of the file", ylabel="PSNR in dB", xlim=(0, most))
    axes.legend()
    figure.savefig(path)


def side_by_side(pictures: dict[str, UInt8[np.ndarray, "h w 3"]]) -> Image.Image:
    """Pictures of one size in a row, with their names."""
    height, width = next(iter(pictures.values())).shape[:2]
    page = Image.new("RGB", (len(pictures) * width, height + 14), "white")
    for place, (name, pixels) in enumerate(pictures.items()):
        page.paste(Image.fromarray(pixels), (place * width, 14))
        ImageDraw.Draw(page).text((place * width + 4, 1), name, fill="black")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="The codec beside Pillow's.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds natural32/")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression" / "pictures.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "images" / "compression" / "pictures.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = chosen(arguments.data, arguments.count)
    points = curves(pictures)
    ours, seconds = [], []
    for rate in RATES:
        start = time.process_time()
        target = int(rate * len(pictures) * SIDE**2 / 8)
        done = compress([Image.fromarray(p) for p in pictures], model="pictures32", target_bytes=target)
        seconds.append((time.process_time() - start) / len(pictures))
        ours.append((done.bits_per_point, done.psnr))
        print(f"{len(done.data)} of {target} bytes: {done.psnr:.2f} dB, {seconds[-1]:.2f} s a picture", flush=True)
    result = {
        "pictures": len(pictures),
        "mapfield": [[round(bits, 3), round(quality, 2)] for bits, quality in ours],
        "processor_seconds_a_picture": [round(value, 2) for value in seconds],
        "others_at_our_rates": {
            name: [None if (found := at(values, bits)) is None else round(found, 2) for bits, _ in ours]
            for name, values in points.items()
        },
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    plot({"mapfield": ours, **points}, arguments.plot)
    print("| bits per pixel | " + " | ".join(["mapfield", *points]) + " |")
    print("|---" * (len(points) + 2) + "|")
    for place, (bits, quality) in enumerate(ours):
        row = [result["others_at_our_rates"][name][place] for name in points]
        print(f"| {bits:.3f} | {quality:.2f} | " + " | ".join("-" if v is None else f"{v:.2f}" for v in row) + " |")


if __name__ == "__main__":
    main()
