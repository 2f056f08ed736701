"""Modulated fields beside their twins: ``python -m benchmarks.fields.cam [--tasks picture ...] [--seeds 3]``.

Each task fits "cam" (norm and modulation grids), "normed" (the norm alone), "plain" (neither) and "larger" (plain, and
so wide that it has at least as many numbers as cam, each of 8 bits in its file), with equal steps and settings. File
bytes are those of the trained field as written. Tasks: "picture" (all pixels of a crop), "unseen" (from every second
pixel, measured on the others), "video", and "scene" (from its photos: a still one such as "beetles", whose colours
depend on the view, or "clockwork", which moves). Prints tables and writes its results after every field,
so that a run that is cut short leaves what it measured. On one thread; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image

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

ROOT = Path(__file__).parents[2]
TASKS = ("picture", "unseen", "video", "scene")
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
    made = ROOT / "runs" / "scenes" / name
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
        run = train(scene, family, size=scene_size(family, field, width), steps=steps, seed=seed, config=config)
        seconds = float(run.figures["processor_seconds"])
        return run.field, {**evaluate_views(run.draw, scene), "processor_seconds": seconds}

    return fitted, lambda field, width: build_field(family, scene.bounds, scene_size(family, field, width))


def wide_enough(build: Builder, start: int, goal: int) -> int:
    """The smallest width of a plain field with at least ``goal`` numbers."""
    return next(width for width in range(start, 4 * start) if numbers(build("larger", width)) >= goal)


def numbers(field: Any) -> int:
    """How many parameters it has."""
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


def compare(
    name: str, task: tuple[Fitter, Builder], start: int, seeds: int, write: Callable[[str, dict[str, Any]], None]
) -> None:
    """All fields of one task, seed by seed; ``start`` is the width of all but the larger one."""
    fitted, build = task
    row: dict[str, Any] = {}
    steps = step_seconds({field: build(field, start) for field in FIELDS[:-1]})
    for field in FIELDS:
        width = wide_enough(build, start, row["cam"]["parameters"]) if field == "larger" else start
        figures = []
        for seed in range(seeds):
            began = time.monotonic()
            built, measured = fitted(field, width, seed)
            figures.append(measured)
            print(f"{name}, {field}, seed {seed}: {measured} in {time.monotonic() - began:.0f} s", flush=True)
        row[field] = {
            "seeds": seeds,
            **{key: round(float(np.mean([one[key] for one in figures])), 4) for key in figures[0]},
            "psnr_of_seeds": [round(one.get("psnr_unseen", one["psnr"]), 2) for one in figures],
            "parameters": numbers(built),
            "bytes": file_bytes(built),
            "step_seconds": steps.get(field),
        }
        write(name, row)


def main() -> None:
    parser = argparse.ArgumentParser(description="Modulated fields beside their twins.")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--picture", type=Path, help="a picture file; scikit-image's astronaut when not given")
    parser.add_argument("--size", type=int, default=128, help="of the crop, pixels")
    parser.add_argument("--scene", default="beetles")
    parser.add_argument("--downscale", type=float, default=1, help="of the scene's photos")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "fields" / "cam.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    about = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": 1}
    result: dict[str, Any] = {**about, "steps": arguments.steps, "rows": {}}
    if arguments.output.exists():
        result["rows"] = json.loads(arguments.output.read_text(encoding="utf-8"))["rows"]

    def write(name: str, row: dict[str, Any]) -> None:
        result["rows"][name] = {"steps": arguments.steps, "fields": row}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    for task in arguments.tasks:
        if task == "scene":
            made = scene_task(arguments.scene, downscale=arguments.downscale, steps=arguments.steps)
            compare(f"scene: {arguments.scene}", made, 96, arguments.seeds, write)
            continue
        small = arguments.size // 2
        media = moving_crop(small, arguments.frames) if task == "video" else crop(arguments.picture, arguments.size)
        made = media_task(media, every_second=task == "unseen", steps=arguments.steps)
        compare(f"{task}: {media.name}", made, 32 if media.video else 128, arguments.seeds, write)
    report(result["rows"])


def report(rows: dict[str, Any]) -> None:
    """A table for each task."""
    for name, row in rows.items():
        print(f"\n{name}, {row['steps']} steps\n\n| field | PSNR | SSIM | parameters | bytes | seconds | a step |")
        print("|---|---|---|---|---|---|---|")
        plain = row["fields"]["plain"]["step_seconds"] if "plain" in row["fields"] else None
        for field, one in row["fields"].items():
            quality = one.get("psnr_unseen", one["psnr"])
            values = [one["parameters"], one["bytes"], round(one["processor_seconds"], 1)]
            values.append(f"{one['step_seconds'] / plain:.2f}" if plain and one["step_seconds"] else "")
            print(f"| {field} | {quality:.2f} | {one['ssim']:.3f} | " + " | ".join(map(str, values)) + " |")


if __name__ == "__main__":
    main()
