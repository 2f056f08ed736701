"""The start on a known surface: evenly thinned, flat, and already close to the object."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from nerf.cameras import orbit
from nerf.fields.splat import SplatConfig
from nerf.rendering.projection import rotation_matrices
from nerf.rendering.rasterizer import draw_splats
from nerf.splats.start import splats_on_surface, thinned

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def sphere(count: int) -> torch.Tensor:
    return 0.8 * normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(2)), dim=-1)


def test_a_sphere_is_drawn_as_one_and_its_gaussians_lie_in_it() -> None:
    points = sphere(20_000)
    colors = torch.tensor([1.0, 0.5, 0.0]).expand(len(points), 3)
    generator = torch.Generator().manual_seed(0)
    field = splats_on_surface(points, colors, BOUNDS, SplatConfig(count=1500, degree=1), generator)
    camera = orbit(1, radius=4.0, elevation=10, width=40, height=40, focal=60.0)
    view = draw_splats(field, camera, background=0.0)
    opacity = view.opacity[20, 20]
    assert float(opacity) > 0.8
    torch.testing.assert_close(view.color[20, 20] / opacity, torch.tensor([1.0, 0.5, 0.0]), atol=0.02, rtol=0)
    assert float(view.depth[20, 20]) < 4.0  # in front of the middle
    assert float(view.opacity[2, 2]) < 0.01
    normals = rotation_matrices(field.quaternions.detach())[:, :, 2]
    outward = normalize(field.means.detach(), dim=-1)
    assert float((normals * outward).sum(-1).abs().median()) > 0.98


def test_thinning_spreads_points_evenly_however_they_cluster() -> None:
    patch = torch.tensor([1.0, 0, 0]) + 0.05 * torch.randn(50_000, 3)
    points = torch.cat([sphere(2000), 0.8 * normalize(patch, dim=-1)])
    chosen = points[thinned(points, 500, torch.Generator().manual_seed(0))]
    near = (normalize(chosen, dim=-1)[:, 0] > 0.9).float().mean()
    assert float(near) < 0.2  # of a sphere's area it is 5 %, of the points 96 %


def test_fewer_points_than_gaussians_and_none() -> None:
    points, generator = sphere(5), torch.Generator().manual_seed(0)
    field = splats_on_surface(points, points.abs(), BOUNDS, SplatConfig(count=12, degree=0), generator)
    assert field.means.isfinite().all()
    assert field.log_scales.isfinite().all()
    with pytest.raises(ValueError, match="ends at a surface"):
        splats_on_surface(points[:0], points[:0], BOUNDS, SplatConfig(count=12), generator)
