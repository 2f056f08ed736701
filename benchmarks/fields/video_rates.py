"""Files of video fields compared with other codecs: ``python -m benchmarks.fields.video_rates --video FILE``.

A video, made small, is fitted by fields of several sizes with modulation and without, whose weights are rounded to
6 bits while they are trained. Sizes are those of whole files; quality is the mean PSNR of the frames. The same frames
are coded as H.264, and one by one as JPEG, WebP and AVIF in files whose sizes are added up; their PSNR at a field's
size is read off their curves. One thread, one seed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.common.curves import Point, psnr_at
from benchmarks.common.picture_codecs import frame_curves
from benchmarks.common.results import IMAGES, RUNS, Results, Row, Table, result_path, rounded
from benchmarks.common.video_codecs import h264_curve, mean_psnr
from mappers.command_line import run_script
from mappers.files import replacing
from mappers.yaml_settings import load_settings
from nerf.compression.field_files import compress_run
from nerf.media.fields import VideoConfig
from nerf.media.fitting import fit_media
from nerf.media.reading import FrameSequence, read_media
from nerf.settings import FitConfig

OUTPUT = result_path(__file__)
BITS = 6
"""Of a weight."""
CHANNELS = (8, 12, 20)
"""Of the coarsest maps: three sizes of fields."""
FIELDS = ("cam", "normed", "plain")
STILLS = ("JPEG", "WebP", "AVIF")


def small(path: Path, frames: int, width: int) -> FrameSequence:
    """The first frames of a video, so wide; sides are even, as H.264 wants them."""
    whole = read_media(path)
    height = round(width * whole.size[0] / whole.size[1] / 2) * 2
    pictures = [Image.fromarray(frame.numpy()) for frame in whole.frames[:frames]]
    resized = [np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)) for picture in pictures]
    return FrameSequence(f"{path.name}, {len(resized)} frames of {width}x{height}", torch.from_numpy(np.stack(resized)),
                 whole.times[:frames], video=True)  # fmt: skip


def main(*, video: Path, frames: int = 48, width: int = 128, steps: int = 2000, runs: Path = RUNS / "video_rates",
         output: Path = OUTPUT, images: Path = IMAGES / "cam") -> None:  # fmt: skip
    """Fit fields to a video and compare their files with other codecs.

    Args:
        video: Video file.
        frames: Frames from its beginning.
        width: Width that the frames are made smaller to, pixels.
        steps: Training steps of each field.
        runs: Folder of the fits.
        output: Results.
        images: Folder of the plot.
    """
    torch.set_num_threads(1)
    media = small(video, frames, width)
    truth = media.frames.numpy()
    results = Results(output, {"video": media.name, "steps": steps, "bits": BITS})
    results.row("H.264", lambda: {"curve": h264_curve(truth, media.fps)})
    for name in STILLS:
        results.row(name, lambda name=name: {"curve": frame_curves(truth, mean_psnr, [name])[name]})
    for channels in CHANNELS:
        for field in FIELDS:
            name = f"{field}, {channels} channels"
            results.row(name, lambda name=name, field=field, channels=channels: field_point(
                media, field, channels, steps, runs / name
            ))  # fmt: skip
    plot(results.rows, images / "video_rates.png")
    results.report(table(results.rows))


def field_point(media: FrameSequence, field: str, channels: int, steps: int, folder: Path) -> Row:
    """Bytes of a field's file, and quality of the rounded field, which decoding gives back to the bit."""
    config = load_settings(FitConfig, "video", task="fit")
    config = dataclasses.replace(config, bits=BITS, train=dataclasses.replace(config.train, cpu=True))
    size = VideoConfig(height=media.size[0], width=media.size[1], modulation=field, channels=channels)
    fit = fit_media(media, size=size, steps=steps, output_dir=folder, resume="auto", config=config)
    file = folder / "video.mfc"
    compress_run(folder, file, bits=BITS, overwrite=True)
    return {
        "bytes": file.stat().st_size,
        "psnr": round(fit.figures["psnr"], 2),
        "parameters": fit.figures["parameters"],
        "seconds": fit.figures["processor_seconds"],
    }


def curves_of(rows: dict[str, Row]) -> dict[str, list[Point]]:
    """Bytes and PSNR of the other codecs, by name."""
    return {name: row["curve"] for name, row in rows.items() if "curve" in row}


def table(rows: dict[str, Row]) -> Table:
    """Every field's file, and the other codecs at its size."""
    curves, lines = curves_of(rows), []
    for name, one in rows.items():
        if "curve" not in one:
            found = [psnr_at(curve, one["bytes"]) for curve in curves.values()]
            cells = [rounded(value, 1) for value in found]
            lines.append([name, one["parameters"], one["bytes"], f"{one['psnr']:.2f}", *cells, f"{one['seconds']:.0f}"])
    columns = ["field", "parameters", "bytes", "PSNR in dB", *curves, "seconds"]
    return Table("Files of a video, and the PSNR of other codecs at their size", columns, lines)


def plot(rows: dict[str, Row], path: Path) -> None:
    """PSNR over bytes."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves_of(rows).items():
        axes.plot(*zip(*sorted(map(tuple, curve)), strict=True), label=name, linewidth=1)
    for field in FIELDS:
        own = [(one["bytes"], one["psnr"]) for name, one in rows.items() if name.startswith(f"{field},")]
        axes.plot(*zip(*own, strict=True), "o-", label=field)
    axes.set(xscale="log", xlabel="bytes of the file", ylabel="PSNR (dB)")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
