"""Distillation: what is compared when, and that the student comes near its teacher."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mappers.training.draws import Draws
from mappers.training.monitoring import TrainingError
from mappers.training.trainer import fit
from nerf.cameras import Rays
from nerf.distillation import training as distillation
from nerf.distillation.training import DistillationTask, RayBatch, distill, inherit_head
from nerf.fields import FIELDS, Field, FieldError, build_field
from nerf.fields.base import ColorHead
from nerf.fields.cam import CAMConfig
from nerf.fields.cam_time import CAMTimeConfig
from nerf.fields.hash_grid import HashConfig
from nerf.fields.low_rank import LowRankConfig
from nerf.fields.mlp import MLPConfig
from nerf.fields.voxel import VoxelConfig
from nerf.rendering.occupancy import OccupancyGrid
from nerf.runs import Run, load_run
from nerf.settings import DistillConfig

SIZES: dict[str, Any] = {
    "hash": HashConfig(levels=3, coarsest=8, finest=32, table_log2=12),
    "mlp": MLPConfig(layers=2, width=48, octaves=4),
    "voxel": VoxelConfig(resolution=20),
    "vm": LowRankConfig(resolution=20, density_rank=6, color_rank=8),
    "cp": LowRankConfig(resolution=20, density_rank=24, color_rank=32),
    "cam": CAMConfig(layers=2, color_layers=1, width=48, octaves=4),
    "cam-time": CAMTimeConfig(warp_layers=1, layers=2, width=48, octaves=4),
}


@pytest.fixture
def teacher(trained: tuple[Run, Path]) -> Run:
    return trained[0]


def settings(**changes: Any) -> DistillConfig:
    config = DistillConfig()
    train = dataclasses.replace(config.train, steps=40, batch_size=256, log_every=5, cpu=True, save_every=None)
    return dataclasses.replace(config, train=train, **changes)


def student_of(teacher: Run, name: str, seed: int = 0) -> Field:
    return build_field(name, teacher.field.bounds, SIZES[name], seed=seed)


def batch_of(task: DistillationTask, draws: Draws) -> Any:
    """A step's batch, as the trainer asks for it."""
    task.begin_step(task.modules, draws)
    return task.batch(draws)


def equal(a: Field, b: Field) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"splat"}))
def test_any_family_learns_from_a_hash_grid(name: str, teacher: Run) -> None:
    config = settings()
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, validate_every=40))
    run = distill(teacher, name, size=SIZES[name], config=config)
    assert run.field.name == name
    assert run.sampler is teacher.sampler
    assert run.report.metrics["val/psnr_to_teacher"] > (22 if name in ("voxel", "vm", "cp") else 17)


def test_teacher_stays_bit_identical_and_no_picture_is_opened(
    trained: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained[1]
    before = load_run(folder)

    opened: list[Any] = []
    original = Image.open

    def watched(*arguments: Any, **named: Any) -> Image.Image:
        opened.append(arguments)
        return original(*arguments, **named)

    def fit_without_photos(*arguments: Any, **named: Any) -> Any:
        report = fit(*arguments, **named)
        assert not opened
        return report

    monkeypatch.setattr("PIL.Image.open", watched)
    monkeypatch.setattr(distillation, "fit", fit_without_photos)
    run = load_run(folder)
    distill(run, "mlp", size=SIZES["mlp"], steps=3, config=settings())
    assert not opened
    distill(run, "mlp", size=SIZES["mlp"], steps=3, config=settings(), output_dir=tmp_path)
    assert opened  # for the report, after training
    assert equal(before.field, run.field)
    assert isinstance(before.sampler, OccupancyGrid)
    assert isinstance(run.sampler, OccupancyGrid)
    assert torch.equal(before.sampler.occupied, run.sampler.occupied)
    assert load_run(tmp_path).field.name == "mlp"


def test_self_distillation_from_copied_weights_has_no_loss(teacher: Run) -> None:
    student = student_of(teacher, "hash")
    student.load_state_dict(teacher.field.state_dict())
    task = DistillationTask(teacher, student, settings(points_until=0.0))
    draws = Draws(0, 5, range(256))
    losses = task.loss(task.modules, batch_of(task, draws), draws)
    assert losses["loss"] < 1e-12
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-6 for p in student.parameters())


def test_distilling_into_a_copy_changes_nothing(teacher: Run) -> None:
    student = student_of(teacher, "hash")
    student.load_state_dict(teacher.field.state_dict())
    run = distill(teacher, student, steps=3, config=settings())
    assert equal(run.field, teacher.field)


def test_how_empty_and_how_solid_does_not_matter(teacher: Run) -> None:
    """Log-densities are compared within -2..7 only, so densities between 0.135 and 1097."""
    student = student_of(teacher, "mlp")
    config = settings(points_until=1.0, color_weight=0.0)
    task = DistillationTask(
        dataclasses.replace(teacher, field=build_field("hash", teacher.field.bounds)), student, config
    )
    batch, draws = batch_of(task, Draws(0, 3, range(256))), Draws(0, 3, range(256))

    def constant(log_density: float) -> Any:
        return lambda points: torch.cat([torch.full((len(points), 1), log_density), torch.zeros(len(points), 15)], -1)

    def loss(theirs: float, ours: float) -> float:
        task.teacher.field.features, student.features = constant(theirs), constant(ours)  # type: ignore[method-assign]
        return float(task.loss(task.modules, batch, draws)["loss"].detach())

    assert loss(-12.0, -3.0) == loss(8.0, 20.0) == 0
    assert loss(-12.0, -1.0) == pytest.approx(config.density_weight)
    assert loss(9.0, -5.0) == pytest.approx(81 * config.density_weight)


def test_stages_begin_at_their_steps(teacher: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour is computed in stage 1; pixels enter the loss at the exact step."""
    config = settings(features_until=0.25, points_until=0.5, feature_weight=0.0, density_weight=0.0, color_weight=0.0)
    calls: list[bool] = []
    original = ColorHead.forward

    def counting(self: ColorHead, *arguments: Any) -> torch.Tensor:
        calls.append(True)
        return original(self, *arguments)

    monkeypatch.setattr(ColorHead, "forward", counting)
    task = DistillationTask(teacher, student_of(teacher, "mlp"), config)
    seen = {}
    for step in (9, 10, 19, 20):
        draws = Draws(0, step, range(256))
        calls.clear()
        seen[step] = float(task.loss(task.modules, batch_of(task, draws), draws)["loss"].detach()), len(calls)
    assert seen[9] == (0.0, 0)
    assert seen[10] == (0.0, 2)
    assert seen[19] == (0.0, 2)
    assert seen[20][0] > 0


def test_no_feature_stage_with_a_voxel_grid(teacher: Run) -> None:
    task = DistillationTask(teacher, student_of(teacher, "voxel"), settings(features_until=0.2))
    assert task.features_until == 0


def test_both_fields_see_the_same_points(teacher: Run) -> None:
    student = student_of(teacher, "mlp")
    asked: dict[str, torch.Tensor] = {}
    for name, field in (("teacher", teacher.field), ("student", student)):

        def watch(points: torch.Tensor, name: str = name, original: Any = field.features) -> torch.Tensor:
            asked[name] = points
            return original(points)

        field.features = watch  # type: ignore[method-assign]
    try:
        task = DistillationTask(teacher, student, settings())
        draws = Draws(0, 3, range(256))
        task.loss(task.modules, batch_of(task, draws), draws)
        assert asked["teacher"] is asked["student"]
    finally:
        del teacher.field.features


def test_losses_do_not_depend_on_the_number_of_rays(teacher: Run) -> None:
    for features_until, points_until in ((0.5, 0.5), (0.0, 0.5), (0.0, 0.0)):
        config = settings(features_until=features_until, points_until=points_until)
        task = DistillationTask(teacher, student_of(teacher, "mlp"), config)
        draws = Draws(0, 1, range(256))
        batch = batch_of(task, draws)
        twice = RayBatch(
            batch.rays[list(range(256)) * 2], torch.cat([batch.background] * 2), torch.cat([batch.jitter] * 2)
        )
        once = task.loss(task.modules, batch, draws)["loss"]
        torch.testing.assert_close(task.loss(task.modules, twice, draws)["loss"], once)


def test_heads_are_inherited_tensor_by_tensor_and_nothing_else(teacher: Run) -> None:
    student = student_of(teacher, "vm", seed=3)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert inherit_head(teacher.field, student)
    for name, value in student.state_dict().items():
        if name.startswith("head."):
            assert torch.equal(value, teacher.field.state_dict()[name])
        else:
            assert torch.equal(value, before[name])
    assert not inherit_head(teacher.field, student_of(teacher, "voxel"))
    student.head = ColorHead(features=15, width=32)
    with pytest.raises(FieldError, match="colour heads differ in layers.0.weight"):
        inherit_head(teacher.field, student)


def test_erased_space_stays_empty_in_the_student(teacher: Run) -> None:
    """Edits of a voxel grid survive conversion."""
    grid = distill(teacher, "voxel", size=SIZES["voxel"], steps=1, config=settings()).field
    low, high = grid.bounds
    with torch.no_grad():
        middle = grid.rows[6:14, 6:14, 6:14]
        grid.values[middle[middle > 0] - 1, 0] = -8.0
    edited = dataclasses.replace(teacher, field=grid)
    student = distill(edited, "hash", size=SIZES["hash"], steps=80, config=settings()).field
    points = low + (0.42 + 0.16 * torch.rand(500, 3)) * (high - low)
    density = student.features(points)[:, 0].exp()
    assert density.median() < 1


def test_resumed_distillation_is_bit_equal(teacher: Run, tmp_path: Path) -> None:
    config = settings(hard_cameras=True, hard_rays=True, hard_points=True)
    whole = distill(teacher, "hash", size=SIZES["hash"], config=config)
    first = distill(teacher, "hash", size=SIZES["hash"], config=config, output_dir=tmp_path, max_minutes=1e-9)
    assert first.report.steps < 40
    again = distill(teacher, "hash", size=SIZES["hash"], config=config, output_dir=tmp_path, resume=True)
    assert equal(whole.field, again.field)
    other = dataclasses.replace(teacher, field=copy.deepcopy(teacher.field))
    with torch.no_grad():
        for value in other.field.parameters():
            value.mul_(1.01)
    with pytest.raises(TrainingError, match=r"made from other inputs \(teacher.field: other content\)"):
        distill(other, "hash", size=SIZES["hash"], config=config, output_dir=tmp_path, resume=True)


def test_pools_change_after_the_backward_pass_and_not_in_the_loss(teacher: Run) -> None:
    config = settings(hard_cameras=True, hard_rays=True, features_until=0.0)
    task = DistillationTask(teacher, student_of(teacher, "hash"), config)
    draws = Draws(0, 3, range(config.train.batch_size))
    batch = batch_of(task, draws)
    first, again = (task.loss(task.modules, batch, draws)["loss"].item() for _ in range(2))
    assert first == again
    assert (task.hard.camera_errors == -1).all()
    assert (task.hard.ray_errors == -1).all()
    task.after_backward(batch, draws)
    assert int((task.hard.camera_errors >= 0).sum()) == config.cameras
    assert int((task.hard.ray_errors >= 0).sum()) == max(int(0.1 * config.train.batch_size), 1)


def test_active_learning_switched_off_is_plain_distillation(teacher: Run) -> None:
    task = DistillationTask(teacher, student_of(teacher, "mlp"), settings())
    assert list(task.modules) == ["student"]
    draws = Draws(0, 2, range(8))
    rays = Rays(torch.rand(8, 3), torch.rand(8, 3), torch.rand(8, 3))
    assert task.hard.rays(rays, draws) is rays
    cameras = task.teacher.viewpoints.draw(4, torch.Generator())
    task.hard.choose_cameras(cameras, torch.Generator())
    assert task.hard.step_cameras is cameras


def test_public_names() -> None:
    import nerf
    import pipelines

    assert nerf.distill is pipelines.distill is distillation.distill
