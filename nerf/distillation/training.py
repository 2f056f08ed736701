"""Progressive volume distillation: a trained field of any family teaches a field of any other (arXiv 2211.15977).

Both fields are evaluated at the same points of the same rays, which start from random cameras: no photo is opened.
Errors are mean squares, so that weights mean the same for any number of rays and points.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate.utils import reduce
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from mappers.options import RunLength, declared_by
from mappers.quality import psnr_of
from mappers.training.draws import Draws
from mappers.training.run_folder import run_folder
from mappers.training.trainer import fit

from ..cameras import Rays
from ..evaluation import VALIDATION_VIEWS, picture_of, psnr_between
from ..fields import Field, FieldError, VolumeField, build_field, density_of
from ..fields.splat import SplatField
from ..options import DistillOptions
from ..rendering.compositing import composite
from ..rendering.sampling import sample_points
from ..runs import Run, VolumeRun, load_run
from ..settings import DistillConfig, distill_settings
from .closed_form import initialize_from_teacher
from .comparison import compare_student
from .hard_examples import HardExamples, heaviest_samples
from .views import distill_views


@dataclasses.dataclass
class RayBatch:
    """Rays of a micro-batch, what their rendering draws, and what came of it."""

    rays: Rays
    background: Float[Tensor, "b 3"]
    jitter: Float[Tensor, " b"]
    errors: Float[Tensor, " b"] | None = None
    """Squared error of each ray's colour, 0..1, which `DistillationTask.loss` notes; None if nothing was rendered."""


class DistillationTask:
    """The student's errors against its teacher, in stages.

    Stage 1 compares features (log-density and colour features), stage 2 adds density and colour at points, stage 3
    adds rendered pixels. Stage 1 needs learned heads and equally many features on both sides: voxel grids leave it out.
    """

    def __init__(self, teacher: VolumeRun, student: VolumeField, config: DistillConfig):
        self.teacher, self.student, self.config = teacher, student, config
        teacher.field.requires_grad_(False).eval()
        teacher.sampler.requires_grad_(False).eval()
        self.sampler, self.marching = teacher.sampler, teacher.marching
        self.hard = HardExamples(config, teacher.viewpoints)
        self.modules: Mapping[str, nn.Module] = {
            "student": Student(student),
            **({"hard": self.hard} if config.hard_cameras or config.hard_rays else {}),
        }
        self.rates = {f"student.field.{prefix}": rate for prefix, rate in student.rates().items()}
        heads = student.learned_head and teacher.field.learned_head
        comparable = heads and student.feature_size == teacher.field.feature_size
        steps = config.train.steps
        self.features_until = round(config.features_until * steps) if comparable else 0
        self.points_until = round(config.points_until * steps)
        generator = torch.Generator().manual_seed(config.train.seed)
        self.validation_cameras = teacher.viewpoints.draw(VALIDATION_VIEWS, generator)

    def begin_step(self, modules: Mapping[str, Callable[..., Any]], draws: Draws) -> None:
        """Choose the step's cameras, some of them from the pool of hard ones."""
        generator = draws.shared_generator("cameras")
        self.hard.choose_cameras(self.teacher.viewpoints.draw(self.config.cameras, generator), generator)

    def batch(self, draws: Draws) -> RayBatch:
        """Rays through random pixels of random cameras, a background for each and a jitter."""
        self.teacher.to(draws.device)
        total = self.config.train.batch_size
        cameras = self.hard.step_cameras
        u = draws.rows("rays", total, 7).cpu()
        # Rays of one camera lie together, so that each process has whole cameras where they divide evenly.
        index = torch.tensor(draws.indices) * len(cameras) // total
        pixels = u[:, 1:3] * torch.tensor([cameras.width, cameras.height])
        rays = self.hard.rays(cameras.rays(index, pixels), draws)
        return RayBatch(rays.to(draws.device), u[:, 4:].to(draws.device), u[:, 3].to(draws.device))

    def loss(self, modules: Mapping[str, Callable[..., Any]], batch: RayBatch, draws: Draws) -> dict[str, Tensor]:
        rays, config, teacher = batch.rays, self.config, self.teacher.field
        samples = self.sampler.march(rays, self.marching, batch.jitter)
        points, views = sample_points(rays, samples), rays.views[samples.ray]
        with torch.no_grad():
            target = teacher.features(points)
        clamp = {"min": config.lowest, "max": config.highest}
        if draws.step < self.features_until:
            features = modules["student"](points)
            log_error = features[:, :1].float().clamp(**clamp) - target[:, :1].clamp(**clamp)
            error = torch.cat([log_error, features[:, 1:].float() - target[:, 1:]], -1)
            return {"loss": config.feature_weight * mean(error.square())}

        with torch.no_grad():
            target_color = teacher.color(target, views).float()
            truth = composite(samples, density_of(target[:, 0]), target_color, batch.background)
        features, color = modules["student"](points, views)
        out = composite(samples, density_of(features[:, 0]), color.float(), batch.background)
        chosen = heaviest_samples(samples, out, truth) if config.hard_points else slice(None)
        log_error = features[:, 0].float().clamp(**clamp) - target[:, 0].clamp(**clamp)
        loss = config.density_weight * mean(log_error.square()[chosen])
        loss = loss + config.color_weight * mean((color.float() - target_color).square()[chosen])
        squared = (out.color - truth.color).square().mean(-1)
        if draws.step >= self.points_until:
            loss = loss + squared.mean()
            loss = loss + self.student.penalty(l1=config.l1, total_variation=config.total_variation)
        batch.errors = squared.detach()
        return {"loss": loss, "psnr": psnr_of(batch.errors.mean())}

    def after_backward(self, batch: RayBatch, draws: Draws) -> None:
        """Put the rays and cameras with the greatest errors into the pools."""
        if batch.errors is not None:
            self.hard.record(batch.rays, batch.errors, draws)

    def validate(self, modules: Mapping[str, Callable[..., Any]], step: int) -> dict[str, float | Image.Image]:
        """Mean PSNR in dB between student and teacher in a few views, and the first pair of views."""
        student = dataclasses.replace(self.teacher, field=self.student)
        pair = [run.draw(self.validation_cameras[0]).color for run in (student, self.teacher)]
        nearness = psnr_between(student.draw, self.teacher.draw, self.validation_cameras)
        return {"psnr_to_teacher": nearness, "view": picture_of(torch.cat(pair, 1))}


class Student(nn.Module):
    """A field whose features, or features and colours, are computed in one call, as distillation needs them."""

    def __init__(self, field: VolumeField):
        super().__init__()
        self.field = field

    def forward(self, points: Tensor, views: Tensor | None = None) -> Any:
        features = self.field.features(points)
        if views is not None:
            return features, self.field.color(features, views)
        # Processes that learn together wait for a gradient of every parameter, be it zero.
        return features + 0 * sum(p.sum() for p in self.field.head.parameters())


def mean(values: Tensor) -> Tensor:
    """The mean; zero if there are no values.

    Processes have unequal numbers of points: each divides by the mean number, so that their average is the mean over
    all points.
    """
    count = reduce(torch.tensor(float(values.numel()), device=values.device), reduction="mean")
    return values.sum() / cast(Tensor, count).clamp(min=1e-6)


@declared_by(DistillOptions, RunLength)
def distill(
    teacher: Run | str | Path,
    field: str | Field,
    *,
    size: str | Any = "small",
    steps: int | None = None,
    max_minutes: float | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    config: DistillConfig | None = None,
    scratch: bool = False,
) -> Run:
    """Turn a trained field into one of another family or size.

    No photo is opened while it learns. With an output folder the student is then compared with its teacher, and in
    the test views with the photos, where the teacher's scene can still be opened.

    ``teacher`` may also be a run, which is left bit-identical, ``field`` a field to train further, and ``size`` a
    configuration of the family.

    Args:
        config: all further settings; None takes the defaults of the student's family.

    Returns:
        The student's run, with the teacher's occupancy grid or coarse network.

    Raises:
        FileNotFoundError, ValueError: the teacher, family or size cannot be used; the message says why.
        TrainingError: training cannot continue; checkpoints are kept.
    """
    started = time.process_time()
    output = run_folder(output_dir, resume=resume)
    teacher = teacher if isinstance(teacher, Run) else load_run(teacher)
    name = field if isinstance(field, str) else field.name
    config = config or distill_settings(name)
    config = dataclasses.replace(
        config, train=config.train.with_overrides(steps=steps, max_minutes=max_minutes, seed=seed)
    )
    student = field if isinstance(field, Field) else build_field(name, teacher.field.bounds, size, seed=seed)
    if isinstance(student, SplatField) or isinstance(teacher.field, SplatField):
        run = distill_views(teacher, student, config, fresh=student is not field, output=output, resume=resume)
    else:
        run = _distill_points(
            teacher.volume(), student.volume(), config, fresh=student is not field, output=output, resume=resume
        )
    run.count_cost(started)
    if output:
        run.figures |= compare_student(run, teacher, scratch=scratch, seed=seed)
        run.save(output, config)
    return run


def _distill_points(
    teacher: VolumeRun,
    student: VolumeField,
    config: DistillConfig,
    *,
    fresh: bool,
    output: Path | None,
    resume: bool | Literal["auto"],
) -> VolumeRun:
    """Distil one field with a density into another; ``fresh`` students start from what the teacher knows."""
    if fresh and config.inherit == "head":
        inherit_head(teacher.field, student)
    if fresh and config.closed_form:
        initialize_from_teacher(teacher.field, student, (config.lowest, config.highest))
    inputs = {
        "teacher": {"field": teacher.field, "sampler": teacher.sampler, "marching": teacher.marching},
        "viewpoints": teacher.viewpoints, "family": student.name, "size": student.config, "settings": config,
    }  # fmt: skip
    task = DistillationTask(teacher, student, config)
    report = fit(task, config.train, output_dir=output, resume=resume, inputs=inputs)
    return dataclasses.replace(teacher, field=student, report=report, figures={})


def inherit_head(teacher: VolumeField, student: VolumeField) -> bool:
    """Copy the teacher's learned colour head, tensor by tensor, where both have the same one; return whether they had.

    Raises:
        FieldError: the heads' tensors have the same names but other shapes.
    """
    theirs, ours = teacher.head.state_dict(), student.head.state_dict()
    if not theirs or list(theirs) != list(ours):
        return False
    for name, value in theirs.items():
        if ours[name].shape != value.shape:
            raise FieldError(f"the colour heads differ in {name}: {list(value.shape)} and {list(ours[name].shape)}")
    student.head.load_state_dict(theirs)
    return True
