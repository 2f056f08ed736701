"""Small pictures compared with Pillow's codecs: ``python -m benchmarks.compression.pictures --data DIR``.

The pictures are held-out ones of ``DIR/natural32``, 32x32 pixels each, all in one file for every codec: ours packs
them, the others get them tiled into one picture. Sizes are those of files. PSNR is the mean over single pictures after
decoding; that of the others is read off their curves at the size of our file.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from benchmarks.common.curves import OURS, Point, plot_curves, psnr_at
from benchmarks.common.picture_codecs import CODECS, encodings
from benchmarks.common.results import IMAGES, Results, Table, result_path, rounded
from mappers.command_line import run_script
from mappers.quality import psnr
from nerf.compression import compress
from nerf.compression.learning.datasets import training_data

OUTPUT = result_path(__file__)
SIDE = 32
RATES = (0.25, 0.5, 1.0)
"""Bits per pixel of the files."""
SEED = 1
Picture = UInt8[np.ndarray, "32 32 3"]


def main(*, data: Path, count: int = 64, output: Path = OUTPUT,
         plot: Path = IMAGES / "compression" / "pictures.png") -> None:  # fmt: skip
    """Compress small pictures and compare with JPEG, WebP, AVIF and JPEG 2000.

    Args:
        data: Folder that holds natural32/.
        count: Pictures in the file.
        output: Results.
        plot: Picture of the rate-distortion curves.
    """
    torch.set_num_threads(1)
    results = Results(output, {"pictures": count})
    pictures = held_out_pictures(data, count)
    curves = curves_of(pictures)
    for rate in RATES:
        ours = results.row(f"{rate} bits per pixel", lambda rate=rate: measure(pictures, rate))
        results.row(
            f"{rate} bits per pixel, other codecs",
            lambda ours=ours: {name: rounded(psnr_at(curve, ours["bits_per_pixel"])) for name, curve in curves.items()},
        )
    rows = [results.rows[f"{rate} bits per pixel"] for rate in RATES]
    plot_curves({OURS: [(row["bits_per_pixel"], row["psnr"]) for row in rows], **curves}, plot)
    results.report(table(results.rows))


def held_out_pictures(data: Path, count: int) -> list[Picture]:
    """Random pictures that no model was trained on."""
    values = torch.stack(training_data("natural32", data, held_out=True))
    picked = np.random.default_rng(SEED).choice(len(values), count, replace=False)
    return list(((values[picked] + 0.5) * 255).round().byte().permute(0, 2, 3, 1).numpy())


def measure(pictures: list[Picture], rate: float) -> dict[str, Any]:
    """Our pack of the pictures at a rate in bits per pixel."""
    start = time.process_time()
    target = int(rate * len(pictures) * SIDE**2 / 8)
    done = compress([Image.fromarray(picture) for picture in pictures], model="pictures32", target_bytes=target)
    seconds = (time.process_time() - start) / len(pictures)
    return {"bits_per_pixel": round(done.bits_per_point, 3), "psnr": round(done.psnr, 2),
            "seconds_a_picture": round(seconds, 2)}  # fmt: skip


def tiled(pictures: list[Picture]) -> Image.Image:
    """All in one picture, as square as can be."""
    columns = math.ceil(math.sqrt(len(pictures)))
    page = Image.new("RGB", (columns * SIDE, -(-len(pictures) // columns) * SIDE))
    for place, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (place % columns * SIDE, place // columns * SIDE))
    return page


def curves_of(pictures: list[Picture]) -> dict[str, list[Point]]:
    """Bits per pixel and mean PSNR of every other codec, on the tiled pictures."""
    page, curves = tiled(pictures), {name: [] for name in CODECS}
    columns = page.width // SIDE
    for name, size, decoded in encodings(page):
        parts = [
            psnr(decoded[top : top + SIDE, left : left + SIDE], picture)
            for place, picture in enumerate(pictures)
            for top, left in [(place // columns * SIDE, place % columns * SIDE)]
        ]
        curves[name].append((8 * size / (len(pictures) * SIDE**2), float(np.mean(parts))))
    return {name: sorted(points) for name, points in curves.items()}


def table(rows: dict[str, Any]) -> Table:
    """A row for each rate."""
    found = []
    for rate in RATES:
        ours, others = (rows[f"{rate} bits per pixel{part}"] for part in ("", ", other codecs"))
        found.append([f"{ours['bits_per_pixel']:.3f}", ours["psnr"], *(others[name] for name in CODECS),
                      ours["seconds_a_picture"]])  # fmt: skip
    columns = ["bits per pixel", f"{OURS}, PSNR in dB", *CODECS, "seconds to encode a picture"]
    return Table("Pictures of 32x32 pixels", columns, found)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
