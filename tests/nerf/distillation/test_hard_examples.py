"""The pools hold the worst, never grow, and give a tenth."""

from __future__ import annotations

import torch

from mappers.training.draws import Draws
from nerf.cameras import Cameras, Rays, orbit
from nerf.distillation.hard_examples import HardExamples, _replace, heaviest_samples, rotations
from nerf.rendering.compositing import Rendered
from nerf.rendering.sampling import Samples
from nerf.settings import DistillConfig
from nerf.viewpoints import Viewpoints


def pools(**switches: bool) -> HardExamples:
    return HardExamples(DistillConfig(**switches), Viewpoints.of(cameras()))


def cameras() -> Cameras:
    return orbit(8, radius=3.0, elevation=20.0, width=10, height=10, focal=12.0, center=(0.1, 0.2, 0.3))


def test_the_worst_replace_the_least_bad() -> None:
    pool, scores = torch.zeros(3, 2), torch.tensor([0.5, 0.1, 0.3])
    rows = torch.arange(8.0).view(4, 2)
    _replace(pool, scores, rows, torch.tensor([0.2, 0.9, 0.05, 0.4]))
    assert sorted(round(float(v), 2) for v in scores) == [0.4, 0.5, 0.9]
    assert pool[1].tolist() == rows[1].tolist()
    assert pool[2].tolist() == rows[3].tolist()
    assert pool.shape == (3, 2)


def test_hard_rays_come_once_the_pool_is_full_and_are_a_tenth() -> None:
    hard = pools(hard_rays=True)
    hard.pool, hard.ray_errors = torch.zeros(20, 9), torch.full((20,), -1.0)
    fresh = Rays(torch.ones(40, 3), torch.ones(40, 3), torch.ones(40, 3))
    draws = Draws(0, 0, range(40))
    hard.config = DistillConfig(hard_rays=True)
    for step in range(6):
        mixed = hard.rays(fresh, draws)
        replaced = int((mixed.origins[:, 0] != 1).sum())
        assert replaced == (4 if step >= 5 else 0)
        assert len(mixed) == 40
        worst = Rays(torch.full((40, 3), 7.0), fresh.directions, fresh.views)
        hard.record(worst, torch.rand(40) + 0.1, draws)
    assert len(hard.pool) == 20


def test_hard_cameras_are_turned_about_the_middle_and_still_look_at_it() -> None:
    hard = pools(hard_cameras=True)
    found = cameras()
    hard.choose_cameras(found, torch.Generator())
    index = torch.arange(1024) * 8 // 1024
    rays = Rays(torch.zeros(1024, 3), torch.zeros(1024, 3), torch.zeros(1024, 3))
    hard.record(rays, index.float(), Draws(0, 0, range(1024)))
    assert int((hard.camera_errors >= 0).sum()) == 8
    many = Cameras.pinhole(found.poses[:1].repeat(400, 1, 1), width=10, height=10, focal=12.0)
    hard.choose_cameras(many, torch.Generator().manual_seed(0))
    mixed = hard.step_cameras
    changed = (mixed.poses != many.poses).flatten(1).any(1)
    assert 20 < int(changed.sum()) < 60
    distance = (mixed.positions - torch.tensor([0.1, 0.2, 0.3])).norm(dim=-1)
    torch.testing.assert_close(distance, torch.full((400,), 3.0), atol=1e-4, rtol=0)
    toward = torch.nn.functional.normalize(torch.tensor([0.1, 0.2, 0.3]) - mixed.positions, dim=-1)
    assert ((toward * mixed.forward).sum(-1) > 0.999).all()


def test_a_step_keeps_its_cameras_while_the_pool_learns() -> None:
    """Every micro-batch of a step sees the same cameras, though errors of the one before have reached the pool."""
    hard = pools(hard_cameras=True)
    hard.choose_cameras(cameras(), torch.Generator().manual_seed(0))
    before = hard.step_cameras.poses.clone()
    rays = Rays(torch.zeros(1024, 3), torch.zeros(1024, 3), torch.zeros(1024, 3))
    hard.record(rays, torch.rand(1024), Draws(0, 0, range(1024)))
    assert torch.equal(hard.step_cameras.poses, before)
    assert int((hard.camera_errors >= 0).sum()) == 8


def test_important_points_are_the_heaviest_of_opaque_rays_to_either_field() -> None:
    samples = Samples(torch.tensor([0] * 10 + [1] * 10), torch.arange(20.0), torch.arange(20.0) + 1, 2)
    weights = torch.zeros(20)
    weights[[2, 5, 7]] = torch.tensor([0.2, 0.5, 0.1])
    weights[13] = 0.3  # the second ray is not opaque
    opacity = torch.tensor([0.8, 0.3])
    rendered = Rendered(torch.zeros(2, 3), opacity, torch.zeros(2), weights)
    assert heaviest_samples(samples, rendered, rendered).nonzero()[:, 0].tolist() == [2, 5, 7]
    other = weights.roll(1)
    both = heaviest_samples(samples, rendered, Rendered(torch.zeros(2, 3), opacity, torch.zeros(2), other))
    assert both.nonzero()[:, 0].tolist() == [2, 3, 5, 6, 7, 8]


def test_rotations_are_rotations() -> None:
    turns = rotations(torch.randn(5, 3))
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(5))
    quarter = rotations(torch.tensor([[0.0, 0.0, torch.pi / 2]]))[0]
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
