"""Fit a radiance field to the pictures of a scene: one task for the shared trainer, and ``nerf.train``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mappers.options import RunLength, declared_by
from mappers.quality import psnr_of
from mappers.training.draws import Draws
from mappers.training.run_folder import run_folder
from mappers.training.trainer import FitReport, fit

from .cameras import Cameras, Rays
from .evaluation import validate_views
from .fields import Field, FieldError, VolumeField, build_field, moving_family
from .fields.quantized import Quantized
from .fields.splat import SplatField
from .options import TrainOptions
from .rendering.compositing import Rendered, distortion, opacity_entropy, render_rays
from .rendering.hierarchical import CoarseField
from .rendering.occupancy import OccupancyGrid
from .rendering.renderer import Picture, render_picture
from .rendering.samplers import Sampler, UniformSampler
from .rendering.sampling import Marching, Samples
from .runs import Run, VolumeRun
from .scenes import Scene, load_scene
from .settings import RadianceConfig, radiance_settings
from .splats.training import train_splats
from .viewpoints import Viewpoints

Stage = tuple[int | None, RadianceConfig]
"""Resolution of a stage (None: that of the field) and its settings."""


class RadianceTask:
    """Squared error of rendered rays against pictures, plus the penalties in the settings."""

    def __init__(self, scene: Scene, field: VolumeField, config: RadianceConfig, sampler: Sampler):
        self.scene, self.field, self.sampler, self.config = scene, field, sampler, config
        self.quantized = Quantized(field, config.bits) if config.bits else None
        self.modules: Mapping[str, nn.Module] = {"field": self.quantized or field, **sampler.parts()}
        prefix = "field.field" if self.quantized else "field"
        self.rates = {f"{prefix}.{name}": rate for name, rate in field.rates().items()} | dict(sampler.rates())
        self.marching = Marching.through(field.bounds, config.intervals, near=scene.near, far=scene.far)
        self.photos = scene.split("train")
        self.test = scene.split("test" if scene.splits["test"] else "train")

    def batch(self, draws: Draws) -> tuple[Rays, Float[Tensor, "b 3"], Float[Tensor, "b 3"], Float[Tensor, " b"]]:
        """Rays through random pixels outside masks, their colours on a random background, it, and a jitter."""
        u = draws.rows("rays", self.config.train.batch_size, 7).cpu()
        camera, pixels = self.photos.random_pixels(u[:, :3])
        background = u[:, 4:] if self.scene.has_alpha else torch.ones(len(u), 3)
        target = self.photos.colors(camera, pixels, background)
        rays = self.photos.cameras.rays(camera, pixels)
        return rays.to(draws.device), target.to(draws.device), background.to(draws.device), u[:, 3].to(draws.device)

    def begin_step(self, modules: Mapping[str, Callable[..., Any]], draws: Draws) -> None:
        """Update the sampler from the field's density; every process evaluates the same points."""
        moments = draws.shared_generator("moments")

        def density(points: Tensor) -> Tensor:
            times = ()
            if self.scene.cameras.times is not None:  # a cell is occupied if it ever is
                times = (torch.rand(len(points), generator=moments).to(points),)
            return modules["field"](points, None, *times)[0]

        self.sampler.update(density, draws)

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: Any, draws: Draws) -> dict[str, Tensor]:
        rays, target, background, jitter = batch
        samples, sampler_loss = self.sampler.sample(
            modules, rays, self.marching, jitter, target=target, background=background
        )
        out = render_rays(modules["field"], rays, samples, background)
        squared = (out.color - target).square().mean()
        total = squared + sampler_loss + penalties(self.field, self.config, samples, out, self.marching)
        return {"loss": total, "psnr": psnr_of(squared.detach()), "samples": count_per_ray(samples)}

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float | Image.Image]:
        """Mean PSNR in dB of a few test views, and the first view next to its photo."""
        with self.quantized.inside() if self.quantized else nullcontext():
            return validate_views(self.draw, self.test)

    def draw(self, camera: Cameras) -> Picture:
        """The field's view on white."""
        return render_picture(self.field, camera, self.marching, sampler=self.sampler)


def penalties(
    field: VolumeField, config: RadianceConfig, samples: Samples, out: Rendered, marching: Marching
) -> Tensor | float:
    """The sum of the weighted penalties in the settings; penalties of weight zero are not computed."""
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
    bounds: Sequence[Sequence[float]] | Sequence[float] | None = None,
    ndc: bool = True,
    format: str = "auto",
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
        config: all further settings; None takes the defaults of the family.

    Returns:
        The run: field, sampler, marching parameters and report. The same is written to ``output_dir``.

    Raises:
        FileNotFoundError, ValueError: the scene, family or size cannot be used; the message says why.
        TrainingError: training cannot continue; checkpoints are kept.
    """
    started = time.process_time()
    output = run_folder(output_dir, resume=resume)
    if not isinstance(scene, Scene):
        scene = load_scene(scene, downscale=downscale, bounds=bounds, ndc=None if ndc else False, format=format)
    name = field if isinstance(field, str) else field.name
    if scene.cameras.times is not None:
        name = moving_family(name)
    config = config or radiance_settings(name, moving=scene.cameras.times is not None)
    config = dataclasses.replace(
        config, train=config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    )
    final = field if isinstance(field, Field) else build_field(name, scene.bounds, size, seed=seed)
    run = train_field(scene, final, config, staged=isinstance(field, str), output=output, resume=resume)
    run.count_cost(started)
    if output:
        run.save(output, config)
    return run


def train_field(
    scene: Scene,
    field: Field,
    config: RadianceConfig,
    *,
    staged: bool,
    output: Path | None,
    resume: bool | Literal["auto"],
) -> Run:
    """Train a field on a scene's training pictures. The caller saves the run.

    Args:
        scene: pictures and cameras.
        field: the field; with stages, of the last one.
        config: settings; its seed is that of the stages' fields too.
        staged: whether grids go through the stages that the settings ask for.
        output: folder of checkpoints and metrics, or None.
        resume: see `train`.
    """
    check_settings(field, config)
    if isinstance(field, SplatField):
        return train_splats(scene, field, config, output=output, resume=resume)
    plan = stages(field.volume(), config) if staged else [(None, config)]
    return _train_stages(scene, field.volume(), config, plan, output=output, resume=resume)


def _train_stages(
    scene: Scene,
    final: VolumeField,
    config: RadianceConfig,
    plan: Sequence[Stage],
    *,
    output: Path | None,
    resume: bool | Literal["auto"],
) -> Run:
    """Train one stage after the other, each in a folder of its own where there are several."""
    seed, max_minutes = config.train.seed, config.train.max_minutes
    current, sampler, report, task = final, build_sampler(final, config, seed=seed), FitReport(), None
    for number, (resolution, stage) in enumerate(plan):
        if resolution is not None and number == 0:
            coarse = dataclasses.replace(final.config, resolution=resolution)
            current = build_field(final.name, scene.bounds, coarse, seed=seed).volume()
        elif resolution is not None:
            current, sampler = next_stage(current, resolution, config, sampler, first=number == 1)
        if number and max_minutes is not None:
            left = max(max_minutes - report.seconds / 60, 1e-9)
            stage = dataclasses.replace(stage, train=dataclasses.replace(stage.train, max_minutes=left))
        task = RadianceTask(scene, current, stage, sampler)
        folder = output / f"stage_{number}" if output and len(plan) > 1 else output
        # Later stages may not have begun when a run was interrupted.
        resume_stage = resume if number == 0 or not resume else "auto"
        inputs: dict[str, Any] = {
            "scene": scene.content,
            "family": current.name,
            "size": current.config,
            "settings": stage,
        }
        if len(plan) > 1:
            # A longer run has longer stages, and each stage begins with what the one before has learned.
            inputs["steps"] = config.train.steps
        done = fit(task, stage.train, output_dir=folder, resume=resume_stage, inputs=inputs)
        report = merge_reports(report, done)
        if task.quantized:
            task.quantized.round()
        if report.stopped != "steps":
            break
    assert task is not None
    viewpoints = Viewpoints.of(scene.split("train").cameras)
    return VolumeRun(
        current, viewpoints, scene.source, scene.downscale, report, format=scene.format, sampler=sampler,
        marching=task.marching,
    )  # fmt: skip


def check_settings(field: Field, config: RadianceConfig) -> None:
    """Refuse settings that a family cannot follow, before the first step.

    Raises:
        FieldError: naming the setting.
    """
    marched = not isinstance(field, SplatField)
    able = {"shrink": field.shrinkable, "prune": field.prunable}
    for setting in ("fine", "distortion", "opacity", "bits", "l1", "total_variation"):
        able[setting] = marched
    for setting, possible in able.items():
        if getattr(config, setting) and not possible:
            raise FieldError(f"{setting} does not exist for {field.name}; leave it out of the settings")


def stages(field: VolumeField, config: RadianceConfig) -> list[Stage]:
    """Resolution (None: that of the field) and settings of every stage; the steps of all stages add up to the run's."""
    count = config.stages if field.resizable else 1
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
        # Only the last stage lowers its learning rate to zero.
        train_config = dataclasses.replace(
            config.train, steps=max(steps, 1), schedule=config.train.schedule if last else "constant"
        )
        plan.append((resolution, dataclasses.replace(config, train=train_config)))
    return plan


def build_sampler(field: VolumeField, config: RadianceConfig, *, seed: int) -> Sampler:
    """The sampler that the settings name, over the field's box."""
    if config.occupancy:
        return OccupancyGrid(
            field.bounds, config.occupancy, threshold=config.occupancy_threshold, every=config.occupancy_every
        )
    if config.fine:
        return CoarseField(build_field(field.name, field.bounds, field.config, seed=seed + 1).volume(), config.fine)
    return UniformSampler(field.bounds)


def next_stage(
    field: VolumeField, resolution: int, config: RadianceConfig, sampler: Sampler, *, first: bool
) -> tuple[VolumeField, Sampler]:
    """The field of the next stage at its finer resolution, and the sampler over the same box.

    Args:
        field: of the stage that has ended.
        resolution: nodes along an axis in the next one.
        config: whether to shrink the box and prune nodes.
        sampler: of the stage that has ended.
        first: whether the first stage has just ended, so that it is known for the first time which cells are occupied.
    """
    if first and config.shrink:
        bounds = sampler.extent()
        return field.shrunk(bounds, resolution), sampler.shrunk(bounds)
    if config.prune is not None:
        field = field.pruned(config.prune)
    return field.resized(resolution), sampler


def merge_reports(first: FitReport, second: FitReport) -> FitReport:
    """One report of two consecutive stages."""
    losses = first.losses + [(step + first.steps, loss) for step, loss in second.losses]
    return FitReport(first.steps + second.steps, first.seconds + second.seconds, second.stopped, losses, second.metrics)
