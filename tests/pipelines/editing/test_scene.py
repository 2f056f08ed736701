"""Recolouring a single field: density to the bit, brightness as it was, and the text a little nearer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import pipelines
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import FitReport, TrainingError
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.families import FAMILIES
from nerf.fields import build_field
from nerf.fields.cam import CAMConfig
from nerf.fields.cam_time import CAMTimeConfig
from nerf.fields.hash_grid import HashConfig
from nerf.fields.low_rank import LowRankConfig
from nerf.fields.mlp import MLPConfig
from nerf.fields.voxel import VoxelConfig
from nerf.rendering.samplers import UniformSampler
from nerf.rendering.sampling import Marching
from nerf.runs import Run, VolumeRun, load_run
from pipelines.editing.scene import SceneEditConfig, SceneEditTask, grey

SIZES: dict[str, Any] = {
    "hash": HashConfig(levels=3, coarsest=8, finest=32, table_log2=12),
    "mlp": MLPConfig(layers=2, width=24, octaves=4),
    "voxel": VoxelConfig(resolution=12),
    "vm": LowRankConfig(resolution=12, density_rank=6, color_rank=8),
    "cam": CAMConfig(layers=2, color_layers=1, width=24, octaves=4),
}
QUICK = SceneEditConfig(
    size=8, train=TrainConfig(steps=2, batch_size=1, learning_rate=1e-2, weight_decay=0.0, save_every=None, cpu=True)
)


def run_of(name: str, size: Any) -> Run:
    family = FAMILIES["chairs"]
    field = build_field(name, family.bounds, size, seed=1)
    marching = Marching.through(family.bounds, 24, near=0.0, far=6.0)
    sampler = UniformSampler(field.bounds)
    return VolumeRun(field, family.viewpoints(16), "nothing", 1.0, FitReport(), sampler=sampler, marching=marching)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_density_stays_and_colours_change(name: str) -> None:
    run = run_of(name, SIZES[name])
    state = {key: value.clone() for key, value in run.field.state_dict().items()}
    edited = pipelines.edit_scene(run, "a red chair", config=QUICK)
    assert all(torch.equal(value, state[key]) for key, value in run.field.state_dict().items())
    points, views = torch.rand(500, 3) - 0.5, torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    (density, color), (was, color_was) = (field(points, views) for field in (edited.field, run.field))
    assert torch.equal(density, was)
    assert not torch.equal(color, color_was)
    assert set(edited.figures) >= {"clip_before", "clip_after", "parameters"}
    assert all(parameter.requires_grad for parameter in edited.field.parameters())


def test_a_change_that_keeps_luminance_costs_no_structure() -> None:
    color = torch.rand(40, 3)
    shift = torch.tensor([0.7152, -0.2126, 0.0])
    torch.testing.assert_close(grey(color + 0.1 * shift), grey(color))
    torch.testing.assert_close(grey(torch.ones(3)), torch.tensor(1.0))
    task = SceneEditTask(run_of("mlp", SIZES["mlp"]), torch.ones(128), Scorer.load(), QUICK)
    draws = Draws(0, 0, range(1))
    assert not task.loss(task.modules, task.batch(draws), draws)["grey"].any()  # pyright: ignore[reportArgumentType]


def test_the_recoloured_run_is_a_run(tmp_path: Path) -> None:
    edited = pipelines.edit_scene(run_of("mlp", SIZES["mlp"]), "a red chair", output_dir=tmp_path, config=QUICK)
    loaded = load_run(tmp_path)
    camera = loaded.viewpoints.draw(1, torch.Generator().manual_seed(0))
    assert torch.equal(loaded.draw(camera).color, edited.draw(camera).color)
    with pytest.raises(TrainingError, match="already holds a run"):
        pipelines.edit_scene(tmp_path, "a red chair", output_dir=tmp_path, config=QUICK)


def test_bad_input_is_named() -> None:
    run = run_of("mlp", SIZES["mlp"])
    with pytest.raises(ValueError, match="the text is empty"):
        pipelines.edit_scene(run, " ")
    moving = run_of("cam-time", CAMTimeConfig(warp_layers=1, layers=1, width=16, octaves=2))
    with pytest.raises(ValueError, match="the scene moves, and cam-time fields cannot be recoloured"):
        pipelines.edit_scene(moving, "a red chair")
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        pipelines.edit_scene("nowhere", "a red chair")
    with pytest.raises(ValueError, match="size must be at least 4 pixels"):
        dataclasses.replace(QUICK, size=2)
