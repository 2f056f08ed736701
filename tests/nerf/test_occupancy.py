"""Marching with an occupancy grid against marching everywhere."""

from __future__ import annotations

import pytest
import torch

from nerf.occupancy import OccupancyGrid
from nerf.rendering import intersect_box

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def ball(points: torch.Tensor) -> torch.Tensor:
    return torch.where(points.norm(dim=-1) < 0.5, 40.0, 0.0)


def rays(count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 3
    aim = torch.rand(count, 3, generator=generator) - 0.5
    return origins, torch.nn.functional.normalize(aim - origins, dim=-1)


def updated() -> OccupancyGrid:
    grid = OccupancyGrid(BOUNDS, 16)
    for step in range(4):
        grid.update(ball, threshold=1.0, generator=torch.Generator().manual_seed(step), warm=step < 2)
    return grid


def test_finds_the_cells_of_a_ball() -> None:
    grid = updated()
    axis = (torch.arange(16) + 0.5) / 8 - 1
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = torch.stack([x, y, z], -1).norm(dim=-1)
    half = 3**0.5 / 16
    assert grid.occupied[distance < 0.5 - half].all()
    assert not grid.occupied[distance > 0.5 + half].any()


def test_full_grid_gives_every_interval_of_the_box_and_tiles_it() -> None:
    origins, directions = rays()
    samples = OccupancyGrid(BOUNDS, 8).march(origins, directions, step=0.1, jitter=torch.rand(50))
    enter, leave = intersect_box(origins, directions, BOUNDS)
    length = torch.zeros(50).index_add(0, samples.ray, samples.end - samples.start)
    torch.testing.assert_close(length, leave - enter, atol=1e-4, rtol=0)
    assert (samples.end - samples.start <= 0.1 + 1e-5).all()
    same = samples.ray[1:] == samples.ray[:-1]
    torch.testing.assert_close(samples.start[1:][same], samples.end[:-1][same])


def test_skips_empty_cells_only() -> None:
    origins, directions = rays()
    everywhere = OccupancyGrid(BOUNDS, 16).march(origins, directions, step=0.05)
    grid = updated()
    found = grid.march(origins, directions, step=0.05)
    assert len(found) < 0.4 * len(everywhere)
    points = origins[everywhere.ray] + directions[everywhere.ray] * everywhere.middle[:, None]
    expected = grid.occupied_at(points)
    assert torch.equal(found.ray, everywhere.ray[expected])
    assert torch.equal(found.start, everywhere.start[expected])


def test_outside_of_the_box_is_empty_and_dilation_grows_by_one_cell() -> None:
    grid = updated()
    assert not grid.occupied_at(torch.tensor([[1.5, 0.0, 0.0], [0.0, -2.0, 0.0]])).any()
    grid.occupied.zero_()
    grid.occupied[5, 6, 7] = True
    assert grid.dilated().sum() == 27


def test_density_that_fades_leaves_the_grid() -> None:
    grid = updated()
    for step in range(200):
        grid.update(lambda p: torch.zeros(len(p)), threshold=1.0, generator=torch.Generator().manual_seed(step))
    assert grid.density.max() < 0.01


def test_an_empty_field_is_an_error_that_names_box_and_threshold() -> None:
    grid = OccupancyGrid(BOUNDS, 8)
    with pytest.raises(ValueError, match=r"no density above 0 in the box \[-1.0, -1.0, -1.0\] to .*learning rate"):
        grid.update(lambda p: torch.zeros(len(p)), threshold=1.0, generator=torch.Generator(), warm=True)


def test_resolution_is_checked() -> None:
    with pytest.raises(ValueError, match="2..512"):
        OccupancyGrid(BOUNDS, 1)
