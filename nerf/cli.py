"""The command line ``python -m nerf``: radiance fields and compressed files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from mappers.command_line import Training, option, run_command
from mappers.yaml_settings import load_settings

from .compression.cli import Compression
from .media import is_video
from .settings import DistillConfig, FitConfig, RadianceConfig


@dataclass(frozen=True, kw_only=True)
class Train:
    """Fit a radiance field to the pictures of a scene."""

    scene: str
    """Folder of a scene (NeRF-synthetic, nerfstudio, LLFF, plain pictures), or a shipped one: robot, lighthouse, ..."""
    output: Path
    """Folder for checkpoints, metrics, views and the trained field."""
    field: str = "hash"
    """Family: hash, mlp, voxel, vm, cp or cam."""
    size: str = "small"
    """Named size of the family: small or paper."""
    downscale: float = 1
    """Shrink the pictures by this factor."""
    training: Annotated[Training, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Training)
    settings: Annotated[RadianceConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=RadianceConfig)

    def run(self) -> None:
        from .training import train

        run = train(
            self.scene, self.field, size=self.size, downscale=self.downscale, output_dir=self.output,
            config=self.settings, **self.training.arguments,
        )  # fmt: skip
        print(f"{self.output}\t{_figures(run.report.metrics | run.figures)}")


@dataclass(frozen=True, kw_only=True)
class FitMedia:
    """Fit a field to a picture, a video or a folder of frames."""

    media: Positional[Path]
    """Picture or video file, or a folder with the frames of one."""
    output: Path
    """Folder for checkpoints, metrics, the field, and the picture or film that it shows."""
    field: Literal["cam", "normed", "plain"] = "cam"
    """With norm and modulation grids, with the norm alone, or with neither."""
    size: str = "small"
    """Named size: small or paper."""
    training: Annotated[Training, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Training)
    settings: Annotated[FitConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=FitConfig)

    def run(self) -> None:
        from .media.fitting import fit_media

        fit = fit_media(
            self.media, self.field, size=self.size, output_dir=self.output, config=self.settings,
            **self.training.arguments,
        )  # fmt: skip
        print(f"{self.output}\t{_figures(fit.figures)}")


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Turn a trained field into one of another family or size, without its photos."""

    teacher: Path
    """Folder of the teacher's run."""
    output: Path
    """Folder for checkpoints, metrics, views and the student."""
    field: str = "mlp"
    """Family of the student: hash, mlp, voxel, vm, cp or cam."""
    size: str = "small"
    """Named size of the family: small or paper."""
    scratch: bool = False
    """Also train the same family and size on the scene's photos for as many seconds, to compare with."""
    training: Annotated[Training, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Training)
    settings: Annotated[DistillConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=DistillConfig)

    def run(self) -> None:
        from .distillation.training import distill

        run = distill(
            self.teacher, self.field, size=self.size, output_dir=self.output, scratch=self.scratch,
            config=self.settings, **self.training.arguments,
        )  # fmt: skip
        print(f"{self.output}\t{_figures(run.report.metrics | run.figures)}")


@dataclass(frozen=True, kw_only=True)
class Render:
    """Draw a trained field: a film of a camera that turns around it, or single views."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    output: Path | None = None
    """An mp4 or gif, or a folder for single views; turntable.mp4 in the run's folder when not given."""
    views: int = 48
    """Pictures on the circle."""
    size: int = 200
    """Width and height in pixels."""
    elevation: float = 25.0
    """Degrees above the horizon."""
    radius: float | None = None
    """Distance of the camera from the middle; that of the photos when not given."""
    depth: bool = False
    """Show the depth beside each picture."""
    fps: int = 24
    """Pictures per second."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .evaluation import depth_map, picture_of
        from .export import FILMS, render_film
        from .runs import load_run, turntable

        run = load_run(self.run_dir)
        cameras = turntable(run, self.views, size=self.size, elevation=self.elevation, radius=self.radius)
        output = self.output or self.run_dir / "turntable.mp4"
        if output.suffix.lower() in FILMS:
            render_film(run, cameras, output, fps=self.fps, depth=self.depth)
        else:
            output.mkdir(parents=True, exist_ok=True)
            for index in range(len(cameras)):
                view = run.draw(cameras[index])
                picture_of(view.color).save(output / f"{index:03d}.png")
                if self.depth:
                    picture_of(depth_map(view)).save(output / f"{index:03d}_depth.png")
        print(output)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Compare a trained field with photos it was not trained on: PSNR, SSIM and LPIPS, and a contact sheet."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    scene: str | None = None
    """Scene to compare with; the one it was trained on when not given."""
    split: Literal["train", "val", "test"] = "test"
    """Which pictures."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .evaluation import evaluate_views
        from .runs import load_run
        from .scenes import load_scene

        run = load_run(self.run_dir)
        scene = load_scene(self.scene or run.scene, downscale=run.downscale)
        means = evaluate_views(run.draw, scene, split=self.split, output_dir=self.run_dir)
        print(_figures(means))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained field as a coloured mesh (ply, glb, obj) or as a point cloud (ply)."""

    run_dir: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run."""
    output: Path
    """File to write; its ending chooses the format."""
    kind: Literal["mesh", "points"] = "mesh"
    """A surface by marching cubes, or where rays of a turntable end."""
    resolution: int = 128
    """Mesh: nodes along an axis."""
    threshold: float = 10.0
    """Mesh: density of the surface, per unit length."""
    views: int = 24
    """Points: pictures on the turntable."""
    size: int = 100
    """Points: width and height of those pictures."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .export import mesh, point_cloud, write_shape
        from .runs import load_run, turntable

        run = load_run(self.run_dir)
        if self.kind == "mesh":
            shape = mesh(run, resolution=self.resolution, threshold=self.threshold)
        else:
            shape = point_cloud(run, turntable(run, self.views, size=self.size))
        write_shape(shape, self.output)
        print(self.output)


@dataclass(frozen=True, kw_only=True)
class MakeScene:
    """Render a small scene in NeRF-synthetic format, from solids or from a mesh file."""

    name: str
    """A scene of solids by name, or an OBJ, PLY or GLB file."""
    output: Path
    """Folder to write."""
    size: int = 100
    """Width and height in pixels."""
    views: tuple[int, int, int] = (24, 4, 8)
    """Pictures for training, validation and test."""
    seed: int = 0
    """Seed of the cameras."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> None:
        from .scenes import make_scene

        make_scene(self.name, self.output, size=self.size, views=self.views, seed=self.seed)
        print(self.output)


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
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(Command, words, prog="python -m nerf", default=defaults)


def defaults(words: list[str]) -> Train | FitMedia | Distill | None:
    """Settings files have to be read before the command line that may override them."""
    if not words or words[0] not in ("train", "fit", "distill"):
        return None
    if words[0] == "fit":
        moving = len(words) > 1 and is_video(words[1])
        name = option(words, "--config", "video" if moving else "picture")
        settings = load_settings(FitConfig, name, task="fit")
        return FitMedia(media=tyro.MISSING, output=tyro.MISSING, settings=settings)
    if words[0] == "train":
        name = option(words, "--config", option(words, "--field", Train.field))
        settings = load_settings(RadianceConfig, name, task="train")
        return Train(scene=tyro.MISSING, output=tyro.MISSING, settings=settings)
    name = option(words, "--config", option(words, "--field", Distill.field))
    settings = load_settings(DistillConfig, name, task="distill")
    return Distill(teacher=tyro.MISSING, output=tyro.MISSING, settings=settings)


def _figures(values: Mapping[str, float | str]) -> str:
    return "\t".join(
        f"{name} {value if isinstance(value, str | int) else f'{value:.4g}'}" for name, value in values.items()
    )
