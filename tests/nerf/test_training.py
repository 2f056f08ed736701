"""Fields learn, runs resume bit by bit, and one process equals two."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mappers.quality import psnr
from mappers.training.draws import Draws
from mappers.training.monitoring import TrainingError
from nerf.distillation.training import distill
from nerf.fields import FieldError, build_field
from nerf.fields.cam import CAMConfig
from nerf.fields.cam_time import CAMTimeConfig
from nerf.fields.hash_grid import HashConfig
from nerf.fields.low_rank import LowRankConfig
from nerf.fields.mlp import MLPConfig
from nerf.fields.voxel import VoxelConfig, VoxelField
from nerf.rendering.occupancy import OccupancyGrid
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import RadianceTask, next_stage, stages, train

TINY = {
    "hash": HashConfig(levels=3, coarsest=8, finest=32, table_log2=12),
    "mlp": MLPConfig(layers=2, width=48, octaves=4),
    "voxel": VoxelConfig(resolution=24),
    "vm": LowRankConfig(resolution=24, density_rank=4, color_rank=8),
    "cp": LowRankConfig(resolution=24, density_rank=16, color_rank=32),
    "cam": CAMConfig(layers=2, color_layers=1, width=48, octaves=4),
    "cam-time": CAMTimeConfig(warp_layers=1, layers=2, width=48, octaves=4),
}


def with_train(config: RadianceConfig, **changes: object) -> RadianceConfig:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_family_learns_the_scene(name: str, scene: Scene, settings: RadianceConfig) -> None:
    run = train(scene, name, size=TINY[name], config=with_train(settings, steps=150))
    assert run.report.losses[-1][1] < 0.35 * run.report.losses[0][1]


def test_learns_and_leaves_a_run_that_draws_the_same(trained: tuple[Run, Path], scene: Scene) -> None:
    run, folder = trained
    assert (run.scene, run.downscale) == (scene.source, 1)  # not its name, which is also that of a larger scene
    assert run.report.metrics["val/psnr"] > 15
    names = {path.name for path in folder.iterdir()}
    assert names >= {"field.safetensors", "occupancy.safetensors", "report.json", "loss.png"}
    loaded = load_run(folder)
    camera = scene.split("test").cameras[0]
    assert torch.equal(loaded.draw(camera).color, run.draw(camera).color)
    assert loaded.viewpoints == run.viewpoints
    assert json.loads((folder / "report.json").read_text())["metrics"]["steps"] == 60


def test_the_colours_of_masked_pixels_do_not_change_what_is_learned(scene: Scene, settings: RadianceConfig) -> None:
    kept = torch.ones(scene.pictures.shape[:3], dtype=torch.bool)
    kept[:, 5:15, 5:15] = False
    other = scene.pictures.clone()
    other[~kept] = 255 - other[~kept]
    learned = []
    for pictures in (scene.pictures, other):
        masked = dataclasses.replace(scene, pictures=pictures, kept=kept)
        run = train(masked, "hash", size=TINY["hash"], config=with_train(settings, steps=4))
        learned.append(torch.cat([value.flatten().float() for value in run.field.state_dict().values()]))
    assert torch.equal(learned[0], learned[1])


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
    assert isinstance(whole.sampler, OccupancyGrid)
    assert isinstance(resumed.sampler, OccupancyGrid)
    assert torch.equal(whole.sampler.occupied, resumed.sampler.occupied)
    config = with_train(settings, steps=40)
    other = dataclasses.replace(scene, pictures=scene.pictures.flip(2), source="elsewhere")
    with pytest.raises(TrainingError, match=r"made from other inputs \(scene.pictures: other content\)"):
        train(other, "hash", size=TINY["hash"], config=config, output_dir=tmp_path, resume=True)
    config = dataclasses.replace(config, intervals=config.intervals + 1)
    with pytest.raises(TrainingError, match=r"\(settings.intervals: \d+ -> \d+\)"):
        train(scene, "hash", size=TINY["hash"], config=config, output_dir=tmp_path, resume=True)


def test_loss_does_not_depend_on_the_number_of_rays_by_repetition(scene: Scene, settings: RadianceConfig) -> None:
    """Doubling the batch by repeating it leaves the loss as it is."""
    field = build_field("hash", scene.bounds, TINY["hash"])
    task = RadianceTask(scene, field, settings, OccupancyGrid(scene.bounds, 16))
    rays, target, background, jitter = task.batch(Draws(0, 1, range(256)))
    twice = (rays[list(range(256)) * 2], *(torch.cat([v, v]) for v in (target, background, jitter)))
    draws = Draws(0, 1, range(256))
    once = task.loss(task.modules, (rays, target, background, jitter), draws)["loss"]
    torch.testing.assert_close(task.loss(task.modules, twice, draws)["loss"], once)


def test_only_the_beginning_of_a_step_changes_the_grid(scene: Scene, settings: RadianceConfig) -> None:
    """Asking for a batch or a loss twice, as a second micro-batch does, leaves the grid as it is."""
    field = build_field("hash", scene.bounds, TINY["hash"])
    task = RadianceTask(scene, field, settings, OccupancyGrid(scene.bounds, 16))
    assert isinstance(task.sampler, OccupancyGrid)
    draws = Draws(0, 0, range(64))
    for _ in range(2):
        task.loss(task.modules, task.batch(draws), draws)
    assert not task.sampler.density.any()
    task.begin_step(task.modules, draws)
    assert task.sampler.density.all()


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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rays"), [("vm", 256), ("cp", 96)])
def test_low_rank_tensors_shrink_to_what_is_occupied(
    name: str, rays: int, scene_folder: Path, settings: RadianceConfig, tmp_path: Path
) -> None:
    """In a box that is too large; the run keeps the smaller one, its grid and its steps."""
    scene = load_scene(scene_folder, bounds=[[-1.3] * 3, [1.3] * 3])
    learning = with_train(settings, steps=200, validate_every=200, batch_size=rays)
    config = dataclasses.replace(learning, stages=2, shrink=True)
    run = train(scene, name, size=TINY[name], config=config, output_dir=tmp_path)
    low, high = run.field.bounds
    assert ((high - low)[:2] < 2.0).all()
    assert ((low < -0.5) & (high > 0.5)).all()
    assert run.field.config == TINY[name]
    assert isinstance(run.sampler, OccupancyGrid)
    assert torch.equal(run.sampler.bounds, run.field.bounds)
    assert run.marching.step == pytest.approx(float((high - low).norm()) / settings.intervals)
    whole = train(scene, name, size=TINY[name], config=dataclasses.replace(config, shrink=False))
    assert run.report.metrics["val/psnr"] > whole.report.metrics["val/psnr"] - 0.3
    loaded, camera = load_run(tmp_path), scene.split("test").cameras[0]
    assert torch.equal(loaded.field.bounds, run.field.bounds)
    assert torch.equal(loaded.draw(camera).color, run.draw(camera).color)


def test_shrinking_leaves_the_views_as_they_are(scene_folder: Path, settings: RadianceConfig) -> None:
    scene = load_scene(scene_folder, bounds=[[-1.3] * 3, [1.3] * 3])
    run = train(scene, "vm", size=TINY["vm"], config=with_train(settings, steps=100))
    before = RadianceTask(scene, run.field, settings, run.sampler)
    config = dataclasses.replace(settings, stages=2, shrink=True)
    field, grid = next_stage(run.field, 24, config, run.sampler, first=True)
    after = RadianceTask(scene, field, config, grid)
    camera, truth = before.test.camera(0), before.test.picture(0)
    quality = [psnr(task.draw(camera).color, truth) for task in (before, after)]
    assert quality[1] > quality[0] - 0.5


def test_another_run_is_not_written_over(trained: tuple[Run, Path], scene: Scene, tmp_path: Path) -> None:
    """Nor one that was interrupted, nor by a family whose stages have folders of their own."""
    config = RadianceConfig(stages=2)
    with pytest.raises(TrainingError, match="already holds a run; resume it or choose another output folder"):
        train(scene, "vm", size=TINY["vm"], config=config, output_dir=trained[1])
    with pytest.raises(TrainingError, match="already holds a run"):
        distill(trained[0], "mlp", output_dir=trained[1])
    (tmp_path / "stage_0").mkdir()
    with pytest.raises(TrainingError, match="already holds a run"):
        train(scene, "hash", size=TINY["hash"], output_dir=tmp_path)


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(
    scene: Scene, settings: RadianceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights become huge after step 25; checkpoints are written every 20 steps."""
    original = RadianceTask.loss

    def loss(self: RadianceTask, modules: Any, batch: Any, draws: Draws) -> dict[str, torch.Tensor]:
        values = original(self, modules, batch, draws)
        return {**values, "loss": values["loss"] * (1 if draws.step < 25 else math.inf)}

    monkeypatch.setattr(RadianceTask, "loss", loss)
    arguments: dict[str, Any] = {"size": TINY["hash"], "config": settings, "output_dir": tmp_path}
    with pytest.raises(TrainingError, match="the loss became inf at step 25; the checkpoint of step 20 is kept; lower"):
        train(scene, "hash", **arguments)
    assert not (tmp_path / "field.safetensors").exists()
    monkeypatch.setattr(RadianceTask, "loss", original)
    assert train(scene, "hash", resume=True, **arguments).report.steps == 60


def test_settings_that_a_family_does_not_have_are_errors(scene: Scene, settings: RadianceConfig) -> None:
    for changes, name in (({"stages": 2, "shrink": True}, "voxel"), ({"prune": 1.0}, "vm")):
        with pytest.raises(FieldError, match=f"does not exist for {name}; leave it out"):
            train(scene, name, config=dataclasses.replace(settings, **changes))
    with pytest.raises(
        ValueError, match="shrink needs an occupancy grid and at least 2 stages, got occupancy 48 and st"
    ):
        RadianceConfig(shrink=True)


def learned(settings: RadianceConfig, scene: Path, teacher: Path, output: Path) -> None:
    """A hash grid from pictures, and a tensor from a teacher."""
    config = with_train(settings, steps=20, log_every=1)
    train(scene, "hash", size=TINY["hash"], config=config, output_dir=output / "train")
    steps = DistillConfig(train=config.train, features_until=0.2, points_until=0.5, closed_form=False)
    distill(teacher, "vm", size=TINY["vm"], config=steps, output_dir=output / "distill")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(
    settings: RadianceConfig, scene_folder: Path, trained: tuple[Run, Path], tmp_path: Path,
    two_processes: Callable[..., None],
) -> None:  # fmt: skip
    sources = scene_folder, trained[1]
    two_processes(learned, settings, *sources, tmp_path / "2", ACCELERATE_USE_CPU="true")
    learned(settings, *sources, tmp_path / "1")
    for task in ("train", "distill"):
        losses = []
        for processes in ("1", "2"):
            rows = (tmp_path / processes / task / "metrics.jsonl").read_text().splitlines()
            losses.append([row["train/loss"] for row in map(json.loads, rows) if "train/loss" in row])
        assert len(losses[0]) == 20
        assert load_run(tmp_path / "2" / task).report.steps == 20
        one, two = map(torch.tensor, losses)
        torch.testing.assert_close(one[:10], two[:10], atol=1e-6, rtol=0)
        # Later a rounding error may put a cell of the occupancy grid on the other side of its threshold.
        torch.testing.assert_close(one, two, atol=1e-3, rtol=0)
