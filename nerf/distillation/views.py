"""A teacher's views as a scene: what students learn from where one of the two has no density at points."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..cameras import Cameras
from ..export import surface_points
from ..fields import Field
from ..fields.splat import SplatField
from ..runs import Run
from ..scenes import Scene
from ..settings import DistillConfig, radiance_settings
from ..splats.start import splats_on_surface
from ..training import train_field


def drawn_scene(teacher: Run, cameras: Cameras) -> tuple[Scene, Float[Tensor, "m 3"], Float[Tensor, "m 3"]]:
    """A scene whose training pictures are a teacher's views.

    Returns:
        The scene, and points of its surfaces with their colours.

    Raises:
        ValueError: no ray of the views ends at a surface.
    """
    pictures, points, colors = [], [], []
    for index in tqdm(range(len(cameras)), unit="view", desc="drawing the teacher", disable=None):
        view = teacher.draw(cameras[index], background=0.0)
        opacity = view.opacity.clamp(1e-6, 1)[..., None]
        straight = torch.cat([(view.color / opacity).clamp(0, 1), view.opacity.clamp(0, 1)[..., None]], -1)
        pictures.append((straight * 255).round().byte().cpu())
        at, hit = surface_points(teacher, cameras[index], view)
        points.append(at)
        colors.append(straight[..., :3].cpu().flatten(0, 1)[hit])
    surface = torch.cat(points)
    if not len(surface):
        raise ValueError("no ray of the teacher's views ends at a surface; train the teacher longer")
    bounds = teacher.field.bounds.cpu()
    if teacher.viewpoints.ndc is not None:  # the box of NDC is not the world's
        bounds = torch.stack([surface.amin(0), surface.amax(0)])
    distance = (cameras.positions[:, None] - bounds).norm(dim=-1)
    reach = float((bounds[1] - bounds[0]).norm())
    scene = Scene(
        name=teacher.scene, pictures=torch.stack(pictures), cameras=dataclasses.replace(cameras, ndc=None),
        splits={"train": list(range(len(cameras))), "val": [], "test": []}, bounds=bounds,
        near=max(float(distance.amin()) - reach, 1e-3 * reach), far=float(distance.amax()) + reach, has_alpha=True,
        names=tuple(f"view {index}" for index in range(len(cameras))), source=teacher.scene,
        downscale=teacher.downscale, format=teacher.format,
    )  # fmt: skip
    return scene, surface, torch.cat(colors)


def distill_views(
    teacher: Run,
    student: Field,
    config: DistillConfig,
    *,
    fresh: bool,
    output: Path | None,
    resume: bool | Literal["auto"],
) -> Run:
    """Distil where teacher or student are splats: by pixels alone, PVD's third stage (arXiv 2211.15977, section 3.3).

    Args:
        teacher: the trained field.
        student: of the family and size that are wanted.
        config: settings; its views are drawn once, at the beginning.
        fresh: whether splats start on the surfaces that the teacher's views show.
        output: folder of the run, or None.
        resume: see `nerf.distill`.
    """
    generator = torch.Generator().manual_seed(config.train.seed)
    cameras = teacher.viewpoints.draw(config.views, generator)
    scene, points, colors = drawn_scene(teacher, cameras)
    if isinstance(student, SplatField) and fresh:
        student = splats_on_surface(points, colors, scene.bounds, student.config, generator)
    settings = radiance_settings(student.name, moving=False)
    learning = config.train
    if not isinstance(student, SplatField):
        # Nothing but pixels teaches it, so it learns at the rates of a training on photos.
        rate, batch = settings.train.learning_rate, settings.train.batch_size
        learning = dataclasses.replace(learning, learning_rate=rate, batch_size=batch)
    settings = dataclasses.replace(settings, train=learning)
    run = train_field(scene, student, settings, staged=False, output=output, resume=resume)
    return dataclasses.replace(run, viewpoints=teacher.viewpoints)
