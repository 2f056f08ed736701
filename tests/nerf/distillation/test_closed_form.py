"""Closed-form starts reproduce what the family can represent."""

from __future__ import annotations

import pytest
import torch

from nerf.distillation import closed_form as starts
from nerf.distillation.closed_form import cp_decomposition, fibonacci_sphere, initialize_from_teacher, node_points
from nerf.distillation.training import inherit_head
from nerf.fields import build_field
from nerf.fields.low_rank import LowRankConfig
from nerf.fields.voxel import VoxelConfig

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 0.5, 1.0]])
RANGE = (-2.0, 7.0)
SMALL = {
    "vm": LowRankConfig(resolution=12, density_rank=3, color_rank=5),
    "cp": LowRankConfig(resolution=12, density_rank=4, color_rank=6),
}


def test_alternating_least_squares_finds_an_exact_decomposition() -> None:
    torch.manual_seed(0)
    factors = [torch.randn(n, 3) for n in (7, 8, 9)]
    tensor = torch.einsum("ar,br,cr->abc", *factors)
    found = torch.einsum("ar,br,cr->abc", *cp_decomposition(tensor, 3, rounds=60))
    assert (found - tensor).norm() < 0.02 * tensor.norm()


def test_nodes_are_in_the_order_of_the_grids() -> None:
    field = build_field("voxel", BOUNDS, VoxelConfig(resolution=5))
    points = node_points(field, 5)
    torch.testing.assert_close(field.encode(field.unit(points)), field.dense().flatten(1).T, atol=1e-5, rtol=1e-4)


def test_directions_are_spread_evenly() -> None:
    directions = fibonacci_sphere(64)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(64))
    assert directions.mean(0).norm() < 0.02
    second = directions.T @ directions / 64
    torch.testing.assert_close(second, torch.eye(3) / 3, atol=0.02, rtol=0)


def test_voxel_grid_takes_over_another_one_at_its_nodes() -> None:
    torch.manual_seed(0)
    teacher, student = (build_field("voxel", BOUNDS, VoxelConfig(resolution=7), seed=i) for i in (0, 1))
    with torch.no_grad():
        teacher.values.normal_()
    assert initialize_from_teacher(teacher, student, RANGE)
    expected = teacher.values.detach().clone()
    expected[:, 0].clamp_(*RANGE)
    torch.testing.assert_close(student.values.detach(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("source", "target"), [("vm", "vm"), ("cp", "cp"), ("cp", "vm")])
def test_low_rank_teachers_are_recovered(source: str, target: str) -> None:
    """Ranks suffice, so what is left is the factorization's own error; random tensors are the hardest there are."""
    teacher, student = build_field(source, BOUNDS, SMALL[source]), build_field(target, BOUNDS, SMALL[target], seed=1)
    with torch.no_grad():
        for parameter in (p for name, p in teacher.named_parameters() if name in ("planes", "lines")):
            parameter.mul_(3)
    inherit_head(teacher, student)
    assert initialize_from_teacher(teacher, student, (-50.0, 50.0))
    points = BOUNDS[0] + torch.rand(500, 3) * (BOUNDS[1] - BOUNDS[0])
    wanted, found = teacher.features(points), student.features(points)
    error = (wanted - found).square().mean(0).sqrt() / wanted.square().mean(0).sqrt()
    assert error[0] < 0.3, error[0]
    assert error[1:].mean() < 0.5


def test_a_ball_becomes_a_ball_in_every_grid_family() -> None:
    teacher = build_field("mlp", BOUNDS)

    def features(points: torch.Tensor) -> torch.Tensor:
        inside = points.norm(dim=-1, keepdim=True) < 0.45
        return torch.cat([torch.where(inside, 5.0, -2.0), torch.zeros(len(points), 15)], -1)

    teacher.features = features  # type: ignore[method-assign]
    points = torch.rand(2000, 3) * 1.2 - 0.6
    truth = points.norm(dim=-1) < 0.45
    for name, size in (("voxel", VoxelConfig(resolution=24)), ("vm", None), ("cp", None)):
        student = build_field(name, BOUNDS, size or LowRankConfig(resolution=24, density_rank=12, color_rank=4))
        inherit_head(teacher, student)
        assert initialize_from_teacher(teacher, student, RANGE)
        found = student.features(points)[:, 0] > 1.5
        union, both = (found | truth).sum(), (found & truth).sum()
        assert both / union > 0.8, (name, float(both / union))


@pytest.mark.parametrize("family", ["vm", "cp"])
def test_fine_tensors_are_interpolated_from_a_coarser_factorization(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smooth teacher is one that loses nothing by it."""
    monkeypatch.setattr(starts, "FACTORIZED", 12)
    teacher = build_field("mlp", BOUNDS)

    def features(points: torch.Tensor) -> torch.Tensor:
        x, y, z = (points - BOUNDS[0]).mul(2).unbind(-1)
        return torch.stack([x.sin() * y.cos() + z, *[x * y.sin() * z] * 15], -1)

    teacher.features = features  # type: ignore[method-assign]
    config = LowRankConfig(resolution=31, density_rank=4, color_rank=4)
    student = build_field(family, BOUNDS, config)
    inherit_head(teacher, student)
    assert initialize_from_teacher(teacher, student, RANGE)
    assert student.config.resolution == 31
    points = BOUNDS[0] + torch.rand(500, 3) * (BOUNDS[1] - BOUNDS[0])
    wanted, found = features(points), student.features(points)
    error = (wanted - found).square().mean(0).sqrt() / wanted.square().mean(0).sqrt()
    assert error.max() < 0.1, error


def test_nothing_happens_where_there_is_no_closed_form() -> None:
    student = build_field("mlp", BOUNDS)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert not initialize_from_teacher(build_field("hash", BOUNDS), student, RANGE)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("family", ["vm", "cp"])
def test_density_alone_is_taken_over_where_colours_mean_something_else(family: str) -> None:
    teacher = build_field(family, BOUNDS, SMALL[family])
    student, untouched = (build_field(family, BOUNDS, SMALL[family], seed=2) for _ in range(2))
    assert initialize_from_teacher(teacher, student, (-50.0, 50.0))
    points = BOUNDS[0] + torch.rand(500, 3) * (BOUNDS[1] - BOUNDS[0])
    wanted, found, before = (field.features(points) for field in (teacher, student, untouched))
    assert (wanted - found)[:, 0].square().mean() < 0.1 * wanted[:, 0].square().mean()
    torch.testing.assert_close(found[:, 1:], before[:, 1:])
