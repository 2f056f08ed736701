"""Modulated fields compared with fields without modulation: ``python -m benchmarks.fields.cam [--tasks picture]``.

Each task fits four fields with equal steps and settings: "cam" (normalization and modulation grids), "normed" (the
normalization alone), "plain" (neither), and "larger" (plain, and so wide that it has at least as many parameters as
cam). Sizes are those of the trained fields' files with 8 bits a weight. Tasks: "picture" (all pixels of a crop),
"unseen" (trained on every second pixel, measured on the others), "video", and "scene" (from its photos: a still one
such as "beetles", whose colours depend on the view, or "clockwork", which moves). One thread; seconds are the
processor's.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skimage.data
import torch
from PIL import Image

from benchmarks.common.results import RUNS, Results, Row, Table, result_path
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from nerf.compression.field_files import to_field_file
from nerf.evaluation import evaluate_views
from nerf.export import write_film
from nerf.fields import build_field
from nerf.fields.cam import CAMConfig
from nerf.fields.cam_time import CAMTimeConfig
from nerf.media.fields import PictureConfig, PictureField, VideoConfig, VideoField
from nerf.media.fitting import build_media_field, fit_media
from nerf.media.reading import FrameSequence, read_media
from nerf.scenes import Scene, load_scene, make_scene, shipped_scenes
from nerf.scenes.synthetic.gallery import SCENES
from nerf.settings import FitConfig, RadianceConfig
from nerf.training import train

OUTPUT = result_path(__file__)
Task = Literal["picture", "unseen", "video", "scene"]
FIELDS = ("cam", "normed", "plain", "larger")
Fitted = tuple[Any, dict[str, float]]
"""A field and its figures."""
Fitter = Callable[[str, int, int], Fitted]
"""From one of `FIELDS`, a width and a seed."""
REPEATS = 60
"""Steps that are timed."""
Builder = Callable[[str, int], Any]
"""From one of `FIELDS` and a width to a fresh field."""


def crop(path: Path | None, size: int) -> FrameSequence:
    """The middle of a picture file, or of scikit-image's astronaut."""
    whole = Image.fromarray(skimage.data.astronaut()) if path is None else Image.open(path).convert("RGB")
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    name = "astronaut" if path is None else path.stem
    values = np.array(whole.crop((left, top, left + size, top + size)))
    return FrameSequence(f"{name}, middle {size}x{size}", torch.from_numpy(values)[None], (0.0,), video=False)


def moving_crop(size: int, frames: int) -> FrameSequence:
    """A window that moves over the astronaut along a curve: a film with fine detail, made here, through H.264."""
    whole = skimage.data.astronaut()
    turn = np.linspace(0, np.pi, frames)
    places = [(60 + int(60 * np.sin(angle)), 100 + int(110 * angle / np.pi)) for angle in turn]
    windows = [whole[top : top + size, left : left + size] for top, left in places]
    with tempfile.TemporaryDirectory() as folder:
        write_film(windows, Path(folder) / "moving.mp4", fps=24)
        return dataclasses.replace(read_media(Path(folder) / "moving.mp4"), name="moving crop of the astronaut")


def media_task(media: FrameSequence, *, every_second: bool, steps: int) -> tuple[Fitter, Builder]:
    """How fields are fitted to a picture or a video."""
    config = load_settings(FitConfig, "video" if media.video else "picture", task="fit")
    quiet = dataclasses.replace(config.train, save_every=None, validate_every=None, log_every=steps, cpu=True)
    config = dataclasses.replace(config, train=quiet, every_second=every_second)

    def size(field: str, width: int) -> PictureConfig | VideoConfig:
        kind = "plain" if field == "larger" else field
        if not media.video:
            return PictureConfig(modulation=kind, width=width)
        return VideoConfig(height=media.size[0], width=media.size[1], modulation=kind, channels=width)

    def fitted(field: str, width: int, seed: int) -> Fitted:
        fit = fit_media(media, size=size(field, width), steps=steps, seed=seed, config=config)
        return fit.field, {name: float(value) for name, value in fit.figures.items() if name != "parameters"}

    return fitted, lambda field, width: build_media_field("plain", media, size(field, width))


def scene_of(name: str, *, downscale: float) -> tuple[Scene, str]:
    """A shipped scene, or one of the gallery, made once; and the family of fields that fits it."""
    made = RUNS / "scenes" / name
    if name in SCENES and name not in shipped_scenes() and not made.is_dir():
        make_scene(name, made)
    scene = load_scene(made if made.is_dir() else name, downscale=downscale)
    return scene, "cam" if scene.cameras.times is None else "cam-time"


def scene_size(family: str, field: str, width: int) -> CAMConfig | CAMTimeConfig:
    """Of one of `FIELDS`."""
    kind, grid = (CAMTimeConfig, "nodes") if family == "cam-time" else (CAMConfig, "azimuth")
    without = {} if field == "cam" else {grid: 0, "norm": field == "normed"}
    return kind(width=width, **without)


def scene_task(name: str, *, downscale: float, steps: int) -> tuple[Fitter, Builder]:
    """How radiance fields are fitted to a scene's photos; figures are of its test views."""
    scene, family = scene_of(name, downscale=downscale)
    config = load_settings(RadianceConfig, family, task="train")
    quiet = dataclasses.replace(config.train, save_every=None, validate_every=None, log_every=steps, cpu=True)
    config = dataclasses.replace(config, train=quiet)

    def fitted(field: str, width: int, seed: int) -> Fitted:
        trained = train(scene, family, size=scene_size(family, field, width), steps=steps, seed=seed, config=config)
        seconds = float(trained.figures["processor_seconds"])
        return trained.field, {**evaluate_views(trained.draw, scene), "processor_seconds": seconds}

    return fitted, lambda field, width: build_field(family, scene.bounds, scene_size(family, field, width))


def wide_enough(build: Builder, start: int, goal: int) -> int:
    """The smallest width of a plain field with at least ``goal`` parameters."""
    return next(width for width in range(start, 4 * start) if count_parameters(build("larger", width)) >= goal)


def count_parameters(field: Any) -> int:
    """Number of its parameters."""
    return sum(value.numel() for value in field.parameters())


def file_bytes(field: Any) -> int:
    """Of its file with 8 bits a weight."""
    return len(to_field_file(field, 8).write())


def step_seconds(fields: dict[str, Any]) -> dict[str, float]:
    """Processor seconds of a step of each on random places, in turn so that all see the same machine: the median."""
    spent: dict[str, list[float]] = {name: [] for name in fields}
    optimizers = {name: torch.optim.AdamW(field.parameters(), 1e-4) for name, field in fields.items()}
    points, views = torch.rand(8192, 3), torch.nn.functional.normalize(torch.randn(8192, 3), dim=-1)
    for repeat in range(REPEATS):
        first = repeat % len(fields)
        for name in [*fields][first:] + [*fields][:first]:
            field, begun = fields[name], time.process_time()
            if isinstance(field, PictureField):
                loss = field(points[:4096, :2]).square().mean()
            elif isinstance(field, VideoField):
                loss = field(points[:2, 0]).square().mean()
            else:
                inside = field.bounds[0] + points * (field.bounds[1] - field.bounds[0])
                density, color = field(inside, views, points[:, 0]) if field.moves else field(inside, views)
                loss = density.mean() + color.mean()
            loss.backward()
            optimizers[name].step()
            optimizers[name].zero_grad()
            spent[name].append(time.process_time() - begun)
    return {name: round(float(np.median(times)), 5) for name, times in spent.items()}


def main(*, tasks: tuple[Task, ...] = ("picture", "unseen", "video", "scene"), picture: Path | None = None,
         size: int = 128, scene: str = "beetles", downscale: float = 1, frames: int = 24, steps: int = 1000,
         seeds: int = 3, output: Path = OUTPUT) -> None:  # fmt: skip
    """Fit fields with and without modulation to pictures, videos and scenes.

    Args:
        tasks: What is fitted.
        picture: Picture file; scikit-image's astronaut when not given.
        size: Side of the crop of the picture, pixels; the video has half of it.
        scene: Scene of the task "scene".
        downscale: Factor by which the scene's photos are made smaller.
        frames: Frames of the video.
        steps: Training steps of each field.
        seeds: Seeds of each field; figures are their means.
        output: Results.
    """
    torch.set_num_threads(1)
    results = Results(output)
    for task in tasks:
        if task == "scene":
            made = scene_task(scene, downscale=downscale, steps=steps)
            compare(f"scene: {scene}", made, 96, steps, seeds, results)
            continue
        media = moving_crop(size // 2, frames) if task == "video" else crop(picture, size)
        made = media_task(media, every_second=task == "unseen", steps=steps)
        compare(f"{task}: {media.name}", made, 32 if media.video else 128, steps, seeds, results)
    results.report(*tables(results.rows))


def compare(name: str, task: tuple[Fitter, Builder], start: int, steps: int, seeds: int, results: Results) -> None:
    """All fields of one task; ``start`` is the width of all but the larger one."""
    fitted, build = task
    results.row(
        f"{name}, seconds of a step", lambda: step_seconds({field: build(field, start) for field in FIELDS[:-1]})
    )
    for field in FIELDS:

        def measure(field: str = field) -> Row:
            parameters = results.rows[f"{name}, cam"]["parameters"] if field == "larger" else 0
            width = wide_enough(build, start, parameters) if field == "larger" else start
            fits = [fitted(field, width, seed) for seed in range(seeds)]
            figures = [one for _, one in fits]
            return {
                "steps": steps,
                "seeds": seeds,
                **{key: round(float(np.mean([one[key] for one in figures])), 4) for key in figures[0]},
                "psnr_of_seeds": [round(one.get("psnr_unseen", one["psnr"]), 2) for one in figures],
                "parameters": count_parameters(fits[-1][0]),
                "bytes": file_bytes(fits[-1][0]),
            }

        results.row(f"{name}, {field}", measure)


def tables(rows: dict[str, Row]) -> list[Table]:
    """A table for each task; the last column compares a step's seconds with the plain field's."""
    found = []
    for name in dict.fromkeys(key.rpartition(", ")[0] for key in rows):
        steps, lines = rows[f"{name}, seconds of a step"], []
        here = {field: rows[f"{name}, {field}"] for field in FIELDS if f"{name}, {field}" in rows}
        for field, one in here.items():
            slower = f"{steps[field] / steps['plain']:.2f}" if field in steps else ""
            lines.append([field, f"{one.get('psnr_unseen', one['psnr']):.2f}", f"{one['ssim']:.3f}", one["parameters"],
                          one["bytes"], f"{one['processor_seconds']:.1f}", slower])  # fmt: skip
        count = next((one["steps"] for one in here.values()), 0)
        columns = ["field", "PSNR in dB", "SSIM", "parameters", "bytes", "seconds", "a step, relative"]
        found.append(Table(f"{name[0].upper()}{name[1:]}, {count} steps", columns, lines))
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
