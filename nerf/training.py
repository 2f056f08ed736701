"""Fit a radiance field to the pictures of a scene: one task for the shared trainer, and ``nerf.train``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mappers.draws import Draws
from mappers.options import RunLength, declared_by
from mappers.quality import psnr, psnr_of
from mappers.trainer import FitReport, fit

from .cameras import Rays
from .evaluation import picture_of
from .fields import Field, FieldError, build_field, moving_family
from .fields.quantized import Quantized
from .options import TrainOptions
from .rendering.compositing import Rendered, distortion, opacity_entropy
from .rendering.hierarchical import CoarseField
from .rendering.occupancy import OccupancyGrid
from .rendering.renderer import Sampler, march, render_picture, render_rays
from .rendering.sampling import Marching, Samples
from .runs import Run, output_folder
from .scenes import Scene, load_scene
from .settings import RadianceConfig, radiance_settings
from .viewpoints import Viewpoints

WARM_UPDATES = 16
"""Updates of the occupancy grid that look into every cell."""
VALIDATION_VIEWS = 3
"""Test views drawn at a validation."""


class RadianceTask:
    """Squared error of rendered rays against pictures, plus the penalties that the settings ask for."""

    def __init__(self, scene: Scene, field: Field, config: RadianceConfig, sampler: Sampler | None):
        self.scene, self.field, self.sampler, self.config = scene, field, sampler, config
        fields = {"field": field, **({"coarse": sampler.field} if isinstance(sampler, CoarseField) else {})}
        grid = {"grid": sampler} if isinstance(sampler, OccupancyGrid) else {}
        self.rates = {f"{name}.{prefix}": rate for name, f in fields.items() for prefix, rate in f.rates().items()}
        self.quantized = Quantized(field, config.bits) if config.bits else None
        self.modules: Mapping[str, nn.Module] = {**fields, **grid}
        if self.quantized:
            self.modules = {**self.modules, "field": self.quantized}
            self.rates |= {f"field.field.{prefix}": rate for prefix, rate in field.rates().items()}
        self.marching = Marching.through(field.bounds, config.intervals, near=scene.near, far=scene.far)
        self.photos = scene.split("train")
        self.test = scene.split("test" if scene.splits["test"] else "train")
        self.updated = -1

    def batch(self, draws: Draws) -> tuple[Rays, Float[Tensor, "b 3"], Float[Tensor, "b 3"], Float[Tensor, " b"]]:
        """Rays through random pixels, their colours on a random background, that background, and a jitter."""
        cameras = self.photos.cameras
        u = draws.rows("rays", self.config.train.batch_size, 7).cpu()
        camera = (u[:, 0] * len(cameras)).long()
        column, row = (u[:, 1] * cameras.width).long(), (u[:, 2] * cameras.height).long()
        pixels = torch.stack([column, row], -1) + 0.5
        background = u[:, 4:] if self.scene.has_alpha else torch.ones(len(u), 3)
        target = self.photos.colors(camera, pixels, background)
        rays = cameras.rays(camera, pixels)
        return rays.to(draws.device), target.to(draws.device), background.to(draws.device), u[:, 3].to(draws.device)

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Any, draws: Draws) -> dict[str, Tensor]:
        rays, target, background, jitter = batch
        coarse = torch.zeros((), device=target.device)
        if isinstance(self.sampler, CoarseField):
            even = self.sampler.evenly(rays, self.marching, jitter)
            seen = render_rays(modules["coarse"], rays, even, background)
            coarse = (seen.color - target).square().mean()
            samples = self.sampler.refine(even, seen.weights, jitter)
        else:
            self.update_grid(modules["field"], draws)
            samples = march(rays, self.marching, self.field.bounds, self.sampler, jitter)
        out = render_rays(modules["field"], rays, samples, background)
        squared = (out.color - target).square().mean()
        total = squared + coarse + penalties(self.field, self.config, samples, out, self.marching)
        return {"loss": total, "psnr": psnr_of(squared.detach()), "samples": count_per_ray(samples)}

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float | Image.Image]:
        """PSNR of a few test views, and the first of them beside its photo."""
        with self.quantized.inside() if self.quantized else nullcontext():
            return self._measured()

    def _measured(self) -> dict[str, float | Image.Image]:
        views = [self.draw(i) for i in range(min(VALIDATION_VIEWS, len(self.test.cameras)))]
        mean = sum(psnr(color, truth) for color, truth in views) / len(views)
        return {"psnr": mean, "view": picture_of(torch.cat(views[0], 1))}

    def draw(self, index: int) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w 3"]]:
        """A test view as the field shows it and as it is, on white."""
        picture = render_picture(self.field, self.test.cameras[index], self.marching, sampler=self.sampler)
        return picture.color, self.test.picture(index).to(picture.color)

    def update_grid(self, field: Callable[..., Any], draws: Draws) -> None:
        """Refresh the occupancy grid if there is one and this step is due; every process draws the same points."""
        every = self.config.occupancy_every
        if not isinstance(self.sampler, OccupancyGrid) or draws.step % every or self.updated == draws.step:
            return
        self.updated = draws.step
        moments = draws.shared_generator("moments")

        def density(points: Tensor) -> Tensor:
            times = ()
            if self.scene.cameras.times is not None:  # a cell is occupied if it ever is
                times = (torch.rand(len(points), generator=moments).to(points),)
            return field(points, None, *times)[0]

        self.sampler.update(
            density,
            threshold=self.config.occupancy_threshold,
            generator=draws.shared_generator("occupancy"),
            warm=draws.step < WARM_UPDATES * every,
        )


def penalties(
    field: Field, config: RadianceConfig, samples: Samples, out: Rendered, marching: Marching
) -> Tensor | float:
    """The weighted penalties of settings; those of weight zero are not computed."""
    total = field.penalty(l1=config.l1, total_variation=config.total_variation)
    if config.distortion:
        span = min(marching.far - marching.near, marching.step * config.intervals)
        total = total + config.distortion * distortion(samples, out.weights).mean() / span
    if config.opacity:
        total = total + config.opacity * opacity_entropy(out.opacity).mean()
    return total


def count_per_ray(samples: Samples) -> Tensor:
    """Mean number of samples on a ray."""
    return torch.tensor(len(samples) / max(samples.rays, 1), device=samples.ray.device)


@declared_by(TrainOptions, RunLength)
def train(
    scene: Scene | str | Path,
    field: str | Field = "hash",
    *,
    size: str | Any = "small",
    downscale: float = 1,
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    config: RadianceConfig | None = None,
) -> Run:
    """Fit a field to a scene's training pictures.

    ``scene`` may also be a loaded `Scene`, ``field`` a field to train further, and ``size`` a configuration of its
    family. In a scene that moves, "cam" means "cam-time".

    Args:
        config: all further settings; None takes the family's own.

    Returns:
        The run: field, occupancy grid, how to march, and the report. Also in ``output_dir``.

    Raises:
        FileNotFoundError, ValueError: the scene, family or size cannot be used; the message says why.
        TrainingError: training cannot go on; checkpoints are kept.
    """
    started = time.process_time()
    scene = scene if isinstance(scene, Scene) else load_scene(scene, downscale=downscale)
    name = field if isinstance(field, str) else field.name
    if scene.cameras.times is not None:
        name = moving_family(name)
    config = config or radiance_settings(name, moving=scene.cameras.times is not None)
    config = dataclasses.replace(
        config, train=config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    )
    output = output_folder(output_dir, resume)
    final = field if isinstance(field, Field) else build_field(name, scene.bounds, size, seed=seed)
    plan = stages(final, config) if isinstance(field, str) else [(None, config)]
    for setting, method in (("shrink", "shrunk"), ("prune", "pruned")):
        if getattr(config, setting) and not hasattr(final, method):
            raise FieldError(f"{setting} does not exist for {name}; leave it out of the settings")
    sampler = build_sampler(final, config, seed=seed)
    current, report, task = final, FitReport(), None
    for number, (resolution, stage) in enumerate(plan):
        if resolution is not None and number == 0:
            coarse = dataclasses.replace(final.config, resolution=resolution)
            current = build_field(name, scene.bounds, coarse, seed=seed)
        elif resolution is not None:
            current, sampler = next_stage(current, resolution, config, sampler, first=number == 1)
        if number and max_minutes is not None:
            left = max(max_minutes - report.seconds / 60, 1e-9)
            stage = dataclasses.replace(stage, train=stage.train.with_overrides(max_minutes=left))
        task = RadianceTask(scene, current, stage, sampler)
        folder = output / f"stage_{number}" if output and len(plan) > 1 else output
        # Later stages may not have begun when a run was interrupted.
        resume_stage = resume if number == 0 or not resume else "auto"
        report = merge_reports(report, fit(task, stage.train, output_dir=folder, resume=resume_stage))
        if task.quantized:
            task.quantized.round()
        if report.stopped != "steps":
            break
    assert task is not None
    viewpoints = Viewpoints.of(scene.split("train").cameras)
    run = Run(current, sampler, task.marching, viewpoints, scene.source, scene.downscale, report)
    run.count_cost(started)
    if output:
        run.save(output, config)
    return run


def stages(field: Field, config: RadianceConfig) -> list[tuple[int | None, RadianceConfig]]:
    """Resolution (None: nothing to grow) and settings of every stage; their steps add up to the whole run's."""
    count = config.stages if hasattr(field, "resized") else 1
    if count == 1:
        return [(None, config)]
    final = field.config.resolution
    total = config.train.steps
    early = max(round(total * config.growth_share / (count - 1)), 1)
    plan = []
    for number in range(count):
        resolution = round(final * config.coarsest ** (1 - number / (count - 1)))
        last = number == count - 1
        steps = total - early * (count - 1) if last else early
        # Only the last stage lowers its rate to zero; the ones before it are not the end of anything.
        train_config = dataclasses.replace(
            config.train, steps=max(steps, 1), schedule=config.train.schedule if last else "constant"
        )
        plan.append((resolution, dataclasses.replace(config, train=train_config)))
    return plan


def build_sampler(field: Field, config: RadianceConfig, *, seed: int) -> Sampler | None:
    """What chooses the samples of rays through a field's box, as the settings ask."""
    if config.occupancy:
        return OccupancyGrid(field.bounds, config.occupancy)
    if config.fine:
        return CoarseField(build_field(field.name, field.bounds, field.config, seed=seed + 1), config.fine)
    return None


def next_stage(
    field: Any, resolution: int, config: RadianceConfig, sampler: Sampler | None, *, first: bool
) -> tuple[Field, Sampler | None]:
    """The field of the next stage at its finer resolution, and the sampler over the same box.

    Args:
        first: whether the first stage has just ended, so that it is known for the first time which cells are occupied.
    """
    if first and config.shrink and isinstance(sampler, OccupancyGrid):
        bounds = sampler.extent()
        return field.shrunk(bounds, resolution), sampler.shrunk(bounds)
    if config.prune is not None:
        field = field.pruned(config.prune)
    return field.resized(resolution), sampler


def merge_reports(first: FitReport, second: FitReport) -> FitReport:
    """Two stages' reports as one."""
    losses = first.losses + [(step + first.steps, loss) for step, loss in second.losses]
    return FitReport(first.steps + second.steps, first.seconds + second.seconds, second.stopped, losses, second.metrics)
