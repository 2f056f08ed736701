"""Files of video fields beside H.264, JPEG and WebP: ``python -m benchmarks.fields.video_rates --video FILE``.

A video, made small, is fitted by fields with modulation and without, of several sizes, whose weights learn rounded to
6 bits; sizes are those of whole files, and quality is the mean PSNR of their frames. Beside them the same frames
as H.264 (x264, "slow", mp4), and one by one as JPEG and WebP (sum of the files). One thread, one seed. Prints tables,
writes its results and a plot; fields that are there already are not fitted again.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.compression.pictures import at
from mappers.files import replacing
from mappers.quality import psnr
from mappers.yaml_settings import load_settings
from nerf.compression.field_files import compress_run
from nerf.media.fields import VideoConfig
from nerf.media.fitting import fit_media
from nerf.media.reading import FrameSequence, read_media
from nerf.settings import FitConfig

ROOT = Path(__file__).parents[2]
BITS = 6
CHANNELS = (8, 12, 20)
"""Of the coarsest maps: three sizes of fields."""
FIELDS = ("cam", "normed", "plain")

Frames = UInt8[np.ndarray, "n h w 3"]


def small(path: Path, frames: int, width: int) -> FrameSequence:
    """The first frames of a video, so wide; sides are even, as H.264 wants them."""
    whole = read_media(path)
    height = round(width * whole.size[0] / whole.size[1] / 2) * 2
    pictures = [Image.fromarray(frame.numpy()) for frame in whole.frames[:frames]]
    resized = [np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)) for picture in pictures]
    return FrameSequence(f"{path.name}, {len(resized)} frames of {width}x{height}", torch.from_numpy(np.stack(resized)),
                 whole.times[:frames], video=True)  # fmt: skip


def quality(frames: Frames, truth: Frames) -> float:
    """Mean PSNR of the frames, dB."""
    pairs = zip(torch.from_numpy(frames.astype(np.float32)), torch.from_numpy(truth.astype(np.float32)), strict=True)
    return float(np.mean([psnr(a / 255, b / 255) for a, b in pairs]))


def field_point(media: FrameSequence, field: str, channels: int, steps: int, folder: Path) -> dict[str, Any]:
    """Bytes of a field's file, and quality of the rounded field, which decoding gives back to the bit."""
    config = load_settings(FitConfig, "video", task="fit")
    config = dataclasses.replace(config, bits=BITS, train=dataclasses.replace(config.train, cpu=True))
    size = VideoConfig(height=media.size[0], width=media.size[1], modulation=field, channels=channels)
    fit = fit_media(media, size=size, steps=steps, output_dir=folder, resume="auto", config=config)
    file = folder / "video.mfc"
    compress_run(folder, file, bits=BITS)
    return {
        "bytes": file.stat().st_size,
        "psnr": round(fit.figures["psnr"], 2),
        "parameters": fit.figures["parameters"],
        "seconds": fit.figures["processor_seconds"],
    }


def h264(truth: Frames, fps: int, crf: int) -> tuple[int, float]:
    """Bytes and quality of the frames as an mp4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "slow"})
            stream.height, stream.width = truth.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in truth:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        with av.open(str(path)) as container:
            decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        return path.stat().st_size, quality(decoded, truth)


STILL = {"JPEG": {"optimize": True}, "WEBP": {"method": 6}, "AVIF": {"speed": 4}}
"""Settings of Pillow's codecs: the slow ones."""


def stills(
    truth: Frames, kind: str, level: int, measured: Callable[[Frames, Frames], float] = quality
) -> tuple[int, float]:
    """Bytes and quality of the frames as single pictures."""
    total, decoded = 0, []
    for frame in truth:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, kind, quality=level, **STILL[kind])
        total += len(file.getvalue())
        decoded.append(np.asarray(Image.open(file).convert("RGB")))
    return total, measured(np.stack(decoded), truth)


def main() -> None:
    parser = argparse.ArgumentParser(description="Files of video fields beside H.264, JPEG and WebP.")
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "video_rates")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields" / "video_rates.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "cam")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    media = small(arguments.video, arguments.frames, arguments.width)
    truth = media.frames.numpy()
    about = {"video": media.name, "steps": arguments.steps, "bits": BITS, "threads": 1, "torch": torch.__version__}
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    points = saved["fields"] if all(saved.get(key) == value for key, value in about.items()) else {}
    others = {
        "H.264": [h264(truth, media.fps, crf) for crf in range(10, 48, 3)],
        "JPEG": [stills(truth, "JPEG", level) for level in (1, 5, 10, 15, 20, 30, 45, 60, 75, 85)],
        "WebP": [stills(truth, "WEBP", level) for level in (0, 5, 10, 20, 35, 50, 65, 80, 90)],
    }
    for channels in CHANNELS:
        for field in FIELDS:
            name = f"{field}, {channels} channels"
            if name not in points:
                points[name] = field_point(media, field, channels, arguments.steps, arguments.runs / name)
            with replacing(arguments.output) as temporary:
                text = json.dumps({**about, "fields": points, "others": others}, indent=1) + "\n"
                temporary.write_text(text, encoding="utf-8")
    report(points, others)
    plot(points, others, arguments.images / "video_rates.png")


def report(points: dict[str, Any], others: dict[str, list[tuple[int, float]]]) -> None:
    """Every field's file beside the others at its size."""
    print("| field | parameters | bytes | PSNR | " + " | ".join(others) + " | seconds |\n" + "|---" * 8 + "|")
    for name, one in points.items():
        found = [at(curve, one["bytes"]) for curve in others.values()]
        beside = " | ".join("-" if value is None else f"{value:.1f}" for value in found)
        print(f"| {name} | {one['parameters']} | {one['bytes']} | {one['psnr']} | {beside} | {one['seconds']:.0f} |")


def plot(points: dict[str, Any], others: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """PSNR over bytes."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in others.items():
        axes.plot(*zip(*sorted(curve), strict=True), label=name, linewidth=1)
    for field in FIELDS:
        own = [(one["bytes"], one["psnr"]) for name, one in points.items() if name.startswith(f"{field},")]
        axes.plot(*zip(*own, strict=True), "o-", label=field)
    axes.set(xscale="log", xlabel="bytes of the file", ylabel="PSNR (dB)")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    main()
