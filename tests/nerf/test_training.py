"""Fields learn, runs resume bit by bit, and one process equals two."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mappers.draws import Draws
from nerf.fields import FIELDS, build_field
from nerf.fields.hash_grid import HashConfig
from nerf.fields.low_rank import LowRankConfig
from nerf.fields.mlp import MLPConfig
from nerf.fields.voxel import VoxelConfig, VoxelField
from nerf.occupancy import OccupancyGrid
from nerf.runs import Run, load_run
from nerf.scenes import Scene
from nerf.settings import RadianceConfig
from nerf.training import RadianceTask, stages, train

TINY = {
    "hash": HashConfig(levels=3, coarsest=8, finest=32, table_log2=12),
    "mlp": MLPConfig(layers=2, width=48, octaves=4),
    "voxel": VoxelConfig(resolution=24),
    "vm": LowRankConfig(resolution=24, density_rank=4, color_rank=8),
    "cp": LowRankConfig(resolution=24, density_rank=16, color_rank=32),
}


def with_train(config: RadianceConfig, **changes: object) -> RadianceConfig:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_family_learns_the_scene(name: str, scene: Scene, settings: RadianceConfig) -> None:
    run = train(scene, name, size=TINY[name], config=with_train(settings, steps=150))
    assert run.report.losses[-1][1] < 0.35 * run.report.losses[0][1]


def test_learns_and_leaves_a_run_that_draws_the_same(trained: tuple[Run, Path], scene: Scene) -> None:
    run, folder = trained
    assert run.report.metrics["val/psnr"] > 15
    names = {path.name for path in folder.iterdir()}
    assert names >= {"field.safetensors", "occupancy.safetensors", "report.json", "loss.png"}
    loaded = load_run(folder)
    camera = scene.split("test").cameras[0]
    assert torch.equal(loaded.draw(camera).color, run.draw(camera).color)
    assert loaded.viewpoints == run.viewpoints
    assert json.loads((folder / "report.json").read_text())["metrics"]["steps"] == 60


def test_resumed_run_is_bit_equal(scene: Scene, settings: RadianceConfig, tmp_path: Path) -> None:
    whole = train(scene, "hash", size=TINY["hash"], config=with_train(settings, steps=40))
    stopped = train(
        scene, "hash", size=TINY["hash"], config=with_train(settings, steps=40), output_dir=tmp_path, max_minutes=1e-9
    )
    assert stopped.report.steps < 40
    resumed = train(
        scene, "hash", size=TINY["hash"], config=with_train(settings, steps=40), output_dir=tmp_path, resume=True
    )
    states = (run.field.state_dict().values() for run in (whole, resumed))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert whole.grid is not None
    assert resumed.grid is not None
    assert torch.equal(whole.grid.occupied, resumed.grid.occupied)


def test_loss_does_not_depend_on_the_number_of_rays_by_repetition(scene: Scene, settings: RadianceConfig) -> None:
    """Doubling the batch by repeating it leaves the loss as it is."""
    field = build_field("hash", scene.bounds, TINY["hash"])
    task = RadianceTask(scene, field, settings, OccupancyGrid(scene.bounds, 16))
    rays, target, background, jitter = task.batch(Draws(0, 1, range(256)))
    twice = (rays[list(range(256)) * 2], *(torch.cat([v, v]) for v in (target, background, jitter)))
    draws = Draws(0, 1, range(256))
    once = task.loss(task.modules, (rays, target, background, jitter), draws)["loss"]
    torch.testing.assert_close(task.loss(task.modules, twice, draws)["loss"], once)


def test_stages_add_up_and_end_at_the_final_resolution() -> None:
    config = RadianceConfig(stages=3, coarsest=0.25, growth_share=0.5)
    field = build_field("vm", torch.tensor([[0.0, 0, 0], [1, 1, 1]]), TINY["vm"])
    plan = stages(field, config)
    assert [resolution for resolution, _ in plan] == [6, 12, 24]
    assert [stage.train.steps for _, stage in plan] == [500, 500, 1000]
    assert [stage.train.schedule for _, stage in plan] == ["constant", "constant", "cosine"]
    mlp = build_field("mlp", torch.tensor([[0.0, 0, 0], [1, 1, 1]]), TINY["mlp"])
    assert stages(mlp, config) == [(None, config)]


def test_voxels_grow_and_are_pruned(scene: Scene, settings: RadianceConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(with_train(settings, steps=60), stages=2, prune=1.0, total_variation=1e-4)
    run = train(scene, "voxel", size=TINY["voxel"], config=config, output_dir=tmp_path)
    assert isinstance(run.field, VoxelField)
    assert run.field.config.resolution == 24
    assert len(run.field.values) < 24**3
    assert {p.name for p in tmp_path.iterdir()} >= {"stage_0", "stage_1", "field.safetensors"}
    assert load_run(tmp_path).field.config == run.field.config


WORKER = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
from test_training import TINY, with_train
from conftest import SETTINGS
from nerf.scenes import load_scene
from nerf.training import train
torch.set_num_threads(1)
train(Path(sys.argv[1]), "hash", size=TINY["hash"], config=with_train(SETTINGS, steps=20, log_every=1),
      output_dir=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(scene_folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    losses = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes),
            str(script), str(scene_folder), str(out), str(Path(__file__).parent),
        ]  # fmt: skip
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["train/loss"] for row in rows if "train/loss" in row])
    assert len(losses[0]) == 20
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=1e-4, rtol=0)
