"""Checkpoints of Plenoxels: their forward by SciPy's interpolation, damaged files, and one as a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch.nn import functional as F

from mappers.quality import psnr
from nerf.checkpoints.plenoxels import read_plenoxels
from nerf.distillation.training import distill
from nerf.fields import FieldError
from nerf.fields.voxel import VoxelConfig
from nerf.runs import load_run
from nerf.settings import distill_settings

SHAPE = (6, 7, 8)


def checkpoint(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    links = np.full(SHAPE, -1, np.int32)
    kept = rng.random(SHAPE) > 0.3
    links[kept] = np.arange(kept.sum())
    count = int(kept.sum())
    return {
        "links": links, "density_data": rng.normal(0, 5, (count, 1)).astype(np.float32), "basis_type": 1,
        "sh_data": rng.normal(0, 1, (count, 12)).astype(np.float16), "radius": np.array([1.0, 1.5, 0.8]),
        "center": np.array([0.1, -0.2, 0.3]),
    }  # fmt: skip


def save(content: dict[str, Any], path: Path) -> Path:
    np.savez(path, **content)
    return path


def test_nodes_are_interpolated_before_the_rectifier(tmp_path: Path) -> None:
    content = checkpoint()
    field = read_plenoxels(save(content, tmp_path / "a.npz"))
    np.testing.assert_allclose(field.bounds.numpy(), [[-0.9, -1.7, -0.5], [1.1, 1.3, 1.1]], atol=1e-6)
    dense = np.zeros((*SHAPE, 13))
    kept = content["links"] >= 0
    dense[kept] = np.concatenate([content["density_data"], content["sh_data"]], 1)[content["links"][kept]]
    interpolate = RegularGridInterpolator([np.arange(side) for side in SHAPE], dense)
    unit = np.random.default_rng(1).uniform(0.15, 0.85, (60, 3))
    found = interpolate(unit * SHAPE - 0.5)
    points = field.bounds[0] + torch.from_numpy(unit).float() * (field.bounds[1] - field.bounds[0])
    views = F.normalize(torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    density, color = field(points, views)
    np.testing.assert_allclose(density.numpy(), found[:, 0].clip(0), atol=1e-4)
    x, y, z = views.double().numpy().T
    basis = np.stack([np.full(60, 0.28209479), -0.48860251 * y, 0.48860251 * z, -0.48860251 * x], -1)
    truth = (found[:, 1:].reshape(60, 3, 4) * basis[:, None]).sum(-1) + 0.5
    assert color is not None
    np.testing.assert_allclose(color.numpy(), truth.clip(0), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.pop("links"), "has no links"),
        (lambda c: c.update(basis_type=4), "learned colours"),
        (lambda c: c.update(links=c["links"] + 1), "shapes do not fit"),
        (lambda c: c.update(radius=np.array([1.0, 0.0, 1.0])), "shapes do not fit"),
        (lambda c: c.update(density_data=c["density_data"] * np.nan), "not finite"),
        (lambda c: c.update(links=np.array([{}], object)), "not a readable .npz"),
    ],
)
def test_damaged_checkpoints_are_one_sentence(change: Callable[..., Any], sentence: str, tmp_path: Path) -> None:
    content = checkpoint()
    change(content)
    with pytest.raises(FieldError, match=sentence):
        read_plenoxels(save(content, tmp_path / "a.npz"))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(FieldError, match=r"b\.npz is not a readable"):
        read_plenoxels(tmp_path / "b.npz")


def test_a_checkpoint_is_a_teacher(tmp_path: Path) -> None:
    """A solid red block in the middle of the grid."""
    links = np.full((12, 12, 12), -1, np.int32)
    links[4:8, 4:8, 4:8] = np.arange(64).reshape(4, 4, 4)
    colors = np.zeros((64, 3), np.float16)
    colors[:] = np.array([0.5, -0.5, -0.5]) / 0.28209479
    content = {"links": links, "density_data": np.full((64, 1), 60, np.float32), "sh_data": colors}
    path = save(content, tmp_path / "block.npz")
    teacher = load_run(path)
    camera = teacher.viewpoints.draw(1, torch.Generator().manual_seed(0))
    view = teacher.draw(camera)
    middle = camera.height // 2
    red, green, _ = view.color[middle, middle].tolist()
    assert red - green > 0.3  # at the block's border its colour fades to grey, as in Plenoxels
    assert float(view.opacity[middle, middle]) > 0.95
    config = distill_settings("voxel")
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, steps=60, validate_every=None, save_every=None)
    )
    student = distill(path, "voxel", size=VoxelConfig(resolution=20), config=config)
    assert psnr(student.draw(camera).color, view.color) > 20
