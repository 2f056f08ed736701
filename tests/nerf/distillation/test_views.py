"""Any field becomes splats and splats become any field, without photos, and from files of other programs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mappers.quality import psnr
from nerf.distillation.training import distill
from nerf.drawing import export
from nerf.fields import FieldError
from nerf.fields.splat import SplatConfig
from nerf.fields.voxel import VoxelConfig
from nerf.runs import Run, load_run
from nerf.settings import DistillConfig, distill_settings


def settings(family: str, steps: int) -> DistillConfig:
    config = distill_settings(family)
    train = dataclasses.replace(config.train, steps=steps, validate_every=None, save_every=None, log_every=10, cpu=True)
    return dataclasses.replace(config, views=12, train=train)


@pytest.fixture(scope="module")
def splats(trained: tuple[Run, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    folder = tmp_path_factory.mktemp("distilled")
    teacher = load_run(trained[1])
    size = SplatConfig(count=400, degree=1)
    return distill(teacher, "splat", size=size, config=settings("splat", 60), output_dir=folder), folder


def test_splats_come_near_their_teacher(splats: tuple[Run, Path]) -> None:
    figures = splats[0].figures
    assert float(figures["psnr_to_teacher"]) > 24
    assert abs(float(figures["psnr"]) - float(figures["teacher_psnr"])) < 2


def test_a_file_of_splats_teaches_voxels(splats: tuple[Run, Path], tmp_path: Path) -> None:
    path = export(splats[1], output=tmp_path / "scene.ply")
    teacher = load_run(path)
    student = distill(path, "voxel", size=VoxelConfig(resolution=24), config=settings("voxel", 150))
    camera = teacher.viewpoints.draw(1, torch.Generator().manual_seed(5))
    assert student.field.name == "voxel"
    assert psnr(student.draw(camera).color, teacher.draw(camera).color) > 20


def test_exports_say_what_is_missing(splats: tuple[Run, Path], trained: tuple[Run, Path], tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="no density at points"):
        export(splats[1], output=tmp_path / "mesh.glb", kind="mesh")
    with pytest.raises(FieldError, match=r"hash fields are no Gaussians; .*distill --field splat"):
        export(trained[1], output=tmp_path / "splats.spz", kind="splats")
    with pytest.raises(ValueError, match="output of splats must end in"):
        export(splats[1], output=tmp_path / "scene.glb")
    assert not list(tmp_path.iterdir())
