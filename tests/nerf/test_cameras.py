"""Cameras against closed forms: projection, lens models, NDC and paths."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.cameras import (
    Cameras,
    degrees_between,
    distort,
    look_at,
    orbit,
    pixel_centers,
    random_orbits,
    undistort,
)
from nerf.ndc import NDC

FRONT = torch.eye(4)[None, :3]


def project(cameras: Cameras, index: int, points: torch.Tensor) -> torch.Tensor:
    """Pixels of world points, in float64 and written apart from the rays: x_camera = Rᵀ(x - position)."""
    pose = cameras.poses[index].double()
    local = (points.double() - pose[:, 3]) @ pose[:, :3]
    plane = torch.stack([local[:, 0] / -local[:, 2], local[:, 1] / local[:, 2]], dim=-1)
    if cameras.distortion is not None:
        plane = distort(plane, cameras.distortion[index].double().expand(len(plane), 6))
    return plane * cameras.focal[index].double() + cameras.center[index].double()


def test_a_camera_at_the_origin_sees_along_minus_z() -> None:
    cameras = Cameras.pinhole(FRONT, width=4, height=2, focal=2.0)
    rays = cameras.rays(torch.tensor([0, 0, 0]), torch.tensor([[2.0, 1.0], [4.0, 1.0], [2.0, 0.0]]))
    wanted = torch.tensor([[0.0, 0, -1], [1 / 2**0.5, 0, -1 / 2**0.5], [0, 1 / 5**0.5, -2 / 5**0.5]])
    assert torch.allclose(rays.directions, wanted, atol=1e-6)
    assert torch.equal(rays.origins, torch.zeros(3, 3))
    assert torch.equal(rays.views, rays.directions)


def test_picture_rays_go_row_by_row_from_the_top_left() -> None:
    cameras = random_orbits(3, radius=2, elevation=(-20, 70), width=5, height=3, focal=4.0)
    rays = cameras.picture_rays(1)
    assert len(rays) == 15
    assert torch.allclose(rays.directions.norm(dim=-1), torch.ones(15), atol=1e-6)
    seen = project(cameras, 1, rays.origins + 3 * rays.directions)
    assert torch.allclose(seen, pixel_centers(5, 3).double(), atol=1e-5)
    assert seen[1].tolist() == pytest.approx([1.5, 0.5], abs=1e-5)
    assert seen[5].tolist() == pytest.approx([0.5, 1.5], abs=1e-5)


def test_rays_pass_through_what_a_distorting_camera_projects() -> None:
    """World point -> pixel by the lens model -> ray: the point lies on the ray."""
    torch.manual_seed(0)
    base = random_orbits(2, radius=3, elevation=(10, 50), width=64, height=48, focal=50.0)
    lens = torch.tensor([[-0.25, 0.08, 1e-3, -2e-3, -0.01, 2e-3], [0.1, 0.0, 0.0, 0.0, 0.0, 0.0]])
    cameras = Cameras(base.poses, base.focal * torch.tensor([1.0, 1.1]), base.center + 2, 64, 48, distortion=lens)
    points = torch.rand(50, 3) - 0.5
    for index in range(2):
        rays = cameras.rays(torch.full((50,), index), project(cameras, index, points).float())
        along = points - rays.origins
        off = along - (along * rays.directions).sum(-1, keepdim=True) * rays.directions
        assert off.norm(dim=-1).max() < 1e-5


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.floats(-bound, bound) for bound in (0.2, 0.05, 0.005, 0.005, 0.01, 0.002)]))
def test_undistorting_inverts_distorting(lens: tuple[float, ...]) -> None:
    axis = torch.linspace(-0.6, 0.6, 9, dtype=torch.float64)
    plane = torch.cartesian_prod(axis, axis)
    row = torch.tensor(lens, dtype=torch.float64).expand(len(plane), 6)
    assert torch.allclose(undistort(distort(plane, row), row), plane, atol=1e-9)


def test_scaling_keeps_the_view() -> None:
    cameras = random_orbits(1, radius=2, elevation=(0, 40), width=41, height=30, focal=33.0)
    small = cameras.scaled(2)
    assert (small.width, small.height) == (20, 15)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.3, 0.7]])
    zero = torch.zeros(4, dtype=torch.long)
    big = cameras.rays(zero, corners * torch.tensor([41.0, 30.0]))
    assert torch.allclose(small.rays(zero, corners * torch.tensor([20.0, 15.0])).views, big.views, atol=1e-6)


def test_subsets() -> None:
    cameras = random_orbits(6, radius=2, elevation=(0, 40), width=4, height=4, focal=3.0)
    assert torch.equal(cameras[[4, 1]].poses, cameras.poses[[4, 1]])
    assert len(cameras[[]]) == 0
    assert len(cameras[2]) == 1
    assert len(cameras[torch.tensor([True, False, True, False, False, True])]) == 3
    rays = cameras.picture_rays(0)
    assert len(rays[3:5]) == 2
    assert torch.equal(rays[rays.views[:, 2] < 0].views, rays.views[rays.views[:, 2] < 0])
    assert len(cameras[1:3].to("cpu")) == len(rays[torch.tensor([0, 1])].to("cpu")) == 2


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 2.0, 0.5)])
def test_look_at_centres_its_target_and_keeps_up_upwards(up: tuple[float, float, float]) -> None:
    torch.manual_seed(1)
    positions = torch.randn(20, 3) * 2
    cameras = Cameras.pinhole(look_at(positions, (0.1, 0.2, 0.3), up), width=10, height=8, focal=9.0)
    for index in range(20):
        assert torch.allclose(
            project(cameras, index, torch.tensor([[0.1, 0.2, 0.3]])), torch.tensor([[5.0, 4.0]]).double(), atol=1e-4
        )
    assert (cameras.poses[:, :, 1] @ torch.tensor(up) > 0).all()
    assert (cameras.poses[:, :, 0] @ torch.tensor(up)).abs().max() < 1e-5


def test_looking_straight_down_is_a_valid_pose() -> None:
    cameras = orbit(3, radius=2, elevation=90, width=4, height=4, focal=4.0)
    assert torch.allclose(cameras.forward, torch.tensor([0.0, 0.0, -1.0]).expand(3, 3), atol=1e-6)
    with pytest.raises(ValueError, match="cannot look at its own position"):
        look_at(torch.zeros(1, 3), (0, 0, 0))


def test_an_orbit_goes_around_once() -> None:
    cameras = orbit(8, radius=3, elevation=30, center=(1.0, 0.0, 0.5), width=4, height=4, focal=4.0)
    offset = cameras.positions - torch.tensor([1.0, 0.0, 0.5])
    assert torch.allclose(offset.norm(dim=-1), torch.full((8,), 3.0), atol=1e-5)
    assert torch.allclose(offset[:, 2], torch.full((8,), 1.5), atol=1e-5)
    azimuth = torch.atan2(offset[:, 1], offset[:, 0]).remainder(2 * math.pi)
    assert torch.allclose(azimuth, torch.arange(8) * math.pi / 4, atol=1e-5)
    assert torch.allclose(cameras.forward, -offset / 3, atol=1e-5)


def test_random_orbits_are_uniform_on_their_belt() -> None:
    generator = torch.Generator().manual_seed(0)
    cameras = random_orbits(
        4000, radius=(3.0, 4.0), elevation=(0, 80), width=4, height=4, focal=4.0, generator=generator
    )
    radius = cameras.positions.norm(dim=-1)
    height = cameras.positions[:, 2] / radius
    assert 3.0 <= radius.min() < 3.05
    assert 3.95 < radius.max() <= 4.0
    assert 0 <= height.min()
    assert height.max() <= math.sin(math.radians(80)) + 1e-6
    assert height.mean().item() == pytest.approx(math.sin(math.radians(80)) / 2, abs=0.02)
    assert cameras.positions[:, :2].mean(dim=0).norm() < 0.15
    again = random_orbits(
        4000, radius=(3.0, 4.0), elevation=(0, 80), width=4, height=4, focal=4.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert torch.equal(again.poses, cameras.poses)


def test_angles_between_directions_do_not_ask_for_their_length() -> None:
    turned = torch.tensor([[1.0, 0, 0], [0, 3.0, 0], [-5.0, 0, 0], [2.0, 2.0, 0]])
    found = degrees_between(turned, torch.tensor([0.5, 0, 0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 90, 180, 45]), atol=0.03, rtol=0)


def broken(kind: str) -> Cameras:
    poses, focal, center = torch.eye(3, 4).repeat(3, 1, 1), torch.full((3, 2), 5.0), torch.full((3, 2), 2.0)
    lens, ndc = torch.zeros(3, 6), None
    match kind:
        case "focal":
            focal[1, 0] = math.nan
        case "zero focal":
            focal[1] = 0
        case "singular":
            poses[1, 2, :3] = 0
        case "scaled":
            poses[1, :, :3] *= 1.01
        case "mirrored":
            poses[1, 0, 0] = -1
        case "nan":
            poses[1, 0, 3] = math.inf
        case "center":
            center[1] = math.nan
        case "lens":
            lens[1, 3] = math.nan
        case "ndc backward":
            poses[1, :, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
            ndc = NDC.of(torch.eye(3, 4), 1.0, torch.ones(2))
        case "ndc near":
            ndc = NDC.of(torch.eye(3, 4), 0.0, torch.ones(2))
    return Cameras(poses, focal, center, 4, 4, lens, ndc)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("focal", "picture 1 has a focal length that is not a positive number"),
        ("zero focal", "picture 1 has a focal length that is not a positive number"),
        ("singular", "picture 1 has a singular pose"),
        ("scaled", "picture 1 has a pose whose rotation is not orthonormal"),
        ("mirrored", "picture 1 has a pose that mirrors"),
        ("nan", "picture 1 has a pose with numbers that are not finite"),
        ("center", "picture 1 has a principal point that is not finite"),
        ("lens", "picture 1 has distortion that is not finite"),
        ("ndc backward", "camera 1 looks back; load the scene without NDC"),
        ("ndc near", "near plane of NDC must have a positive distance, got 0.0"),
    ],
)
def test_impossible_cameras_are_refused(kind: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        broken(kind)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"poses of 1 cameras must have the shape \[1, 3, 4\], got \[1, 4, 4\]"):
        Cameras(torch.eye(4)[None], torch.ones(1, 2), torch.ones(1, 2), 2, 2)
    with pytest.raises(ValueError, match=r"focal of 1 cameras must have the shape \[1, 2\]"):
        Cameras(FRONT, torch.ones(1), torch.ones(1, 2), 2, 2)
    with pytest.raises(ValueError, match="at least one pixel, got 0x2"):
        Cameras.pinhole(FRONT, width=0, height=2, focal=1.0)
