"""The voxel grid against `grid_sample`, and what pruning and resizing keep."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nerf.fields.base import EMPTY
from nerf.fields.voxel import VoxelConfig, VoxelField

BOUNDS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.fixture
def field() -> VoxelField:
    torch.manual_seed(0)
    field = VoxelField(BOUNDS, VoxelConfig(resolution=9))
    with torch.no_grad():
        field.values.normal_()
    return field


def test_interpolation_equals_grid_sample(field: VoxelField) -> None:
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    points[:8] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    at = (points * 2 - 1)[None, :, None, None]
    expected = F.grid_sample(field.dense()[None], at, align_corners=True)[0, :, :, 0, 0].T
    torch.testing.assert_close(field.encode(points), expected, atol=1e-5, rtol=1e-4)


def test_pruning_keeps_dense_nodes_and_their_neighbours(field: VoxelField) -> None:
    with torch.no_grad():
        field.values[:, 0] = -5.0
        field.values[field.rows[4, 3, 2] - 1, 0] = 2.0
    pruned = field.pruned(1.0)
    assert len(pruned.values) == 27
    assert torch.equal((pruned.rows > 0).nonzero().float().mean(0), torch.tensor([4.0, 3.0, 2.0]))
    node = torch.tensor([[2.0, 3.0, 4.0]]) / 8
    torch.testing.assert_close(pruned.encode(node), field.encode(node))
    assert pruned.encode(torch.zeros(1, 3))[0, 0] == EMPTY
    with pytest.raises(ValueError, match="lower the pruning threshold"):
        field.pruned(1e6)


def test_resized_keeps_values_and_pruned_space_stays_pruned(field: VoxelField) -> None:
    fine = field.resized(17)
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fine.encode(points), field.encode(points), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        field.values[:, 0] = -5.0
        field.values[field.rows[4, 4, 4] - 1, 0] = 2.0
    share = (field.pruned(1.0).resized(17).rows > 0).float().mean()
    assert 27 / 729 < share < 0.15


def test_total_variation_by_hand() -> None:
    field = VoxelField(BOUNDS, VoxelConfig(resolution=2))
    with torch.no_grad():
        field.values.zero_()
        field.values[0, 0] = 3.0  # a corner has three neighbours
    expected = 3 * 9.0 / (12 * 28)
    torch.testing.assert_close(field.regularization()["total_variation"], torch.tensor(expected))
