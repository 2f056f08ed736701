"""Videos and volumes beside their frames and slices: ``python -m benchmarks.compression.stacks --data DIR``.

The part of ``DIR/video`` and ``DIR/volumes`` that no model was trained on, in one file as a whole ("mapfield"), and cut
along its first axis into pictures: ours in a pack of the same bytes, JPEG, WebP and AVIF in files whose sizes are added
up, and a video as H.264 ("slow", mp4), read off their curves at our file's size. Quality is the mean PSNR of a video's
frames, and the PSNR of a volume as a whole, many of whose slices are empty. Prints tables, writes
its results, plots and a strip of pictures. One thread; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from benchmarks.compression.pictures import ROOT, at, plot, side_by_side
from benchmarks.fields.video_rates import Frames, h264, quality, stills
from mappers.files import replacing
from nerf.compression import compress, decompress
from nerf.compression.learning.datasets import training_data
from nerf.compression.modalities.modality import Video

RATES = (0.03, 0.06, 0.12, 0.25)
"""Bits per pixel or voxel."""
STILLS = {"JPEG": range(1, 96, 6), "WEBP": range(0, 96, 6), "AVIF": range(1, 96, 6)}
CRF = range(14, 52, 3)
SHOWN = 0.06


def held_out(kind: str, data: Path) -> UInt8[np.ndarray, "n h w channels"]:
    """Values 0..255 that no model was trained on."""
    values = training_data(kind, data, held_out=True)[0]
    return ((values + 0.5) * 255).round().byte().permute(1, 2, 3, 0).contiguous().numpy()


def as_pictures(stack: UInt8[np.ndarray, "n h w channels"]) -> Frames:
    """Grey ones in three equal channels, so that all codecs get the same."""
    return np.ascontiguousarray(np.broadcast_to(stack, (*stack.shape[:3], 3)))


def whole(kind: str, stack: UInt8[np.ndarray, "n h w channels"], target: int) -> tuple[int, Frames, dict[str, float]]:
    """Our file of all at once: bytes, what it decodes to, and seconds of both ways."""
    start = time.process_time()
    media = Video(stack, 24) if kind == "videos" else stack[..., 0]
    data = compress(media, model=kind, target_bytes=target).data
    encoded = time.process_time()
    found = decompress(data, model=kind)
    seconds = {"encode": round(encoded - start, 1), "decode": round(time.process_time() - encoded, 2)}
    decoded = found.frames if isinstance(found, Video) else np.asarray(found)[..., None]
    return len(data), as_pictures(decoded), seconds


def one_by_one(frames: Frames, target: int) -> tuple[int, Frames]:
    """Our file of single pictures."""
    data = compress([Image.fromarray(frame) for frame in frames], model="photos", target_bytes=target).data
    return len(data), np.stack([np.asarray(one.convert("RGB")) for one in decompress(data)])


def overall(frames: Frames, truth: Frames) -> float:
    """PSNR of all values together, dB."""
    return -10 * math.log10(max(float(np.square(frames / 255.0 - truth / 255.0).mean()), 1e-12))


def measure(kind: str, data: Path, images: Path) -> dict[str, Any]:
    """All rates of one kind."""
    stack = held_out(kind, data)
    truth, points = as_pictures(stack), stack[..., 0].size
    psnr = quality if kind == "videos" else overall
    others = {codec: sorted(stills(truth, codec, level, psnr) for level in levels) for codec, levels in STILLS.items()}
    if kind == "videos":
        others["H.264"] = sorted(h264(truth, 24, crf) for crf in CRF)
    rows = []
    for rate in RATES:
        target = int(rate * points / 8)
        size, decoded, seconds = whole(kind, stack, target)
        alone, single = one_by_one(truth, target)
        rows.append({
            "bytes": size, "bits_per_point": round(8 * size / points, 3), "mapfield": round(psnr(decoded, truth), 2),
            "one by one": round(psnr(single, truth), 2), "one by one, bytes": alone,
            **{codec: _rounded(at(curve, size)) for codec, curve in others.items()}, "seconds": seconds,
        })  # fmt: skip
        print(kind, rows[-1], flush=True)
        if rate == SHOWN:
            middle, shown = len(truth) // 2, {"original": truth, f"mapfield, {size} bytes": decoded,
                                              f"one by one, {alone}": single}  # fmt: skip
            page = side_by_side({name: frames[middle] for name, frames in shown.items()})
            page.save(images / f"{kind}_strip.png")
    curves = {name: [(8 * size / points, value) for size, value in curve] for name, curve in others.items()}
    own = [(row["bits_per_point"], row["mapfield"]) for row in rows]
    single = [(8 * row["one by one, bytes"] / points, row["one by one"]) for row in rows]
    plot({"mapfield": own, "mapfield, one by one": single, **curves}, images / f"{kind}.png",
         most=1.25 * RATES[-1])  # fmt: skip
    return {"shape": list(stack.shape), "rows": rows}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def report(kind: str, rows: list[dict[str, Any]]) -> None:
    """A table of one kind."""
    names = [name for name in rows[0] if name not in ("seconds", "bytes", "one by one, bytes")]
    print(f"\n{kind}\n\n| " + " | ".join(names) + " | seconds to encode | to decode |")
    print("|---" * (len(names) + 2) + "|")
    for row in rows:
        cells = ["-" if row[name] is None else str(row[name]) for name in names]
        print("| " + " | ".join([*cells, str(row["seconds"]["encode"]), str(row["seconds"]["decode"])]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Videos and volumes beside their frames and slices.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds video/ and volumes/")
    parser.add_argument("--kinds", nargs="+", default=["videos", "volumes"], choices=["videos", "volumes"])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "compression" / "stacks.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "compression")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    for kind in arguments.kinds:
        saved[kind] = measure(kind, arguments.data, arguments.images)
        with replacing(arguments.output) as temporary:
            temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    for kind, found in saved.items():
        report(kind, found["rows"])


if __name__ == "__main__":
    main()
