"""Photographs beside Pillow's codecs: ``python -m benchmarks.compression.photos --data DIR [--whole]``.

The middle 256x256 pixels of every picture in ``DIR/kodak``, or with ``--whole`` the pictures themselves, which no model
was trained on, each in a file of its own. Sizes are those of files; the others' PSNR is that of their curve for the
same picture at our file's size. Prints a table, writes its results and, of the crops, a
plot and a strip of pictures at equal bytes. One thread; seconds are the processor's. What is measured already stays.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.compression.pictures import ROOT, at, encodings, plot, side_by_side
from mappers.files import replacing
from mappers.quality import psnr
from nerf.compression import compress, decompress

SIDE = 256
RATES = {"crops": (0.1, 0.2, 0.4), "whole": (0.2,)}
"""Bits per pixel that are asked for."""
SHOWN = 0.2
"""Bits per pixel of the strip of pictures."""
OTHERS = ("JPEG", "WebP", "AVIF", "JPEG 2000")


def pictures_of(folder: Path, whole: bool) -> dict[str, Image.Image]:
    """Kodak pictures by name."""
    found = {}
    for path in sorted((folder / "kodak").glob("*.*")):
        if path.suffix not in (".png", ".webp"):
            continue
        picture = Image.open(path).convert("RGB")
        left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
        found[path.stem] = picture if whole else picture.crop((left, top, left + SIDE, top + SIDE))
    if not found:
        raise SystemExit(f"there are no pictures in {folder / 'kodak'}; give the folder that holds kodak/ as --data")
    return found


def measure(picture: Image.Image, rate: float, model: str | None) -> dict[str, Any]:
    """Our file of a picture: bytes, PSNR of what it decodes to, and seconds of both ways."""
    start = time.process_time()
    target = int(rate * picture.width * picture.height / 8)
    done = compress(picture, model=model, target_bytes=target)
    encoded = time.process_time()
    decoded = np.asarray(decompress(done.data, model=model))
    seconds = {"encode": round(encoded - start, 1), "decode": round(time.process_time() - encoded, 2)}
    return {"bytes": len(done.data), "psnr": round(psnr(decoded, np.asarray(picture)), 2), "seconds": seconds}


def beside(picture: Image.Image) -> dict[str, list[tuple[int, float]]]:
    """Bytes and PSNR of every setting of every other codec."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name, size, decoded in encodings(picture):
        found.setdefault(name, []).append((size, psnr(decoded, np.asarray(picture))))
    return {name: sorted(points) for name, points in found.items()}


def strip(picture: Image.Image, model: str | None) -> Image.Image:
    """A picture, ours, and those of the others that are not larger."""
    done = compress(picture, model=model, target_bytes=int(SHOWN * picture.width * picture.height / 8))
    shown = {"original": np.asarray(picture), "mapfield": np.asarray(decompress(done.data, model=model))}
    for name, size, decoded in sorted(encodings(picture), key=lambda one: one[1]):
        if size <= len(done.data) or name not in shown:
            shown[name] = decoded
    return side_by_side(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description="Photographs beside Pillow's codecs.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds kodak/")
    parser.add_argument("--whole", action="store_true", help="whole pictures in place of crops")
    parser.add_argument("--model", help="a codec model's folder; the shipped one when not given")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression" / "photos.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "compression")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kind = "whole" if arguments.whole else "crops"
    pictures = pictures_of(arguments.data, arguments.whole)
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    rows: dict[str, dict[str, Any]] = saved.setdefault(kind, {}).setdefault("rows", {})
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for rate in RATES[kind]:
        for name, picture in pictures.items():
            key = f"{name} at {rate}"
            if key not in rows:
                curves[name] = curves.get(name) or beside(picture)
                ours = measure(picture, rate, arguments.model)
                others = {codec: at(curves[name][codec], ours["bytes"]) for codec in OTHERS}
                rounded = {codec: None if value is None else round(value, 2) for codec, value in others.items()}
                rows[key] = {"pixels": picture.width * picture.height, **ours, "others": rounded}
                print(key, rows[key], flush=True)
            saved[kind]["table"] = table(rows, RATES[kind], list(pictures))
            saved[kind]["peak_gigabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
            with replacing(arguments.output) as temporary:
                temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    report(saved[kind]["table"])
    if kind == "crops":
        curves = {name: curves.get(name) or beside(picture) for name, picture in pictures.items()}
        mean = {codec: average([curve[codec] for curve in curves.values()]) for codec in OTHERS}
        ours = [(row["bits_per_pixel"], row["mapfield"]) for row in saved[kind]["table"].values()]
        plot({"mapfield": ours, **mean}, arguments.images / "photos.png")
        first = next(iter(pictures.values()))
        strip(first, arguments.model).save(arguments.images / "photos_strip.png")


def average(curves: list[list[tuple[int, float]]]) -> list[tuple[float, float]]:
    """A codec's mean curve over crops: mean bits per pixel and mean PSNR of their points in order."""
    sizes, quality = np.mean(np.array(curves), 0).T
    return list(zip((8 * sizes / SIDE**2).tolist(), quality.tolist(), strict=True))


def table(rows: dict[str, dict[str, Any]], rates: tuple[float, ...], names: list[str]) -> dict[str, dict[str, Any]]:
    """Means over the pictures of each rate; of the others over those where they can be as small."""
    found = {}
    for rate in rates:
        here = [rows[f"{name} at {rate}"] for name in names if f"{name} at {rate}" in rows]
        if not here:
            continue
        others = {}
        for codec in OTHERS:
            pairs = [(row["others"][codec], row["psnr"]) for row in here if row["others"][codec] is not None]
            others[codec] = {
                "pictures": len(pairs),
                "psnr": round(float(np.mean([pair[0] for pair in pairs])), 2) if pairs else None,
                "ours_minus_theirs": round(float(np.mean([b - a for a, b in pairs])), 2) if pairs else None,
            }
        found[str(rate)] = {
            "bits_per_pixel": round(8 * sum(row["bytes"] for row in here) / sum(row["pixels"] for row in here), 3),
            "pictures": len(here),
            "mapfield": round(float(np.mean([row["psnr"] for row in here])), 2),
            "others": others,
            "encode_seconds": round(float(np.mean([row["seconds"]["encode"] for row in here])), 1),
            "decode_seconds": round(float(np.mean([row["seconds"]["decode"] for row in here])), 2),
        }
    return found


def report(means: dict[str, dict[str, Any]]) -> None:
    """The table, in Markdown."""
    print(
        "| bits per pixel | mapfield | "
        + " | ".join(OTHERS)
        + " | seconds to encode | to decode |\n"
        + "|---" * 8
        + "|"
    )
    for row in means.values():
        others = " | ".join(
            "-" if one["psnr"] is None else f"{one['psnr']:.2f} ({one['ours_minus_theirs']:+.2f}, {one['pictures']})"
            for one in row["others"].values()
        )
        print(
            f"| {row['bits_per_pixel']:.3f} | {row['mapfield']:.2f} | {others} | {row['encode_seconds']:.0f} |"
            f" {row['decode_seconds']:.1f} |"
        )


if __name__ == "__main__":
    main()
