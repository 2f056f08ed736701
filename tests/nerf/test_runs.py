"""VolumeRun folders, drawing, evaluation and export of a trained field."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from mappers.quality import psnr
from nerf.cameras import Cameras, look_at, mean_pose, orbit
from nerf.evaluation import depth_map, evaluate_views, ssim
from nerf.export import mesh, point_cloud, render_film, write_film, write_shape
from nerf.fields import FieldError, VolumeField, save_field
from nerf.fields.base import EMPTY
from nerf.rendering.compositing import render_rays
from nerf.rendering.renderer import Picture, render_picture
from nerf.rendering.samplers import UniformSampler
from nerf.rendering.sampling import Marching
from nerf.runs import VolumeRun, load_run, turntable
from nerf.scenes import Scene
from nerf.viewpoints import Viewpoints

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


class Ball(VolumeField):
    """A red ball of radius 0.5, as a field without weights."""

    name = "ball"

    @property
    def feature_size(self) -> int:
        return 16

    def encode(self, unit: torch.Tensor) -> torch.Tensor:
        distance = (unit * 2 - 1).norm(dim=-1, keepdim=True)
        # Soft at the rim, so that marching cubes has a slope to follow.
        log_density = ((0.5 - distance) * 100).clamp(EMPTY, 4.5)
        return torch.cat([log_density, torch.zeros(len(unit), 15)], -1)

    def color(self, features: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(features), 3)


@pytest.fixture
def ball(trained: tuple[VolumeRun, Path]) -> VolumeRun:
    run = trained[0]
    viewpoints = Viewpoints.of(_orbit())
    marching = Marching.through(BOUNDS, 128, near=0.0, far=10.0)
    sampler = UniformSampler(BOUNDS)
    return VolumeRun(Ball(BOUNDS), viewpoints, "x", 1, run.report, sampler=sampler, marching=marching)


def _orbit() -> Cameras:
    return orbit(12, radius=3.0, elevation=30.0, width=60, height=60, focal=60.0)


def test_a_ball_is_seen_as_one(ball: VolumeRun) -> None:
    view = ball.draw(_orbit()[0])
    assert view.color[30, 30].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=0.02)
    assert view.color[0, 0].tolist() == [1.0, 1.0, 1.0]
    assert float(view.depth[30, 30]) == pytest.approx(2.5, abs=0.08)  # a mean free path of 0.01 and the soft rim
    # Radius 0.5 at distance 3: a disc of angle asin(1/6), projected with a focal length of 60 pixels.
    radius = 60 * np.tan(np.arcsin(0.5 / 3))
    assert float(view.opacity.sum()) == pytest.approx(np.pi * radius**2, rel=0.05)


def test_stopping_early_changes_less_than_a_grey_level_and_chunks_nothing(ball: VolumeRun) -> None:
    camera = _orbit()[3]
    rays = camera.picture_rays(0)
    samples = ball.sampler.march(rays, ball.marching)
    whole = render_rays(ball.field, rays, samples, torch.ones(len(rays), 3))
    drawn = render_picture(ball.field, camera, ball.marching, chunk=1000)
    assert (whole.color.view(60, 60, 3) - drawn.color).abs().max() < 1 / 255
    again = render_picture(ball.field, camera, ball.marching, chunk=3600)
    torch.testing.assert_close(drawn.color, again.color, atol=1e-6, rtol=0)


def test_folders_that_are_no_runs(tmp_path: Path, trained: tuple[VolumeRun, Path]) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        load_run(tmp_path)
    for name in ("field.safetensors", "report.json"):
        (tmp_path / name).write_bytes((trained[1] / name).read_bytes())
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(FieldError, match="not a readable run"):
        load_run(tmp_path)
    (tmp_path / "report.json").write_bytes((trained[1] / "report.json").read_bytes())
    (tmp_path / "field.safetensors").write_bytes(b"cut short")
    with pytest.raises(FieldError, match="field.safetensors is not a readable field"):
        load_run(tmp_path)
    for name in ("field.safetensors", "occupancy.safetensors"):
        (tmp_path / name).write_bytes((trained[1] / name).read_bytes())
    assert load_run(tmp_path).sampler is not None
    (tmp_path / "occupancy.safetensors").write_bytes(b"cut short")
    with pytest.raises(FieldError, match="not a readable run"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"marching": {"step": 0.0, "near": 0.0, "far": 1.0}}, "step must be positive"),
        ({"marching": {"step": 1e-7, "near": 0.0, "far": 1.0}}, "samples of a ray, but at most 100000 are drawn"),
        ({"viewpoints": {"center": [0.0, 0.0]}}, "center of the viewpoints must be 3 finite numbers"),
        ({"viewpoints": {"ndc_near": 1.0}}, "a version that did not store their frame"),
    ],
)
def test_damaged_reports(
    tmp_path: Path, trained: tuple[VolumeRun, Path], change: dict[str, Any], sentence: str
) -> None:
    shutil.copytree(trained[1], tmp_path, dirs_exist_ok=True)
    report = json.loads((tmp_path / "report.json").read_text())
    for name, values in change.items():
        report[name] |= values
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(FieldError, match=sentence):
        load_run(tmp_path)


def test_weights_that_are_no_numbers(tmp_path: Path, trained: tuple[VolumeRun, Path]) -> None:
    shutil.copytree(trained[1], tmp_path, dirs_exist_ok=True)
    field = load_run(tmp_path).field
    with torch.no_grad():
        next(field.parameters()).flatten()[3] = torch.nan
    save_field(field, tmp_path / "field.safetensors")
    with pytest.raises(FieldError, match=r"field.safetensors: the weights .* are not finite; train again"):
        load_run(tmp_path)


def test_photos_that_have_moved_name_the_option(trained: tuple[VolumeRun, Path]) -> None:
    run = dataclasses.replace(trained[0], scene="/nowhere/robot")
    with pytest.raises(FileNotFoundError, match=r"no folder /nowhere/robot.*name the folder of the photos \(--scene\)"):
        run.photos()
    assert len(run.photos("robot").split("test")) == 8


def test_metrics_by_hand() -> None:
    truth = torch.rand(20, 20, 3)
    assert psnr(truth, truth) == pytest.approx(100)
    assert psnr(torch.zeros(4, 4, 3), torch.full((4, 4, 3), 0.1)) == pytest.approx(20, abs=1e-4)
    assert ssim(truth, truth) == pytest.approx(1)
    assert ssim(truth, truth.flip(0)) < 0.3


def test_evaluation_leaves_figures_of_every_view_and_a_sheet(
    trained: tuple[VolumeRun, Path], scene: Scene, tmp_path: Path
) -> None:
    means = evaluate_views(trained[0].draw, scene, output_dir=tmp_path)
    saved = json.loads((tmp_path / "evaluation.json").read_text())
    assert len(saved["views"]) == 2
    assert means["psnr"] == pytest.approx(np.mean([row["psnr"] for row in saved["views"]]))
    assert 10 < means["psnr"] < 40
    views = sorted((tmp_path / "evaluation" / "test").iterdir())
    assert [path.name for path in views] == ["000.png", "001.png"]
    with Image.open(views[1]) as view:
        truth = scene.split("test").picture(1)
        drawn = torch.from_numpy(np.asarray(view).copy()).float() / 255
        assert psnr(drawn, truth) == pytest.approx(saved["views"][1]["psnr"], abs=0.1)
    with Image.open(tmp_path / "evaluation.png") as sheet:
        assert sheet.size == (80, 40)
    with pytest.raises(ValueError, match="no pictures in the split 'val'"):
        evaluate_views(trained[0].draw, scene, split="val")


def test_depth_maps_are_black_where_nothing_is() -> None:
    view = Picture(torch.zeros(1, 3, 3), torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 2.0]]))
    values = depth_map(view)
    assert values[0, 0].sum() == 0
    assert values[0, 1].sum() > values[0, 2].sum() > 0
    assert depth_map(Picture(torch.zeros(1, 1, 3), torch.zeros(1, 1), torch.zeros(1, 1))).sum() == 0


def test_turntable_films(ball: VolumeRun, tmp_path: Path) -> None:
    cameras = turntable(ball, 3, size=33)
    assert (cameras.width, cameras.height) == (33, 33)
    render_film(ball, cameras, tmp_path / "a.mp4", depth=True)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 3
    assert frames[0].shape == (32, 66, 3)
    assert frames[0][16, 16, 0] > 200 > 90 > frames[0][16, 16, 1]
    write_film([np.full((8, 8, 3), level, np.uint8) for level in (0, 90, 200)], tmp_path / "a.gif", fps=10)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3
    with pytest.raises(ValueError, match="must end in .mp4 or .gif"):
        render_film(ball, cameras, tmp_path / "a.avi")


def test_mesh_of_a_ball_is_a_closed_red_sphere(ball: VolumeRun, tmp_path: Path) -> None:
    surface = mesh(ball, resolution=48, threshold=1.0)
    assert surface.is_watertight
    distance = np.linalg.norm(surface.vertices, axis=1)
    assert distance.min() > 0.45
    assert distance.max() < 0.55
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.08)  # positive: faces look outwards
    assert (surface.visual.vertex_colors[:, 0] == 255).all()
    for ending in ("ply", "glb"):
        path = tmp_path / f"ball.{ending}"
        write_shape(surface, path)
        loaded = trimesh.load(path, force="mesh")
        assert len(loaded.faces) == len(surface.faces)
    with pytest.raises(ValueError, match="no surface at density 1000.*choose a threshold between"):
        mesh(ball, resolution=16, threshold=1000.0)
    with pytest.raises(ValueError, match="must end in"):
        write_shape(surface, tmp_path / "ball.xyz")


def test_points_lie_on_the_ball(ball: VolumeRun, tmp_path: Path) -> None:
    cloud = point_cloud(ball, _orbit()[:4])
    distance = np.linalg.norm(cloud.vertices, axis=1)
    assert np.median(np.abs(distance - 0.5)) < 0.08
    write_shape(cloud, tmp_path / "p.ply")
    assert len(trimesh.load(tmp_path / "p.ply").vertices) == len(cloud.vertices)


def test_viewpoints_of_an_orbit_and_of_a_forward_facing_set() -> None:
    seen = Viewpoints.of(_orbit())
    assert seen.kind == "orbit"
    assert seen.center == pytest.approx((0, 0, 0), abs=1e-3)
    assert seen.radius == pytest.approx((3.0, 3.0), abs=1e-3)
    assert seen.elevation == pytest.approx((25.0, 35.0), abs=0.1)
    drawn = seen.draw(20, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.positions.norm(dim=-1), torch.full((20,), 3.0), atol=1e-3, rtol=0)
    positions = torch.rand(10, 3) * torch.tensor([1.0, 0.2, 1.0]) + torch.tensor([0.0, -4.0, 0.0])
    poses = look_at(positions, (0.5, 0.0, 0.5))
    front = Viewpoints.of(Cameras.pinhole(poses, width=8, height=6, focal=10.0))
    assert front.kind == "box"
    axes = mean_pose(poses)[:, :3]  # right, up and back of the mean camera, along which the box lies
    inside = front.draw(30, torch.Generator().manual_seed(0)).positions @ axes
    assert (inside >= (positions @ axes).amin(0) - 1e-4).all()
    assert (inside <= (positions @ axes).amax(0) + 1e-4).all()
