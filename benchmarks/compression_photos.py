"""Photographs beside Pillow's codecs: ``python benchmarks/compression_photos.py --data DIR [--model photos]``.

A crop of 256x256 pixels from the middle of every picture of ``DIR/kodak``, or with ``--whole`` the pictures, a file
each. Sizes are those of files, quality is the mean PSNR after decoding; the others' at our sizes are read off their
curves.
Prints a table and writes ``docs/results/compression_photos.json`` and ``docs/images/compression_photos.png``.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from compression import Point, at, plot, settings
from PIL import Image

from nerf.compression import compress, decompress
from nerf.compression.decoding import psnr

ROOT = Path(__file__).parents[1]
SIDE = 256
RATES = (0.1, 0.2, 0.4)
"""Bits per pixel of the files."""


def pictures(data: Path, whole: bool) -> list[Image.Image]:
    """Kodak's, or a crop of each."""
    found = []
    for path in sorted((data / "kodak").glob("*.png")):
        picture = Image.open(path).convert("RGB")
        left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
        found.append(picture if whole else picture.crop((left, top, left + SIDE, top + SIDE)))
    if not found:
        raise FileNotFoundError(f"there is no {data / 'kodak'}; give the folder that holds it as --data")
    return found


def curves(picture: Image.Image) -> dict[str, list[Point]]:
    """Every codec's points for a picture, by bits per pixel."""
    found: dict[str, list[Point]] = {}
    for name, kind, options in settings():
        file = io.BytesIO()
        picture.save(file, kind, **options)
        quality = psnr(np.asarray(Image.open(file).convert("RGB")), np.asarray(picture))
        found.setdefault(name, []).append((8 * len(file.getvalue()) / (picture.width * picture.height), quality))
    return {name: sorted(points) for name, points in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Photographs beside Pillow's codecs.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds kodak/")
    parser.add_argument("--model", default="photos")
    parser.add_argument("--count", type=int, default=None, help="pictures; all when not given")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seconds", type=float, default=None, help="search of a picture; the default's when not given")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression_photos.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "images" / "compression_photos.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = pictures(arguments.data, arguments.whole)[: arguments.count]
    others = [curves(picture) for picture in chosen]
    rows: dict[str, list[list[float | None]]] = {name: [] for name in others[0]}
    ours, encoding, decoding = [], [], []
    for rate in RATES:
        points = []
        for picture in chosen:
            start = time.process_time()
            target = int(rate * picture.width * picture.height / 8)
            done = compress(picture, model=arguments.model, target_bytes=target, seconds=arguments.seconds)
            middle = time.process_time()
            decompress(done.data, model=arguments.model)
            encoding.append(middle - start)
            decoding.append(time.process_time() - middle)
            points.append((done.bits_per_point, done.psnr))
            print(f"{len(done.data)} of {target} bytes: {done.psnr:.2f} dB, {encoding[-1]:.0f} s", flush=True)
        ours.append(tuple(np.mean(points, 0).tolist()))
        for name, row in rows.items():
            row.append([at(curve[name], bits) for curve, (bits, _) in zip(others, points, strict=True)])
    table = {
        name: [None if None in row else round(float(np.mean(row)), 2) for row in found] for name, found in rows.items()
    }
    result = {
        "pictures": len(chosen), "pixels": "whole" if arguments.whole else f"{SIDE}x{SIDE}", "model": arguments.model,
        "mapfield": [[round(bits, 3), round(quality, 2)] for bits, quality in ours],
        "others_at_our_rates": table,
        "processor_seconds_to_encode": round(float(np.median(encoding)), 1),
        "processor_seconds_to_decode": round(float(np.median(decoding)), 2),
    }  # fmt: skip
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    grid = np.linspace(0.05, 0.6, 23)
    means = {
        name: [(r, float(np.mean(v))) for r in grid if None not in (v := [at(curve[name], r) for curve in others])]
        for name in others[0]
    }
    plot({"mapfield": ours, **{name: points for name, points in means.items() if points}}, arguments.plot)
    print("| bits per pixel | " + " | ".join(["mapfield", *table]) + " |")
    print("|---" * (len(table) + 2) + "|")
    for place, (bits, quality) in enumerate(ours):
        row = [found[place] for found in table.values()]
        print(f"| {bits:.3f} | {quality:.2f} | " + " | ".join("-" if v is None else f"{v:.2f}" for v in row) + " |")


if __name__ == "__main__":
    main()
