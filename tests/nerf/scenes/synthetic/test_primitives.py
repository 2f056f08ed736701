"""The ray caster against brute force, volumes and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from nerf.cameras import Cameras, look_at
from nerf.scenes.synthetic.primitives import DENSITY, Solid, Solids

VOLUMES = {
    ("box", 1.0): 8.0,
    ("gable", 1.0): 4.0,
    ("pyramid", 1.0): 8 / 3,
    ("ball", 1.0): 4 / 3 * math.pi,
    ("tube", 1.0): 2 * math.pi,
    ("tube", 0.0): 2 / 3 * math.pi,
    ("tube", 0.4): 2 / 3 * math.pi * (1 + 0.4 + 0.16),
    ("tube", 1.3): 2 / 3 * math.pi * (1 + 1.3 + 1.69),
}
"""Of the canonical solids."""


def solid(kind: str, top: float) -> Solid:
    return Solid(kind, (0.1, -0.2, 0.15), (0.5, 0.3, 0.4), (0.5, 0.6, 0.7), (30, -40, 70), top=top)


def some_rays(count: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """From a sphere of radius 3 to anywhere near the middle."""
    generator = torch.Generator().manual_seed(seed)
    origins = 3 * normalize(torch.randn(count, 3, generator=generator), dim=-1)
    targets = torch.rand(count, 3, generator=generator) * 1.4 - 0.7
    return origins, normalize(targets - origins, dim=-1)


@pytest.mark.parametrize(("kind", "top"), VOLUMES)
def test_rays_enter_where_marching_says(kind: str, top: float) -> None:
    part = solid(kind, top)
    origins, directions = some_rays(600)
    t = part.hit(origins, directions)
    steps = torch.arange(1.5, 4.5, 1e-3)
    points = origins[:, None] + steps[:, None] * directions[:, None]
    inside = part.inside(points.reshape(-1, 3)).reshape(600, -1)
    hit = inside.any(dim=1)
    assert (hit & t.isinf()).sum() == 0
    # A ray may cut an edge between two steps.
    assert (~hit & t.isfinite()).sum() <= 3
    both = hit & t.isfinite()
    assert both.sum() > 100
    marched = steps[inside.int().argmax(dim=1)]
    assert (marched - t)[both].min() > -1e-4
    assert (marched - t)[both].max() < 1.1e-3


@pytest.mark.parametrize(("kind", "top"), VOLUMES)
def test_normals_point_outwards(kind: str, top: float) -> None:
    part = solid(kind, top)
    origins, directions = some_rays(300, seed=1)
    t = part.hit(origins, directions)
    hit = t.isfinite()
    points = origins[hit] + t[hit, None] * directions[hit]
    normals = part.normals(points)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(points)), atol=1e-5)
    assert (normals * directions[hit]).sum(-1).max() < 1e-3
    assert not part.inside(points + 1e-4 * normals).any()
    assert part.inside(points - 1e-4 * normals).float().mean() > 0.98  # all but those at an edge


@pytest.mark.parametrize(("kind", "top"), VOLUMES)
def test_volumes(kind: str, top: float) -> None:
    part = solid(kind, top)
    points = torch.rand(400_000, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    share = part.inside(points).float().mean().item()
    assert share * 2.4**3 == pytest.approx(VOLUMES[kind, top] * 0.5 * 0.3 * 0.4, rel=0.03)
    bounds = Solids((part,)).bounds()
    inside = points[part.inside(points)]
    assert (inside >= bounds[0]).all()
    assert (inside <= bounds[1]).all()


def test_a_ray_from_inside_does_not_enter() -> None:
    for kind, top in VOLUMES:
        part = solid(kind, top)
        center = torch.tensor([part.center]) - torch.tensor([0, 0, 0.02])
        assert part.hit(center.repeat(20, 1), some_rays(20)[1]).isinf().all()


def test_thin_tubes_keep_their_edges_from_far_away() -> None:
    part = Solid("tube", (0, 0, 0), (0.01, 0.01, 0.5), (1, 1, 1))
    offset = torch.linspace(-0.02, 0.02, 401)
    origins = torch.stack([offset, torch.full_like(offset, -30.0), torch.zeros_like(offset)], dim=-1)
    t = part.hit(origins, torch.tensor([[0.0, 1.0, 0.0]]).expand(401, 3))
    wrong = t.isfinite() != (offset.abs() < 0.01)
    assert wrong.sum() <= 2
    hit = t.isfinite()
    assert torch.allclose(t[hit], 30 - (1e-4 - offset[hit] ** 2).clamp(min=0).sqrt(), atol=2e-3)


def test_the_first_of_several_solids_is_hit() -> None:
    scene = Solids(
        (
            Solid("box", (0, 0, 0), (0.1, 0.5, 0.5), (1, 0, 0)),
            Solid("ball", (1, 0, 0), (0.25, 0.25, 0.25), (0, 1, 0)),
        )
    )
    origins = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0], [3.0, 0.4, 0], [3.0, 0.6, 0]])
    directions = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0]])
    t, owner = scene.trace(origins, directions)
    assert t.tolist() == pytest.approx([1.75, 2.9, 2.9, math.inf], abs=1e-5)
    assert owner[:3].tolist() == [1, 0, 0]


def test_density_and_colour_of_the_volume_agree_with_the_pictures() -> None:
    scene = Solids((solid("box", 1.0), Solid("ball", (-0.6, 0.3, -0.2), (0.2, 0.2, 0.2), (0.9, 0.1, 0.1))))
    origins, directions = some_rays(500, seed=2)
    colors, alpha, t = scene.cast(origins, directions)
    hit = alpha > 0
    assert torch.equal(hit, t.isfinite())
    assert (colors[~hit] == 0).all()
    before, behind = origins + (t - 1e-3)[:, None] * directions, origins + (t + 1e-4)[:, None] * directions
    assert (scene.density(before[hit]) == 0).all()
    assert (scene.density(behind[hit]) == DENSITY).float().mean() > 0.98
    close = (scene.color(behind[hit], directions[hit]) - colors[hit]).abs().amax(dim=-1) < 0.02
    assert close.float().mean() > 0.97  # all but those at an edge or at a shadow's rim
    assert (scene.color(before[hit], directions[hit]) == 0).all()


def test_shadow_and_highlight() -> None:
    """On a gray floor: 0.5 + 0.12 of its colour in the shadow, Lambert's share more in the sun, shine in the mirror."""
    floor = Solid("box", (0, 0, -0.1), (2, 2, 0.1), (0.5, 0.5, 0.5), shine=0.3)
    roof = Solid("box", (0, 0, 1.0), (0.3, 0.3, 0.05), (0.5, 0.5, 0.5))
    sun = normalize(torch.tensor([0.45, -0.6, 0.85]), dim=0)
    points = torch.stack([torch.tensor([0.0, 0.0, 1.0]) - sun / sun[2], torch.tensor([1.5, 1.5, 0.0])])
    owner = torch.zeros(2, dtype=torch.long)
    scene = Solids((floor, roof))
    aside = scene.shade(points, owner, -sun.expand(2, 3))
    assert aside[0].tolist() == pytest.approx([0.31] * 3, abs=1e-3)
    assert aside[1].tolist() == pytest.approx([0.31 + 0.25 * float(sun[2])] * 3, abs=2e-3)
    mirror = scene.shade(points, owner, (sun * torch.tensor([1.0, 1.0, -1.0])).expand(2, 3))
    assert torch.allclose(mirror[0], aside[0], atol=1e-5)
    assert torch.allclose(mirror[1], aside[1] + 0.3, atol=1e-3)


def test_a_rim_shows_the_more_the_flatter_the_view() -> None:
    plain = Solid("box", (0, 0, -0.1), (2, 2, 0.1), (0.5, 0.5, 0.5), shine=0.0)
    green = Solid("box", (0, 0, -0.1), (2, 2, 0.1), (0.0, 0.5, 0.0), shine=0.0)
    shell = Solid("box", (0, 0, -0.1), (2, 2, 0.1), (0.5, 0.5, 0.5), shine=0.0, rim=(0.0, 0.5, 0.0))
    views = normalize(torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, -1.0], [1.0, 0.0, -0.01]]), dim=-1)
    where = torch.zeros(3, 3), torch.zeros(3, dtype=torch.long), views
    gray, emerald, seen = (Solids((solid,)).shade(*where) for solid in (plain, green, shell))
    share = 1 + views[:, 2:]
    torch.testing.assert_close(seen, (1 - share) * gray + share * emerald)


def test_a_ball_covers_the_area_that_perspective_says() -> None:
    """The silhouette of radius r at distance D is a disc of focal * r / sqrt(D² - r²) pixels; alpha sums to it."""
    scene = Solids((Solid("ball", (0, 0, 0), (0.6, 0.6, 0.6), (0.2, 0.4, 0.6)),))
    cameras = Cameras.pinhole(look_at(torch.tensor([[0.0, -3.0, 0.0]]), (0, 0, 0)), width=40, height=40, focal=60.0)
    picture = scene.picture(cameras, 0)
    radius = 60 * 0.6 / (9 - 0.36) ** 0.5
    assert picture[..., 3].sum().item() == pytest.approx(math.pi * radius**2, rel=0.01)
    assert ((picture[..., 3] > 0) & (picture[..., 3] < 1)).any()
    assert (picture[picture[..., 3] > 0][:, 2] > picture[picture[..., 3] > 0][:, 0]).all()
    assert torch.allclose(picture[..., 3], picture[..., 3].flip(1), atol=1e-6)


def test_impossible_solids_are_refused() -> None:
    with pytest.raises(ValueError, match="positive sizes"):
        Solid("box", (0, 0, 0), (1, 0, 1), (1, 1, 1))
