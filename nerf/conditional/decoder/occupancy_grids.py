"""A small occupancy grid for each training shape, so that rays skip most of the box."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...cameras import Rays
from ...fields.conditional import ConditionalField
from ...rendering.sampling import Marching, Samples, sample_points, span, uniform_samples
from ..model import OCCUPIED, cell_density, dilate


class ShapeGrids(nn.Module):
    """Occupied cells of n shapes in one box, at first all cells. They are buffers, so that a resumed run has the same.

    Args:
        bounds: lower and upper corner of the box.
        shapes: number n of shapes.
        resolution: cells along each side.
    """

    bounds: Tensor
    occupied: Tensor

    def __init__(self, bounds: Float[Tensor, "2 3"], shapes: int, resolution: int):
        super().__init__()
        self.resolution = resolution
        self.register_buffer("bounds", bounds.float().clone(), persistent=False)
        self.register_buffer("occupied", torch.ones(shapes, resolution, resolution, resolution, dtype=torch.bool))

    @torch.no_grad()
    def update(self, field: ConditionalField, codes: Float[Tensor, "n s"], shapes: list[int]) -> None:
        """Recompute the grids of some shapes from the field's density. A shape without any density gets all cells."""
        for shape in shapes:
            cells = dilate(cell_density(field, codes[shape], self.resolution) > OCCUPIED)
            self.occupied[shape] = cells if bool(cells.any()) else True

    def march(
        self, rays: Rays, shape: Int[Tensor, " r"], marching: Marching, jitter: Float[Tensor, " r"] | None = None
    ) -> Samples:
        """Samples of rays whose middle lies in an occupied cell of the ray's shape."""
        samples = uniform_samples(*span(rays, self.bounds, marching), marching.step, jitter)
        unit = (sample_points(rays, samples) - self.bounds[0]) / (self.bounds[1] - self.bounds[0])
        x, y, z = (unit * self.resolution).long().clamp(0, self.resolution - 1).unbind(-1)
        return samples[self.occupied[shape[samples.ray], z, y, x]]
