"""Scenes that move: made, read, trained and drawn at their times; bad times are named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from nerf.cameras import Cameras
from nerf.fields import FieldError, build_field
from nerf.fields.cam_time import CAMTimeConfig, CAMTimeField
from nerf.runs import load_run, turntable
from nerf.scenes import SceneError, load_scene, make_scene
from nerf.scenes.synthetic.motion import moving_solids
from nerf.settings import RadianceConfig
from nerf.training import train

TINY = CAMTimeConfig(warp_layers=1, warp_width=16, layers=2, width=32, octaves=4, nodes=3)
BOUNDS = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scene("clockwork", tmp_path_factory.mktemp("moving") / "clockwork", size=20, views=(8, 0, 2))


def test_the_toy_moves_and_is_the_same_at_equal_times() -> None:
    first, same, later = (moving_solids("clockwork", time) for time in (0.1, 0.1, 0.4))
    assert first == same
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert not torch.equal(first.inside(points), later.inside(points))
    for time in (0.0, 0.3, 1.0):
        assert moving_solids("clockwork", time).bounds().abs().max() < 1.1
    with pytest.raises(ValueError, match=r"time must be in 0\.\.1, got 1\.5"):
        moving_solids("clockwork", 1.5)
    with pytest.raises(ValueError, match="no moving scene 'robot' to make; known are clockwork"):
        moving_solids("robot", 0.5)


def test_a_made_scene_is_read_with_its_times_and_exact_pictures(moving: Path) -> None:
    scene = load_scene(moving)
    cameras = scene.cameras
    assert cameras.times is not None
    torch.testing.assert_close(scene.split("train").cameras.times, (torch.arange(8) + 0.5) / 8)
    exact = moving_solids("clockwork", float(cameras.times[5])).picture(cameras, 5)
    assert (exact * 255 - scene.pictures[5].float())[..., 3].abs().max() <= 1
    low, high = scene.bounds
    assert (low < -0.8).all()
    assert (high > 0.8).all()


def test_rays_know_their_time_through_every_choice(moving: Path) -> None:
    cameras = load_scene(moving).cameras
    rays = cameras[[3, 1]].scaled(2).picture_rays(1)
    assert cameras.times is not None
    assert torch.equal(rays.times, cameras.times[1].expand(len(rays)))  # pyright: ignore
    assert torch.equal(rays[2:4].to("cpu").times, cameras.times[1].expand(2))  # pyright: ignore


def test_a_field_moves_with_time_and_starts_as_its_normed_twin() -> None:
    points, views = torch.rand(20, 3) - 0.5, torch.nn.functional.normalize(torch.randn(20, 3), dim=-1)
    field = build_field("cam-time", BOUNDS, TINY)
    twin = build_field("cam-time", BOUNDS, dataclasses.replace(TINY, nodes=0))
    twin.load_state_dict({name: value for name, value in field.state_dict().items() if "modulation" not in name})
    times = torch.rand(20)
    for a, b in zip(field(points, views, times), twin(points, views, times), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(field(points, views)[0], field(points, views, torch.zeros(20))[0])
    with torch.no_grad():
        field.shift.weight.mul_(20)
    assert not torch.allclose(field(points, views)[0], field(points, views, times)[0])
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, got"):
        field(points, views, times + 1)


def test_trains_leaves_a_run_and_turns_through_time(moving: Path, settings: RadianceConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=40, learning_rate=5e-3))
    run = train(moving, "cam", size=TINY, config=config, output_dir=tmp_path)
    assert isinstance(run.field, CAMTimeField)
    assert run.report.losses[-1][1] < 0.7 * run.report.losses[0][1]
    loaded = load_run(tmp_path)
    cameras = turntable(loaded, 3, size=12)
    assert torch.equal(cameras.times, torch.tensor([0.0, 0.5, 1.0]))  # pyright: ignore
    assert torch.equal(loaded.draw(cameras[1]).color, run.draw(cameras[1]).color)


def test_other_families_do_not_move(moving: Path) -> None:
    with pytest.raises(FieldError, match="the scene moves and hash fields do not; use cam, cam-time"):
        train(moving, "hash")


def test_bad_times_are_named(moving: Path, tmp_path: Path) -> None:
    content = json.loads((moving / "transforms_train.json").read_text())
    (tmp_path / "train").symlink_to(moving / "train")
    for times, message in (
        ([0.1, 7], r"times must lie in 0\.\.1, got 0\.1 to 7"),
        ([0.1, None], "some frames have a time but .*r_001 has none"),
        ([0.1, "now"], "time must be a number"),
    ):
        frames = [{**frame, "time": time} for frame, time in zip(content["frames"][:2], times, strict=True)]
        (tmp_path / "transforms_train.json").write_text(json.dumps({**content, "frames": frames}))
        with pytest.raises(SceneError, match=message):
            load_scene(tmp_path)
    with pytest.raises(ValueError, match=r"times of pictures must lie in 0\.\.1"):
        Cameras(torch.eye(4)[None, :3], torch.ones(1, 2), torch.ones(1, 2), 2, 2, times=torch.tensor([2.0]))


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="nodes must be 0 or at least 2, got 1"):
        CAMTimeConfig(nodes=1)
    with pytest.raises(ValueError, match="scales normed layers"):
        CAMTimeConfig(norm=False)
