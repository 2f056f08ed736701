"""Marching with an occupancy grid against marching everywhere."""

from __future__ import annotations

import pytest
import torch

from nerf.cameras import Rays, orbit
from nerf.fields import VolumeField
from nerf.fields.base import EMPTY
from nerf.rendering.occupancy import OccupancyGrid
from nerf.rendering.renderer import render_picture
from nerf.rendering.sampling import Marching, sample_points, span

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def ball(points: torch.Tensor) -> torch.Tensor:
    return torch.where(points.norm(dim=-1) < 0.5, 40.0, 0.0)


def rays(count: int = 50) -> Rays:
    generator = torch.Generator().manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 3
    aim = torch.rand(count, 3, generator=generator) - 0.5
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    return Rays(origins, directions, directions)


def updated() -> OccupancyGrid:
    grid = OccupancyGrid(BOUNDS, 16, threshold=1.0)
    for step in range(4):
        grid.refresh(ball, generator=torch.Generator().manual_seed(step), warm=step < 2)
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
    samples = OccupancyGrid(BOUNDS, 8).march(rays(), Marching(step=0.1), torch.rand(50))
    enter, leave = span(rays(), BOUNDS, Marching(step=0.1))
    length = torch.zeros(50).index_add(0, samples.ray, samples.end - samples.start)
    torch.testing.assert_close(length, leave - enter, atol=1e-4, rtol=0)
    assert (samples.end - samples.start <= 0.1 + 1e-5).all()
    same = samples.ray[1:] == samples.ray[:-1]
    torch.testing.assert_close(samples.start[1:][same], samples.end[:-1][same])


def test_skips_empty_cells_only() -> None:
    everywhere = OccupancyGrid(BOUNDS, 16).march(rays(), Marching(step=0.05))
    grid = updated()
    found = grid.march(rays(), Marching(step=0.05))
    assert len(found) < 0.4 * len(everywhere)
    expected = grid.occupied_at(sample_points(rays(), everywhere))
    assert torch.equal(found.ray, everywhere.ray[expected])
    assert torch.equal(found.start, everywhere.start[expected])


def test_outside_of_the_box_is_empty_and_dilation_grows_by_one_cell() -> None:
    grid = updated()
    assert not grid.occupied_at(torch.tensor([[1.5, 0.0, 0.0], [0.0, -2.0, 0.0]])).any()
    grid.occupied.zero_()
    grid.occupied[5, 6, 7] = True
    assert grid.dilated().sum() == 27


class Fog(VolumeField):
    """A ball of one log-density in a space of another."""

    name = "fog"

    def __init__(self, ball: float, around: float):
        super().__init__(BOUNDS)
        self.ball, self.around = ball, around

    def encode(self, unit: torch.Tensor) -> torch.Tensor:
        inside = (unit * 2 - 1).norm(dim=-1, keepdim=True) < 0.5
        return torch.cat([torch.where(inside, self.ball, self.around), torch.zeros(len(unit), 15)], -1)

    def color(self, features: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        return torch.full((len(features), 3), 0.2)


def view(field: VolumeField, grid: OccupancyGrid | None) -> torch.Tensor:
    camera = orbit(1, radius=3.0, elevation=20.0, width=24, height=24, focal=24.0)
    return render_picture(field, camera, Marching(step=0.02), sampler=grid).color


def test_a_full_grid_draws_what_no_grid_draws_bit_by_bit() -> None:
    field = Fog(3.0, 0.0)
    assert torch.equal(view(field, OccupancyGrid(BOUNDS, 16)), view(field, None))


def test_a_dilated_grid_draws_what_no_grid_draws() -> None:
    field, grid = Fog(3.0, EMPTY), updated()
    grid.occupied.copy_(grid.dilated())
    assert grid.occupied.float().mean() < 0.4
    assert (view(field, grid) - view(field, None)).abs().max() < 1e-3


def test_empty_space_shows_the_background() -> None:
    """By itself, and where a student keeps the density that distillation does not ask to be lower."""
    assert (1 - view(Fog(EMPTY, EMPTY), None)).abs().max() < 1e-3
    clamped, grid = Fog(3.0, -2.0), updated()
    missed = view(Fog(50.0, 50.0), grid)[..., 0] == 1  # by the rays of these pixels, every occupied cell
    assert missed.float().mean() > 0.2
    assert (1 - view(clamped, None)[missed]).max() > 0.05  # the fog
    assert torch.equal(view(clamped, grid)[missed], torch.ones(int(missed.sum()), 3))


def test_a_grid_shrinks_to_its_cells_and_their_neighbours() -> None:
    grid = OccupancyGrid(torch.tensor([[0.0, 0.0, 0.0], [8.0, 16.0, 8.0]]), 8)
    grid.occupied.zero_()
    grid.occupied[1, 4, 5] = grid.occupied[3, 4, 7] = True  # z, y, x
    grid.density[1, 4, 5] = 9.0
    bounds = grid.extent()
    assert bounds.tolist() == [[4.0, 6.0, 0.0], [8.0, 12.0, 5.0]]
    small = grid.shrunk(bounds)
    assert torch.equal(small.bounds, bounds)
    points = bounds[0] + torch.rand(500, 3) * (bounds[1] - bounds[0])
    exact = small.occupied_at(points) == grid.occupied_at(points)
    assert exact.float().mean() > 0.9  # cells of both grids overlap by parts
    assert small.density.max() == 9
    assert small.occupied_at(torch.tensor([[5.5, 9.0, 1.5], [7.5, 9.0, 3.5]])).all()


def test_density_that_fades_leaves_the_grid() -> None:
    grid = updated()
    for step in range(200):
        grid.refresh(lambda p: torch.zeros(len(p)), generator=torch.Generator().manual_seed(step))
    assert grid.density.max() < 0.01


def test_an_empty_field_is_an_error_that_names_box_and_threshold() -> None:
    grid = OccupancyGrid(BOUNDS, 8, threshold=1.0)
    with pytest.raises(ValueError, match=r"no density above 0 in the box \[-1.0, -1.0, -1.0\] to .*learning rate"):
        grid.refresh(lambda p: torch.zeros(len(p)), generator=torch.Generator(), warm=True)


def test_resolution_is_checked() -> None:
    with pytest.raises(ValueError, match="2..512"):
        OccupancyGrid(BOUNDS, 1)
