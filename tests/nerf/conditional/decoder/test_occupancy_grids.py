"""Every shape's own occupied cells."""

from __future__ import annotations

import torch

from nerf.cameras import Rays
from nerf.conditional import ConditionalModel
from nerf.conditional.decoder.occupancy_grids import ShapeGrids
from nerf.conditional.model import cell_density, dilate
from nerf.rendering.sampling import Marching, sample_points

RESOLUTION = 20


def middles(bounds: torch.Tensor) -> torch.Tensor:
    """Middle of every cell, [z, y, x, 3]."""
    middle = (torch.arange(RESOLUTION) + 0.5) / RESOLUTION
    z, y, x = torch.meshgrid(middle, middle, middle, indexing="ij")
    return bounds[0] + torch.stack([x, y, z], -1) * (bounds[1] - bounds[0])


def test_density_of_cells_is_that_of_their_middles(balls: ConditionalModel) -> None:
    """In pieces of any size; the box has three different sides, so that swapped axes would show."""
    code = balls.shape_codes[3]
    density = cell_density(balls.field, code, RESOLUTION, chunk=777)
    radius = middles(balls.field.bounds).norm(dim=-1)
    assert torch.equal(density > 1, radius < code[0])


def test_growing_adds_the_26_neighbours() -> None:
    cells = torch.zeros(7, 7, 7, dtype=torch.bool)
    cells[3, 3, 3] = cells[0, 0, 6] = True
    z, y, x = dilate(cells).nonzero().T
    near = ((z - 3).abs() <= 1) & ((y - 3).abs() <= 1) & ((x - 3).abs() <= 1)
    corner = (z <= 1) & (y <= 1) & (x >= 5)
    assert int(near.sum()) == 27
    assert int(corner.sum()) == 8
    assert len(z) == 35


def test_rays_are_sampled_in_their_own_shape_only(balls: ConditionalModel) -> None:
    field, codes = balls.field, balls.shape_codes
    grids = ShapeGrids(field.bounds, len(codes), RESOLUTION)
    grids.update(field, codes, [0, 4])
    assert grids.occupied[[1, 2, 3]].all()
    assert grids.occupied[0].sum() < grids.occupied[4].sum() < RESOLUTION**3
    count = 50
    origins = torch.tensor([[3.0, 0.3, 0.2]]).expand(count, 3)
    aims = torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    directions = torch.nn.functional.normalize(aims - origins, dim=-1)
    rays = Rays(origins, directions, directions)
    marching = Marching.through(field.bounds, 60, near=0.0, far=10.0)
    for shape in (0, 1, 4):
        samples = grids.march(rays, torch.full((count,), shape), marching)
        radius = sample_points(rays, samples).norm(dim=-1)
        every = ShapeGrids(field.bounds, 1, 4).march(rays, torch.zeros(count, dtype=torch.long), marching)
        inside = sample_points(rays, every).norm(dim=-1) < codes[shape, 0]
        assert int((radius < codes[shape, 0]).sum()) == int(inside.sum()) > 0
        if shape != 1:
            cell = float((field.bounds[1] - field.bounds[0]).norm()) / RESOLUTION
            assert float(radius.max()) < float(codes[shape, 0]) + 2 * cell
            assert len(samples) < len(every)


def test_a_shape_without_density_stays_everywhere(balls: ConditionalModel) -> None:
    grids = ShapeGrids(balls.field.bounds, 2, 8)
    nothing = torch.full((2, 4), -1.0)
    grids.update(balls.field, nothing, [0])
    assert grids.occupied.all()
