"""Occupancy grid: which cells of a field's box have density, so that rays skip the others (arXiv 2201.05989, E.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mappers.files import replacing

from ..cameras import Rays
from .samplers import Density, Sampler
from .sampling import Marching, Samples, span, uniform_samples

if TYPE_CHECKING:
    from mappers.training.draws import Draws

DECAY = 0.95
"""Factor of a cell's running maximum at every update."""
WARM_UPDATES = 16
"""Number of updates at the start of training that evaluate the density in every cell."""


class OccupancyGrid(Sampler):
    """A grid of running maxima of density over the box, and the cells that count as occupied.

    Both are buffers and saved with checkpoints, so that a resumed run skips the same cells.

    Args:
        bounds: lower and upper corner of the box.
        resolution: cells along an axis.
        threshold: density per unit length below which a cell counts as empty (or the mean density, if that is less).
        every: training steps between updates.
    """

    file = "occupancy.safetensors"
    """Name of the file in a run's folder."""
    density: Tensor
    occupied: Tensor

    def __init__(self, bounds: Float[Tensor, "2 3"], resolution: int = 64, *, threshold: float = 5.0, every: int = 16):
        super().__init__()
        if not 2 <= resolution <= 512:
            raise ValueError(f"resolution of the occupancy grid must be in 2..512, got {resolution}")
        self.resolution, self.threshold, self.every = resolution, threshold, every
        self.register_buffer("bounds", bounds.float().clone())
        size = (resolution,) * 3
        self.register_buffer("density", torch.zeros(size))
        self.register_buffer("occupied", torch.ones(size, dtype=torch.bool))

    def parts(self) -> Mapping[str, nn.Module]:
        return {"grid": self}

    def update(self, density: Density, draws: Draws) -> None:
        """Refresh the grid in every ``every``-th step; every process draws the same points."""
        if draws.step % self.every == 0:
            warm = draws.step < WARM_UPDATES * self.every
            self.refresh(density, generator=draws.shared_generator("occupancy"), warm=warm)

    @torch.no_grad()
    def refresh(self, density: Density, *, generator: torch.Generator, warm: bool = False) -> None:
        """Evaluate the density at one random point of each cell (``warm``), else of a quarter and of all occupied ones.

        Args:
            density: world positions to density per unit length.
            generator: source of the points, on the CPU; the same in every process.
            warm: whether to evaluate all cells.

        Raises:
            ValueError: no cell would be occupied.
        """
        chosen = torch.ones(self.resolution**3, dtype=torch.bool)
        if not warm:
            chosen = torch.rand(len(chosen), generator=generator) < 0.25
            chosen |= self.occupied.flatten().cpu()
        cells = chosen.nonzero()[:, 0]
        size = self.resolution
        corner = torch.stack([cells % size, cells // size % size, cells // size**2], -1)
        unit = (corner + torch.rand(len(cells), 3, generator=generator)) / size
        points = self.bounds[0] + unit.to(self.bounds.device) * (self.bounds[1] - self.bounds[0])
        fresh = torch.cat([density(part) for part in points.split(2**18)])
        values = self.density.flatten() * DECAY
        cells = cells.to(values.device)
        values[cells] = torch.maximum(values[cells], fresh)
        self.density.copy_(values.view_as(self.density))
        limit = min(self.threshold, float(self.density.mean()))
        occupied = self.density > limit
        if not occupied.any():
            low, high = self.bounds.tolist()
            raise ValueError(
                f"the field is empty: no density above {limit:.3g} in the box {low} to {high}; check the scene's bounds"
                " and background, or lower the learning rate"
            )
        self.occupied.copy_(occupied)

    def dilated(self) -> Bool[Tensor, "z y x"]:
        """Occupied cells and their neighbours."""
        return F.max_pool3d(self.occupied.float()[None, None], 3, stride=1, padding=1)[0, 0] > 0

    def extent(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of the occupied cells and their neighbours."""
        z, y, x = self.dilated().nonzero(as_tuple=True)
        cells = torch.stack([x, y, z], -1)
        unit = torch.stack([cells.amin(0), cells.amax(0) + 1]) / self.resolution
        return self.bounds[0] + unit * (self.bounds[1] - self.bounds[0])

    def shrunk(self, bounds: Float[Tensor, "2 3"]) -> OccupancyGrid:
        """As many cells over a smaller box, each with the values of the old cell around its centre."""
        grid = OccupancyGrid(bounds, self.resolution, threshold=self.threshold, every=self.every)
        grid = grid.to(self.bounds.device)
        middles = (torch.arange(self.resolution, device=bounds.device) + 0.5) / self.resolution
        places = bounds[0] + middles[:, None] * (bounds[1] - bounds[0])  # along each axis, [resolution, 3]
        x, y, z = self._cell(places).unbind(-1)
        grid.density.copy_(self.density[z][:, y][:, :, x])
        grid.occupied.copy_(self.occupied[z][:, y][:, :, x])
        return grid

    def _cell(self, points: Float[Tensor, "n 3"]) -> Int[Tensor, "n 3"]:
        """Indices of cells along x, y and z; outside the box they lie beyond 0..resolution - 1."""
        unit = (points - self.bounds[0]) / (self.bounds[1] - self.bounds[0])
        return (unit * self.resolution).floor().long()

    def occupied_at(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether points lie in an occupied cell; False outside the box."""
        cell = self._cell(points)
        inside = ((cell >= 0) & (cell < self.resolution)).all(-1)
        x, y, z = cell.clamp(0, self.resolution - 1).unbind(-1)
        return self.occupied[z, y, x] & inside

    def cells(self) -> Bool[Tensor, "z y x"]:
        return self.occupied

    def save(self, folder: Path) -> None:
        with replacing(folder / self.file) as temporary:
            save_file({name: value.contiguous() for name, value in self.state_dict().items()}, temporary)

    @classmethod
    def load(cls, folder: Path) -> OccupancyGrid:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError, SafetensorError, KeyError, RuntimeError: the file is missing or damaged.
        """
        state = load_file(folder / cls.file)
        grid = cls(state["bounds"], len(state["occupied"]))
        grid.load_state_dict(state)
        return grid

    def march(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """Intervals that lie in occupied cells (by their middle); see `sampling.uniform_samples`."""
        samples = uniform_samples(*span(rays, self.bounds, marching), marching.step, jitter)
        # The same as `occupied_at`, but in units of cells and axis by axis, which is several times faster.
        cells = self.resolution / (self.bounds[1] - self.bounds[0])
        origins, directions = ((rays.origins - self.bounds[0]) * cells).T, (rays.directions * cells).T
        middle, cell = samples.middle, torch.zeros_like(samples.ray)
        for axis in (2, 1, 0):
            origin, direction = (values[axis].index_select(0, samples.ray) for values in (origins, directions))
            along = torch.addcmul(origin, direction, middle).clamp_(0, self.resolution - 1)
            cell = cell.mul_(self.resolution).add_(along.long())
        return samples[self.occupied.flatten().index_select(0, cell)]
