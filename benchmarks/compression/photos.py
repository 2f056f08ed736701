"""Photographs compared with Pillow's codecs: ``python -m benchmarks.compression.photos --data DIR [--whole]``.

Each photograph of ``DIR/kodak``, which no model was trained on, is a file of its own: its middle 256x256 pixels, or
with ``--whole`` all of it. Sizes are those of files. PSNR of the others is read off their curves for the same picture
at the size of our file. One thread; seconds are the processor's.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common.curves import OURS, Point, plot_curves, psnr_at, side_by_side
from benchmarks.common.picture_codecs import CODECS, encodings, points_around
from benchmarks.common.results import IMAGES, Results, Table, result_path, rounded
from mappers.command_line import run_script
from mappers.quality import psnr
from nerf.compression import compress, decompress

OUTPUT = result_path(__file__)
SIDE = 256
RATES = {"crops": (0.1, 0.2, 0.4), "whole": (0.2, 0.5)}
"""Bits per pixel of the files."""
SHOWN = 0.2
"""Bits per pixel of the strip of pictures."""
OTHERS = "other codecs"


def main(*, data: Path, whole: bool = False, model: str | None = None, output: Path = OUTPUT,
         images: Path = IMAGES / "compression") -> None:  # fmt: skip
    """Compress photographs and compare with JPEG, WebP, AVIF and JPEG 2000.

    Args:
        data: Folder that holds kodak/.
        whole: Measure whole photographs instead of their middle 256x256 pixels.
        model: Folder of a codec model; the shipped one when not given.
        output: Results.
        images: Folder of the plot and of the strip of pictures, which show crops.
    """
    torch.set_num_threads(1)
    part = "whole" if whole else "crops"
    pictures = photographs(data, whole)
    results = Results(output)

    @cache
    def curves(name: str) -> Mapping[str, list[Point]]:
        return curves_of(pictures[name])

    for rate in RATES[part]:
        for name, picture in pictures.items():
            key = f"{part}: {name} at {rate}"
            ours = results.row(key, lambda picture=picture, rate=rate: measure(picture, rate, model))
            results.row(
                f"{key}, {OTHERS}",
                lambda name=name, ours=ours: {
                    codec: rounded(psnr_at(curve, ours["bytes"]))
                    for codec, curve in (around(pictures[name], ours["bytes"]) if whole else curves(name)).items()
                },
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    results.row(f"{part}: memory", lambda: {"peak_gigabytes": round(peak, 2)})
    if not whole:
        mean = {codec: mean_curve([curves(name)[codec] for name in pictures]) for codec in CODECS}
        plot_curves({OURS: our_curve(results.rows), **mean}, images / "photos.png")
        strip(next(iter(pictures.values())), model).save(images / "photos_strip.png")
    results.report(*tables(results.rows))


def photographs(data: Path, whole: bool) -> dict[str, Image.Image]:
    """Kodak's photographs by name, or their middle."""
    found = {}
    for path in sorted((data / "kodak").glob("*.*")):
        if path.suffix not in (".png", ".webp"):
            continue
        picture = Image.open(path).convert("RGB")
        left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
        found[path.stem] = picture if whole else picture.crop((left, top, left + SIDE, top + SIDE))
    if not found:
        raise FileNotFoundError(
            f"there are no pictures in {data / 'kodak'}; give the folder that holds kodak/ as --data"
        )
    return found


def measure(picture: Image.Image, rate: float, model: str | None) -> dict[str, Any]:
    """Our file of a picture: bytes, PSNR of what it decodes to, and seconds of both ways."""
    start = time.process_time()
    target = int(rate * picture.width * picture.height / 8)
    done = compress(picture, model=model, target_bytes=target)
    encoded = time.process_time()
    decoded = np.asarray(decompress(done.data, model=model))
    seconds = {"encode": round(encoded - start, 1), "decode": round(time.process_time() - encoded, 2)}
    quality = round(psnr(decoded, np.asarray(picture)), 2)
    return {"pixels": picture.width * picture.height, "bytes": len(done.data), "psnr": quality, "seconds": seconds}


def around(picture: Image.Image, size: int) -> dict[str, list[Point]]:
    """Bytes and PSNR of every other codec at its settings next to a size."""
    return {codec: points_around(picture, codec, size, psnr) for codec in CODECS}


def curves_of(picture: Image.Image) -> dict[str, list[Point]]:
    """Bytes and PSNR of every other codec at all its settings."""
    curves: dict[str, list[Point]] = {name: [] for name in CODECS}
    for name, size, decoded in encodings(picture):
        curves[name].append((size, psnr(decoded, np.asarray(picture))))
    return {name: sorted(points) for name, points in curves.items()}


def mean_curve(curves: list[list[Point]]) -> list[Point]:
    """A codec's mean curve over crops: mean bits per pixel and mean PSNR of their points in order."""
    sizes, quality = np.mean(np.array(curves), 0).T
    return list(zip((8 * sizes / SIDE**2).tolist(), quality.tolist(), strict=True))


def our_curve(rows: Mapping[str, Any]) -> list[Point]:
    """Bits per pixel and PSNR over all crops of each rate."""
    points = []
    for rate in RATES["crops"]:
        here = list(of_rate(rows, "crops", rate).values())
        bits = 8 * sum(row["bytes"] for row in here) / sum(row["pixels"] for row in here)
        points.append((bits, float(np.mean([row["psnr"] for row in here]))))
    return points


def strip(picture: Image.Image, model: str | None) -> Image.Image:
    """A picture, ours, and those of the others that are not larger."""
    done = compress(picture, model=model, target_bytes=int(SHOWN * picture.width * picture.height / 8))
    shown = {"original": np.asarray(picture), OURS: np.asarray(decompress(done.data, model=model))}
    for name, size, decoded in sorted(encodings(picture), key=lambda one: one[1]):
        if size <= len(done.data) or name not in shown:
            shown[name] = decoded
    return side_by_side(shown)


def of_rate(rows: Mapping[str, Any], part: str, rate: float) -> dict[str, Any]:
    """Our rows of a rate, by key."""
    start, end = f"{part}: ", f" at {rate}"
    return {key: row for key, row in rows.items() if key.startswith(start) and key.endswith(end)}


def tables(rows: Mapping[str, Any]) -> list[Table]:
    """Means over the pictures of each rate. A codec's PSNR is the mean over the pictures that it can code so small; in
    brackets ours minus theirs on these pictures, and their number."""
    found = []
    for part, rates in RATES.items():
        lines = []
        for rate in rates:
            here = of_rate(rows, part, rate)
            if here:
                lines.append(_line(rows, here))
        if lines:
            what = "Crops of 256x256 pixels" if part == "crops" else "Whole photographs"
            columns = ["bits per pixel", "pictures", f"{OURS}, PSNR in dB", *CODECS, "seconds to encode", "to decode"]
            found.append(Table(what, columns, lines))
    return found


def _line(rows: Mapping[str, Any], here: Mapping[str, Any]) -> list[Any]:
    cells = []
    for codec in CODECS:
        pairs = [(rows[f"{key}, {OTHERS}"][codec], row["psnr"]) for key, row in here.items()]
        pairs = [pair for pair in pairs if pair[0] is not None]
        if pairs:
            theirs, ours = np.mean(pairs, 0)
            cells.append(f"{theirs:.2f} ({ours - theirs:+.2f}, {len(pairs)})")
        else:
            cells.append(None)
    bits = 8 * sum(row["bytes"] for row in here.values()) / sum(row["pixels"] for row in here.values())
    means = {name: float(np.mean([row["seconds"][name] for row in here.values()])) for name in ("encode", "decode")}
    quality = float(np.mean([row["psnr"] for row in here.values()]))
    return [f"{bits:.3f}", len(here), f"{quality:.2f}", *cells, f"{means['encode']:.0f}", f"{means['decode']:.1f}"]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
