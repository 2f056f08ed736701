"""Normalized device coordinates: rays, points and surfaces go there and come back into the world."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mappers.training.trainer import FitReport
from nerf.cameras import Cameras, look_at
from nerf.export import mesh, point_cloud
from nerf.fields import VolumeField
from nerf.fields.base import EMPTY
from nerf.ndc import NDC
from nerf.rendering.samplers import UniformSampler
from nerf.rendering.sampling import Marching
from nerf.runs import VolumeRun, turntable
from nerf.scenes.formats.llff import ndc_bounds
from nerf.viewpoints import Viewpoints

CENTER = torch.tensor([3.0, -1.0, 0.5])
"""Middle of the ball in the world."""
RADIUS = 0.4


def capture() -> Cameras:
    """Nine cameras on a grid that look along a slanted axis at the ball, four units away."""
    back = normalize(torch.tensor([0.5, -0.8, 0.3]), dim=0)
    (axes,) = look_at((CENTER + 4 * back)[None], CENTER)
    offsets = torch.cartesian_prod(torch.linspace(-0.5, 0.5, 3), torch.linspace(-0.4, 0.4, 3))
    poses = axes.repeat(9, 1, 1)
    poses[:, :, 3] += offsets @ axes[:, :2].T
    ndc = NDC.of(axes, 2.0, torch.tensor([2.4, 3.2]))
    return Cameras.pinhole(poses, width=32, height=24, focal=38.4, ndc=ndc)


class Ball(VolumeField):
    """A ball of the world, red on its left and blue on its right, as a field in NDC without weights."""

    name = "ball"

    def __init__(self, bounds: torch.Tensor, ndc: NDC):
        super().__init__(bounds)
        self.ndc = ndc

    def encode(self, unit: torch.Tensor) -> torch.Tensor:
        world = self.ndc.to_world((self.bounds[0] + unit * (self.bounds[1] - self.bounds[0])).clamp(max=1 - 1e-4))
        inside = RADIUS - (world - CENTER).norm(dim=-1, keepdim=True)
        log_density = (inside * 80 + 4).clamp(EMPTY, 8.0)
        red = (world - CENTER)[:, :1] > 0
        return torch.cat([log_density, red.float(), torch.zeros(len(unit), 14)], -1)

    def color(self, features: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        red = features[:, 1:2]
        return torch.cat([red, torch.zeros_like(red), 1 - red], -1)


@pytest.fixture
def run() -> VolumeRun:
    cameras = capture()
    bounds = ndc_bounds(cameras)
    assert cameras.ndc is not None
    marching = Marching.through(bounds, 256, near=0.0, far=1.0)
    seen = Viewpoints.of(cameras)
    ball, sampler = Ball(bounds, cameras.ndc), UniformSampler(bounds)
    return VolumeRun(ball, seen, "x", 1, FitReport(), sampler=sampler, marching=marching)


def test_rays_run_from_the_near_plane_to_infinity() -> None:
    """A point at depth z has the NDC of the projection matrix: (scaled x/z, scaled y/z, 1 - 2n/z)."""
    near, width, height, focal = 1.2, 40, 30, 35.0
    poses = torch.eye(3, 4).repeat(2, 1, 1)
    poses[:, :, 3] = torch.tensor([[0.3, -0.2, 0.1], [-0.5, 0.4, 0.0]])
    frame = NDC.of(torch.eye(3, 4), near, torch.tensor([focal / (width / 2), focal / (height / 2)]))
    plain = Cameras.pinhole(poses, width=width, height=height, focal=focal)
    camera = torch.tensor([0, 1, 1])
    pixels = torch.tensor([[3.0, 4.0], [20.0, 15.0], [39.0, 1.0]])
    rays, world = dataclasses.replace(plain, ndc=frame).rays(camera, pixels), plain.rays(camera, pixels)
    assert torch.allclose(rays.origins[:, 2], torch.full((3,), -1.0), atol=1e-6)
    assert torch.allclose((rays.origins + rays.directions)[:, 2], torch.full((3,), 1.0), atol=1e-6)
    assert torch.equal(rays.views, world.views)
    for depth in (1.2, 3.0, 50.0):
        t = (depth + world.origins[:, 2]) / -world.directions[:, 2]
        x, y, z = (world.origins + t[:, None] * world.directions).unbind(-1)
        point = torch.stack([focal / (width / 2) * x / -z, focal / (height / 2) * y / -z, 1 + 2 * near / z], dim=-1)
        inside = 1 - near / depth
        assert torch.allclose(rays.origins + inside * rays.directions, point, atol=1e-5)


def test_points_and_densities_come_back_into_the_world() -> None:
    cameras = capture()
    ndc = cameras.ndc
    assert ndc is not None
    points = CENTER + torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    inside = ndc.from_world(points)
    torch.testing.assert_close(ndc.to_world(inside), points, atol=1e-4, rtol=0)
    # Along the axis, t = (z + 1) / 2: the thickness of a short piece is the same in both.
    axis = torch.tensor(ndc.pose)
    piece = axis[:, 3] - torch.tensor([[4.0], [4.001]]) * axis[:, 2]
    z = ndc.from_world(piece)
    thickness = float(z[1, 2] - z[0, 2]) / 2
    assert float(ndc.density(z[:1], torch.ones(1))[0]) == pytest.approx(thickness / 0.001, rel=2e-2)
    # A plane of the world has one normal, wherever it is seen from.
    normal = normalize(torch.tensor([0.2, 1.0, -0.4]), dim=0)
    leaned = inside.clone().requires_grad_()
    (slopes,) = torch.autograd.grad((ndc.to_world(leaned) @ normal).sum(), leaned)
    torch.testing.assert_close(ndc.normals(inside, slopes), normal.expand(50, 3), atol=1e-3, rtol=0)


def test_rays_that_look_back_miss_the_box(run: VolumeRun) -> None:
    camera = capture()[4]
    pose = camera.poses.clone()
    pose[0, :, 0], pose[0, :, 2] = pose[0, :, 2].clone(), -pose[0, :, 0].clone()  # to the side: half the rays look back
    turned = dataclasses.replace(camera, poses=pose, ndc=None)
    rays = dataclasses.replace(turned, focal=torch.full((1, 2), 5.0)).picture_rays(0)
    ndc = run.viewpoints.ndc
    assert ndc is not None
    origins, directions = ndc.rays(rays.origins, rays.directions)
    assert origins.isfinite().all()
    assert directions.isfinite().all()


def test_every_view_of_the_turntable_shows_the_ball_where_it_is(run: VolumeRun) -> None:
    cameras = turntable(run, 3, size=24)
    with pytest.raises(ValueError, match="from one side, so cameras move among their positions; leave out radius"):
        turntable(run, 3, size=24, radius=2.0)
    mean = capture().positions.mean(0)
    for index in range(3):
        view = run.draw(cameras[index])
        distance = float((cameras.positions[index] - CENTER).norm())
        area = np.pi * (24 * 1.2 * RADIUS / distance) ** 2  # focal length of 1.2 pictures
        assert float(view.opacity.sum()) == pytest.approx(area, rel=0.2)
        assert (cameras.positions[index] - mean).norm() < 0.7
        red, blue = view.color[..., 0] * view.opacity, view.color[..., 2] * view.opacity
        assert red.sum() > 5
        assert blue.sum() > 5


def test_a_picture_of_another_shape_shows_the_same_thing(run: VolumeRun) -> None:
    """The frame of NDC stays that of training, whatever the size and focal length of what is drawn."""
    (pose,) = capture()[4].poses
    wide = Cameras.pinhole(pose[None], width=64, height=24, focal=38.4)
    narrow = Cameras.pinhole(pose[None], width=24, height=24, focal=38.4)
    torch.testing.assert_close(run.draw(wide).color[:, 20:44], run.draw(narrow).color, atol=0.02, rtol=0)


def test_points_and_mesh_lie_on_the_ball_in_the_world(run: VolumeRun) -> None:
    cloud = point_cloud(run, capture())
    distance = np.linalg.norm(cloud.vertices - CENTER.numpy(), axis=1)
    assert np.median(np.abs(distance - RADIUS)) < 0.06
    assert np.quantile(np.abs(distance - RADIUS), 0.9) < 0.15
    run.field.bounds[:] = torch.stack([run.field.bounds[0] * 0.5, run.field.bounds[1] * torch.tensor([0.5, 0.5, 0.6])])
    surface = mesh(run, resolution=48, threshold=6.5)
    distance = np.linalg.norm(surface.vertices - CENTER.numpy(), axis=1)
    assert abs(distance - RADIUS).max() < 0.12
    assert surface.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.15)  # positive: faces look outwards
    red = surface.vertices[:, 0] > float(CENTER[0])
    colors = surface.visual.vertex_colors
    assert ((colors[:, 0] > 128) == red).mean() > 0.9


def test_viewpoints_lie_in_the_plane_of_the_cameras_and_survive_json(run: VolumeRun) -> None:
    seen, cameras = run.viewpoints, capture()
    assert seen.kind == "box"
    drawn = seen.draw(40, torch.Generator().manual_seed(0))
    mean, back = cameras.positions.mean(0), cameras.poses[0, :, 2]
    assert ((drawn.positions - mean) @ back).abs().max() < 1e-4
    assert (drawn.positions - mean).norm(dim=-1).max() < 0.65
    up = cameras.poses[0, :, 1]
    assert (drawn.poses[:, :, 1] @ up).min() > 0.9
    assert Viewpoints.from_json(json.loads(json.dumps(dataclasses.asdict(seen)))) == seen
    with pytest.raises(ValueError, match="a version that did not store their frame"):
        Viewpoints.from_json({**dataclasses.asdict(seen), "ndc_near": 1.0})
