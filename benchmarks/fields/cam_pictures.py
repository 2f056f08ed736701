"""What modulation changes, as pictures: ``python -m benchmarks.fields.cam_pictures --picture FILE``.

Fits "cam", "normed" and "plain" to the middle of a picture, to the moving crop and to scenes, one seed each, and puts
truth and fits side by side with their error maps beneath: ``docs/images/cam/fits.png``. The PSNR of the picture over
steps is ``docs/images/cam/curves.png``. One thread.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.common.results import IMAGES, RUNS
from benchmarks.fields.cam import FIELDS, crop, moving_crop, scene_of, scene_size
from mappers.command_line import run_script
from mappers.files import replacing
from mappers.quality import psnr
from mappers.yaml_settings import load_settings
from nerf.evaluation import error_map
from nerf.media.fields import PictureConfig, VideoConfig
from nerf.media.fitting import draw, fit_media
from nerf.media.reading import FrameSequence
from nerf.settings import FitConfig, RadianceConfig
from nerf.training import train

SHOWN = FIELDS[:3]
View = Float[Tensor, "h w 3"]
Row = tuple[View, dict[str, View]]
"""Truth, and what each field shows."""


def media_row(media: FrameSequence, steps: int, folder: Path) -> Row:
    """The middle frame; the folders keep the metrics."""
    config = load_settings(FitConfig, "video" if media.video else "picture", task="fit")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, log_every=20, cpu=True))
    number, shown = len(media.frames) // 2, {}
    for field in SHOWN:
        size = (
            VideoConfig(height=media.size[0], width=media.size[1], modulation=field, channels=32)
            if media.video
            else PictureConfig(modulation=field, width=128)
        )
        fit = fit_media(media, size=size, steps=steps, config=config, output_dir=folder / field, resume="auto")
        shown[field] = draw(fit.field, media, number)
    return media.frames[number].float() / 255, shown


def scene_row(name: str, steps: int, view: int) -> Row:
    """One test view."""
    scene, family = scene_of(name, downscale=2)
    config = load_settings(RadianceConfig, family, task="train")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, cpu=True))
    photos, shown = scene.split("test"), {}
    for field in SHOWN:
        trained = train(scene, family, size=scene_size(family, field, 96), steps=steps, config=config)
        shown[field] = trained.draw(photos.cameras[view]).color.cpu()
    return photos.picture(view), shown


def sheet(rows: dict[str, Row], path: Path) -> None:
    """Every row twice: views, and their errors."""
    figure = Figure(figsize=(9, 4.6 * len(rows)), layout="constrained")
    axes = figure.subplots(2 * len(rows), 1 + len(SHOWN), squeeze=False)
    for place, (name, (truth, shown)) in enumerate(rows.items()):
        views, errors = axes[2 * place], axes[2 * place + 1]
        views[0].imshow(truth.numpy())
        views[0].set_title(name)
        for number, (field, view) in enumerate(shown.items(), 1):
            views[number].imshow(view.clamp(0, 1).numpy())
            views[number].set_title(f"{field}, {psnr(view, truth):.1f} dB")
            errors[number].imshow(error_map(view.clamp(0, 1), truth).numpy())
    for one in axes.flat:
        one.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=80)


def curves(folder: Path, path: Path) -> None:
    """PSNR of the pixels of a step over steps."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for field in SHOWN:
        lines = (folder / field / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        points = [(row["step"], row["train/psnr"]) for row in map(json.loads, lines) if "train/psnr" in row]
        axes.plot(*zip(*points, strict=True), label=field)
    axes.set(xlabel="steps", ylabel="PSNR of a step's pixels (dB)")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def main(*, picture: Path, scenes: tuple[str, ...] = ("beetles", "clockwork"), steps: int = 800, view: int = 1,
         runs: Path = RUNS / "cam_pictures", images: Path = IMAGES / "cam") -> None:  # fmt: skip
    """Draw fits with and without modulation, and their errors.

    Args:
        picture: Picture file.
        scenes: Scenes.
        steps: Training steps for the picture; the others have half as many.
        view: Test view of the scenes.
        runs: Folder of the fits.
        images: Folder of the two pictures.
    """
    torch.set_num_threads(1)
    rows = {
        picture.stem: media_row(crop(picture, 256), steps, runs / "picture"),
        "moving crop": media_row(moving_crop(64, 24), steps // 2, runs / "video"),
    }
    curves(runs / "picture", images / "curves.png")
    for name in scenes:
        rows[name] = scene_row(name, steps // 2, view)
    sheet(rows, images / "fits.png")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
