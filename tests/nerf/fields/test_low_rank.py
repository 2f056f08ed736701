"""VM and CP against their assembled tensors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nerf.fields.low_rank import CPField, LowRankConfig, VMField

BOUNDS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
SMALL = {"resolution": 7, "density_rank": 3, "color_rank": 4}


@pytest.fixture(params=["vm", "cp"])
def field(request: pytest.FixtureRequest) -> VMField | CPField:
    torch.manual_seed(0)
    return VMField(BOUNDS, LowRankConfig(**SMALL)) if request.param == "vm" else CPField(BOUNDS, LowRankConfig(**SMALL))


def test_nodes_equal_the_assembled_tensor(field: VMField | CPField) -> None:
    nodes = torch.cartesian_prod(*[torch.linspace(0, 1, 7)] * 3)
    dense = field.dense().permute(3, 2, 1, 0).reshape(343, -1)  # x slowest, as cartesian_prod has it
    values = field.encode(nodes)
    torch.testing.assert_close(values[:, 0], dense[:, 0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(values[:, 1:], field.basis(dense[:, 1:]), atol=1e-6, rtol=1e-4)


def test_between_nodes_vm_and_cp_are_products_not_trilinear_only_off_the_axes(field: VMField | CPField) -> None:
    """A product of linear functions of different coordinates is multilinear: it equals trilinear interpolation."""
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1))
    dense = field.dense()[:1][None]
    expected = F.grid_sample(dense, (points * 2 - 1)[None, :, None, None], align_corners=True).flatten()
    torch.testing.assert_close(field.encode(points)[:, 0], expected, atol=1e-6, rtol=1e-5)


def test_resized_to_a_finer_grid_keeps_the_old_nodes(field: VMField | CPField) -> None:
    fine = field.resized(13)
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fine.encode(points), field.encode(points), atol=1e-5, rtol=1e-4)
    assert fine.config.resolution == 13


def inside(bounds: torch.Tensor, count: int = 300) -> torch.Tensor:
    u = torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    return bounds[0] + u * (bounds[1] - bounds[0])


def test_shrinking_changes_nothing_inside_where_the_old_nodes_stay(field: VMField | CPField) -> None:
    """Three of six cells on every axis, at half their spacing: all old nodes of the box are new nodes."""
    bounds = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]) / 6
    small = field.shrunk(bounds, 7)
    points = inside(bounds)
    torch.testing.assert_close(small.features(points), field.features(points), atol=1e-5, rtol=1e-4)
    assert torch.equal(small.bounds, bounds)
    assert type(small) is type(field)
    same_spacing = field.shrunk(bounds, 4)
    torch.testing.assert_close(same_spacing.features(points), field.features(points), atol=1e-5, rtol=1e-4)
    outside = torch.tensor([[0.1, 0.5, 0.7], [0.5, 0.5, 0.45]])
    assert (small.features(outside)[:, 0] == -12).all()


def test_shrinking_to_any_box_is_exact_at_the_new_nodes_and_close_between(field: VMField | CPField) -> None:
    bounds = torch.tensor([[0.13, 0.2, 0.31], [0.77, 0.9, 0.68]])
    small = field.shrunk(bounds, 7)
    nodes = bounds[0] + torch.cartesian_prod(*[torch.linspace(0, 1, 7)] * 3) * (bounds[1] - bounds[0])
    nodes = nodes.clamp(min=bounds[0], max=bounds[1])  # the last ones may be rounded out of the box
    torch.testing.assert_close(small.features(nodes), field.features(nodes), atol=1e-5, rtol=1e-4)
    points = inside(bounds)
    wanted = field.features(points)
    errors = [(field.shrunk(bounds, size).features(points) - wanted).square().mean().sqrt() for size in (7, 49)]
    assert errors[0] < 0.35 * wanted.std()  # random factors: nothing changes faster from node to node
    assert errors[1] < 0.2 * errors[0]


def test_l1_counts_density_factors_only() -> None:
    field = VMField(BOUNDS, LowRankConfig(**SMALL))
    before = field.regularization()["l1"]
    with torch.no_grad():
        field.planes[:, 3:] *= 7
    assert torch.equal(before, field.regularization()["l1"])
    with torch.no_grad():
        field.planes[:, :3] *= 2
        field.lines[:, :3] *= 2
    torch.testing.assert_close(field.regularization()["l1"], 2 * before)


def test_a_cp_field_is_a_vm_field_exactly() -> None:
    """Put a CP component into VM's first axis: matrix = outer product of two vectors."""
    torch.manual_seed(0)
    cp = CPField(BOUNDS, LowRankConfig(**SMALL))
    vm = VMField(BOUNDS, LowRankConfig(**SMALL))
    with torch.no_grad():
        vm.planes.zero_()
        vm.planes[0, :3] = torch.einsum("rx,ry->ryx", cp.lines[0, :3], cp.lines[1, :3])
        vm.lines[0, :3] = cp.lines[2, :3]
    points = torch.rand(50, 3)
    torch.testing.assert_close(vm.encode(points)[:, 0], cp.encode(points)[:, 0], atol=1e-6, rtol=1e-4)
