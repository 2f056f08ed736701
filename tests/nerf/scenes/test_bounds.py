"""The box of the content: never too small, hardly too large."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from nerf.cameras import Cameras, nearest_to_axes, orbit, random_orbits
from nerf.scenes.bounds import hull_bounds, ray_limits, viewed_region
from nerf.scenes.synthetic.primitives import Solid, Solids


def ring(count: int = 20, **options: float) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    settings = {"radius": 3.2, "width": 50, "height": 50, "focal": 60.0} | options
    return random_orbits(count, elevation=(-40, 60), generator=generator, **settings)


def silhouettes(scene: Solids, cameras: Cameras) -> torch.Tensor:
    rows = []
    for index in range(len(cameras)):
        rays = cameras.picture_rays(index)
        rows.append(scene.trace(rays.origins, rays.directions)[0].isfinite().reshape(cameras.height, cameras.width))
    return torch.stack(rows)


def test_the_hull_holds_the_content_tightly() -> None:
    scene = Solids(
        (
            Solid("box", (0.3, 0, -0.2), (0.4, 0.2, 0.1), (1, 1, 1)),
            Solid("ball", (-0.4, 0.1, 0.3), (0.2,) * 3, (1, 1, 1)),
        )
    )
    cameras = ring()
    box = hull_bounds(cameras, silhouettes(scene, cameras), viewed_region(cameras))
    assert box is not None
    truth = scene.bounds()
    assert (box[0] <= truth[0]).all()
    assert (box[1] >= truth[1]).all()
    assert (box - truth).abs().max() < 0.2


def test_close_views_that_cut_the_content_do_not_carve_it() -> None:
    scene = Solids((Solid("box", (0, 0, 0), (0.9, 0.2, 0.2), (1, 1, 1)),))
    cameras = ring(focal=160.0)  # shows about ±0.5
    box = hull_bounds(cameras, silhouettes(scene, cameras), torch.tensor([[-2.0] * 3, [2.0] * 3]))
    assert box is not None
    assert (box[0] <= scene.bounds()[0]).all()
    assert (box[1] >= scene.bounds()[1]).all()


def test_a_scene_of_nothing_has_no_hull() -> None:
    cameras = ring(4)
    assert hull_bounds(cameras, torch.zeros(4, 50, 50, dtype=torch.bool), viewed_region(cameras)) is None


def test_axes_meet_in_their_subject() -> None:
    cameras = orbit(7, radius=2, elevation=20, center=(0.5, -1.0, 2.0), width=10, height=10, focal=10.0)
    assert nearest_to_axes(cameras).tolist() == pytest.approx([0.5, -1.0, 2.0], abs=1e-4)
    region = viewed_region(cameras)
    half = 2 * math.hypot(0.5, 0.5)
    assert region[1].tolist() == pytest.approx([0.5 + half, -1 + half, 2 + half], abs=1e-3)


def test_an_extent_spans_the_views_between_two_depths() -> None:
    poses = torch.eye(3, 4)[None].repeat(2, 1, 1)
    poses[1, 0, 3] = 1.0
    cameras = Cameras.pinhole(poses, width=20, height=10, focal=10.0)
    region = viewed_region(cameras, (1.0, 4.0))
    assert region.tolist() == [pytest.approx([-4, -2, -4]), pytest.approx([5, 2, -1])]


def test_ray_limits() -> None:
    cameras = orbit(4, radius=3, elevation=0, width=4, height=4, focal=4.0)
    near, far = ray_limits(cameras, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    assert near == pytest.approx(2.0, abs=1e-5)
    assert far == pytest.approx(math.sqrt(16 + 1 + 1), abs=1e-5)
    inside = dataclasses.replace(cameras, poses=cameras.poses * torch.tensor([1.0, 1, 1, 0.1]))
    assert 0 < ray_limits(inside, torch.tensor([[-1.0] * 3, [1.0] * 3]))[0] < 0.01
