"""All samplers through one interface: what they march, what they add to the loss, and what they keep."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mappers.training.draws import Draws
from nerf.cameras import Rays
from nerf.fields import build_field
from nerf.fields.mlp import MLPConfig
from nerf.rendering.hierarchical import CoarseField
from nerf.rendering.occupancy import OccupancyGrid
from nerf.rendering.samplers import Sampler, UniformSampler
from nerf.rendering.sampling import Marching, span, uniform_samples

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
MARCHING = Marching.through(BOUNDS, 16, near=0.0, far=10.0)
SAMPLERS = {
    "uniform": lambda: UniformSampler(BOUNDS),
    "occupancy": lambda: OccupancyGrid(BOUNDS, 8),
    "coarse": lambda: CoarseField(build_field("mlp", BOUNDS, MLPConfig(layers=2, width=16, octaves=2)), 8),
}


def rays(count: int = 20) -> Rays:
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    return Rays(3 * origins, -origins, -origins)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_training_step_samples_what_is_marched_and_adds_a_loss(name: str) -> None:
    sampler: Sampler = SAMPLERS[name]()
    white, jitter = torch.ones(20, 3), torch.rand(20)
    modules = sampler.parts()
    samples, loss = sampler.sample(modules, rays(), MARCHING, jitter, target=0 * white, background=white)
    marched = sampler.march(rays(), MARCHING, jitter)
    assert torch.equal(samples.ray, marched.ray)
    torch.testing.assert_close(samples.start, marched.start)
    assert bool(loss > 0) == (name == "coarse")
    assert (sampler.fine > 0) == (name == "coarse")
    assert all(any(f"{part}.{n}".startswith(prefix) for part, m in modules.items() for n, _ in m.named_parameters())
               for prefix in sampler.rates())  # fmt: skip


def test_uniform_samples_fill_the_box() -> None:
    samples = UniformSampler(BOUNDS).march(rays(), MARCHING)
    expected = uniform_samples(*span(rays(), BOUNDS, MARCHING), MARCHING.step)
    assert torch.equal(samples.start, expected.start)


def test_only_a_grid_changes_with_the_field_and_only_when_a_step_is_due() -> None:
    for make in SAMPLERS.values():
        sampler, asked = make(), []

        def density(points: torch.Tensor, asked: list[int] = asked) -> torch.Tensor:
            asked.append(len(points))
            return torch.where(points[:, 0] > 0, 50.0, 0.0)

        for step in range(17):
            sampler.update(density, Draws(0, step, range(4)))
        assert asked == ([8**3] * 2 if isinstance(sampler, OccupancyGrid) else [])
        if isinstance(sampler, OccupancyGrid):
            assert sampler.occupied[:, :, 4:].all()
            assert not sampler.occupied[:, :, :4].any()


def test_what_is_saved_samples_the_same(tmp_path: Path) -> None:
    grid = OccupancyGrid(BOUNDS, 8)
    grid.occupied[:4] = False
    grid.save(tmp_path)
    coarse = SAMPLERS["coarse"]()
    coarse.save(tmp_path)
    UniformSampler(BOUNDS).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coarse.safetensors", "occupancy.safetensors"]
    assert torch.equal(OccupancyGrid.load(tmp_path).occupied, grid.occupied)
    again = CoarseField.load(tmp_path, 8).march(rays(), MARCHING)
    assert torch.equal(again.start, coarse.march(rays(), MARCHING).start)


def test_cells_tell_where_rays_are_sampled() -> None:
    assert UniformSampler(BOUNDS).cells() is None
    cells = OccupancyGrid(BOUNDS, 8).cells()
    assert cells.shape == (8, 8, 8)
    with pytest.raises(ValueError, match="train with an occupancy grid"):
        SAMPLERS["coarse"]().cells()


def test_a_smaller_box_has_samples_of_its_own() -> None:
    small = BOUNDS / 2
    for name in ("uniform", "occupancy"):
        sampler = SAMPLERS[name]().shrunk(small)
        assert torch.equal(sampler.extent(), small)
        assert len(sampler.march(rays(), MARCHING)) < len(SAMPLERS[name]().march(rays(), MARCHING))
