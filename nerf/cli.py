"""The command line ``mapfield nerf``: radiance fields, fields of pictures and videos, and compressed files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mappers.command_line import Configured, Training, run_command

from .compression.cli import Compression
from .media import is_video
from .options import DistillOptions, ExportOptions, FitOptions, MakeSceneOptions, RenderOptions, TrainOptions
from .settings import (
    DistillConfig,
    FitConfig,
    RadianceConfig,
    distill_settings,
    fit_settings,
    radiance_settings,
    scene_moves,
)


@dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Fit a radiance field to the pictures of a scene."""

    options: Annotated[TrainOptions, tyro.conf.arg(name="")]
    training: Annotated[Training, tyro.conf.arg(name="")] = Training()
    settings: Annotated[RadianceConfig, tyro.conf.arg(name="")] = RadianceConfig()

    def chosen_settings(self) -> RadianceConfig:
        options = self.options
        moving = options.scene is not None and scene_moves(options.scene)
        return radiance_settings(options.field, moving=moving, source=self.training.config)

    def run(self) -> None:
        from .training import train

        run = train(**vars(self.options), **vars(self.training.length), config=self.settings)
        print(f"{self.options.output_dir}\t{_figures(run.report.metrics | run.figures)}")


@dataclass(frozen=True, kw_only=True)
class FitMedia(Configured):
    """Fit a field to a picture, a video or a folder of frames."""

    options: Annotated[FitOptions, tyro.conf.arg(name="")]
    training: Annotated[Training, tyro.conf.arg(name="")] = Training()
    settings: Annotated[FitConfig, tyro.conf.arg(name="")] = FitConfig()

    def chosen_settings(self) -> FitConfig:
        media = self.options.media
        return fit_settings(video=media is not None and is_video(media), source=self.training.config)

    def run(self) -> None:
        from .media.fitting import fit_media

        fit = fit_media(**vars(self.options), **vars(self.training.length), config=self.settings)
        print(f"{self.options.output_dir}\t{_figures(fit.figures)}")


@dataclass(frozen=True, kw_only=True)
class Distill(Configured):
    """Turn a trained field into one of another family or size, without its photos."""

    options: Annotated[DistillOptions, tyro.conf.arg(name="")]
    training: Annotated[Training, tyro.conf.arg(name="")] = Training()
    settings: Annotated[DistillConfig, tyro.conf.arg(name="")] = DistillConfig()

    def chosen_settings(self) -> DistillConfig:
        return distill_settings(self.options.field, source=self.training.config)

    def run(self) -> None:
        from .distillation.training import distill

        run = distill(**vars(self.options), **vars(self.training.length), config=self.settings)
        print(f"{self.options.output_dir}\t{_figures(run.report.metrics | run.figures)}")


@dataclass(frozen=True, kw_only=True)
class Render:
    """Draw a trained field: a video or single views of a turntable, of a camera path, or of the photos' cameras."""

    options: Annotated[RenderOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        from .drawing import render

        print(render(**vars(self.options)))


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Compare a trained field with photos: PSNR, SSIM, LPIPS, every view as a picture, and a contact sheet."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    scene: str | None = None
    """Scene to compare with; if not given, the one that the field was trained on."""
    split: Literal["train", "val", "test"] = "test"
    """Which pictures of the scene."""

    def run(self) -> None:
        from .evaluation import evaluate_views
        from .runs import load_run

        run = load_run(self.run_dir)
        scene = run.photos(self.scene)
        means = evaluate_views(run.draw, scene, split=self.split, output_dir=self.run_dir)
        print(_figures(means))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained field as a coloured mesh (ply, glb, obj) or as a point cloud (ply)."""

    options: Annotated[ExportOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        from .drawing import export

        print(export(**vars(self.options)))


@dataclass(frozen=True, kw_only=True)
class MakeScene:
    """Render a small scene in NeRF-synthetic format, from solids or from a mesh file."""

    options: Annotated[MakeSceneOptions, tyro.conf.arg(name="")]

    def run(self) -> None:
        from .scenes import make_scene

        make_scene(**vars(self.options))
        print(self.options.output)


Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[FitMedia, tyro.conf.subcommand("fit")]
    | Annotated[Distill, tyro.conf.subcommand("distill")]
    | Annotated[Render, tyro.conf.subcommand("render")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[MakeScene, tyro.conf.subcommand("make-scene")]
    | Compression
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(Command, words, prog="mapfield nerf")


def _figures(values: Mapping[str, float | str]) -> str:
    return "\t".join(
        f"{name} {value if isinstance(value, str | int) else f'{value:.4g}'}" for name, value in values.items()
    )
