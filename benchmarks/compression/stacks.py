"""Videos and volumes compared with their frames and slices: ``python -m benchmarks.compression.stacks --data DIR``.

The parts of ``DIR/video`` and ``DIR/volumes`` that no model was trained on are coded in one file as a whole, and cut
along their first axis into pictures: by our codec for pictures in a pack of the same bytes, and by JPEG, WebP and AVIF
in files whose sizes are added up. A video is also coded as H.264. The others' PSNR is read off their curves at our
file's size. PSNR is the mean over a video's frames, and that of a volume as a whole, many of whose slices are empty.
One thread; seconds are the processor's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from benchmarks.common.curves import OURS, Point, plot_curves, psnr_at, side_by_side
from benchmarks.common.picture_codecs import Frames, frame_curves
from benchmarks.common.results import IMAGES, Results, Table, result_path, rounded
from benchmarks.common.video_codecs import h264_curve, mean_psnr, overall_psnr
from mappers.command_line import run_script
from nerf.compression import compress, decompress
from nerf.compression.learning.datasets import training_data
from nerf.compression.modalities.modality import Video

OUTPUT = result_path(__file__)
RATES = (0.03, 0.06, 0.12, 0.25)
"""Bits per pixel or voxel."""
STILLS = ("JPEG", "WebP", "AVIF")
SHOWN = 0.06
"""Bits per pixel or voxel of the strip of pictures."""
OTHERS = "other codecs"
ONE_BY_ONE = "mapfield, one by one"
Modality = Literal["videos", "volumes"]
Stack = UInt8[np.ndarray, "n h w channels"]


def main(*, data: Path, modalities: tuple[Modality, ...] = ("videos", "volumes"),
         output: Path = OUTPUT, images: Path = IMAGES / "compression") -> None:  # fmt: skip
    """Compress a video and a volume and compare with codecs of pictures and of video.

    Args:
        data: Folder that holds video/ and volumes/.
        modalities: What is measured.
        output: Results.
        images: Folder of plots and strips of pictures.
    """
    torch.set_num_threads(1)
    results = Results(output)
    for modality in modalities:
        measure(modality, held_out(modality, data), results, images)
    results.report(*tables(results.rows))


def measure(modality: Modality, stack: Stack, results: Results, images: Path) -> None:
    """All rates of one modality, its plot and its strip of pictures."""
    truth, points = as_pictures(stack), stack[..., 0].size
    psnr = mean_psnr if modality == "videos" else overall_psnr
    curves = frame_curves(truth, psnr, STILLS)
    if modality == "videos":
        curves["H.264"] = h264_curve(truth, 24)

    def ours(rate: float) -> dict[str, Any]:
        target = int(rate * points / 8)
        size, decoded, seconds = as_a_whole(modality, stack, target)
        alone, single = one_by_one(truth, target)
        if rate == SHOWN:
            shown = {"original": truth, f"{OURS}, {size} bytes": decoded, f"one by one, {alone}": single}
            page = side_by_side({name: frames[len(truth) // 2] for name, frames in shown.items()})
            page.save(images / f"{modality}_strip.png")
        return {
            "shape": list(stack.shape), "bytes": size, "bits_per_point": round(8 * size / points, 3),
            "psnr": round(psnr(decoded, truth), 2), "one_by_one_bytes": alone,
            "one_by_one_psnr": round(psnr(single, truth), 2), "seconds": seconds,
        }  # fmt: skip

    for rate in RATES:
        row = results.row(f"{modality} at {rate}", lambda rate=rate: ours(rate))
        results.row(f"{modality} at {rate}, {OTHERS}", lambda row=row: {
            name: rounded(psnr_at(curve, row["bytes"])) for name, curve in curves.items()
        })  # fmt: skip
    plot_curves(
        {**our_curves(modality, results.rows), **in_bits(curves, points)},
        images / f"{modality}.png", unit="bits per pixel" if modality == "videos" else "bits per voxel",
        most=1.25 * RATES[-1],
    )  # fmt: skip


def held_out(modality: Modality, data: Path) -> Stack:
    """Values 0..255 that no model was trained on."""
    values = training_data(modality, data, held_out=True)[0]
    return ((values + 0.5) * 255).round().byte().permute(1, 2, 3, 0).contiguous().numpy()


def as_pictures(stack: Stack) -> Frames:
    """Grey ones in three equal channels, so that all codecs get the same."""
    return np.ascontiguousarray(np.broadcast_to(stack, (*stack.shape[:3], 3)))


def as_a_whole(modality: Modality, stack: Stack, target: int) -> tuple[int, Frames, dict[str, float]]:
    """Our file of all at once: bytes, what it decodes to, and seconds of both ways."""
    start = time.process_time()
    media = Video(stack, 24) if modality == "videos" else stack[..., 0]
    data = compress(media, model=modality, target_bytes=target).data
    encoded = time.process_time()
    found = decompress(data, model=modality)
    seconds = {"encode": round(encoded - start, 1), "decode": round(time.process_time() - encoded, 2)}
    decoded = found.frames if isinstance(found, Video) else np.asarray(found)[..., None]
    return len(data), as_pictures(decoded), seconds


def one_by_one(frames: Frames, target: int) -> tuple[int, Frames]:
    """Our pack of single pictures: bytes, and what it decodes to."""
    data = compress([Image.fromarray(frame) for frame in frames], model="photos", target_bytes=target).data
    decoded = decompress(data)
    assert isinstance(decoded, list)  # a pack decodes to its items
    return len(data), np.stack([np.asarray(one.convert("RGB")) for one in decoded if isinstance(one, Image.Image)])


def in_bits(curves: Mapping[str, list[Point]], points: int) -> dict[str, list[Point]]:
    """Curves over bits per pixel or voxel instead of bytes."""
    return {name: [(8 * size / points, value) for size, value in curve] for name, curve in curves.items()}


def our_curves(modality: Modality, rows: Mapping[str, Any]) -> dict[str, list[Point]]:
    """Our two curves, over bits per pixel or voxel."""
    found = [rows[f"{modality} at {rate}"] for rate in RATES]
    bits = [row["bits_per_point"] * row["one_by_one_bytes"] / row["bytes"] for row in found]
    return {
        OURS: [(row["bits_per_point"], row["psnr"]) for row in found],
        ONE_BY_ONE: [(rate, row["one_by_one_psnr"]) for rate, row in zip(bits, found, strict=True)],
    }


def tables(rows: Mapping[str, Any]) -> list[Table]:
    """A table for each modality; PSNR in dB."""
    found = []
    for modality, unit in (("videos", "pixel"), ("volumes", "voxel")):
        if f"{modality} at {RATES[0]}" not in rows:
            continue
        codecs = list(rows[f"{modality} at {RATES[0]}, {OTHERS}"])
        lines = []
        for rate in RATES:
            row, others = rows[f"{modality} at {rate}"], rows[f"{modality} at {rate}, {OTHERS}"]
            lines.append([row["bits_per_point"], row["psnr"], row["one_by_one_psnr"],
                          *(others[name] for name in codecs),
                          row["seconds"]["encode"], row["seconds"]["decode"]])  # fmt: skip
        columns = [f"bits per {unit}", f"{OURS}, PSNR in dB", ONE_BY_ONE, *codecs, "seconds to encode", "to decode"]
        found.append(Table(modality.capitalize(), columns, lines))
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
