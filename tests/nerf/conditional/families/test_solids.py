"""The ray caster of many small scenes against closed forms and against marching through the solids."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf.cameras import Cameras, look_at
from nerf.conditional.families import FAMILIES
from nerf.conditional.families.solids import Hits, Scenes, SolidBatch, standing, turned

SIZE = 33
DISTANCE = 3.0


def camera(count: int = 1) -> Cameras:
    """Cameras on the x axis that look at the origin."""
    poses = look_at(torch.tensor([[DISTANCE, 0.0, 0.0]]), (0.0, 0.0, 0.0))
    return Cameras.pinhole(poses.repeat(count, 1, 1), width=SIZE, height=SIZE, focal=1.4 * SIZE)


def slopes() -> Tensor:
    """How far rays through the pixels go sideways and upwards for each unit of depth, [h * w, 2]."""
    offset = (torch.arange(SIZE) + 0.5 - SIZE / 2) / (1.4 * SIZE)
    up, side = torch.meshgrid(-offset, offset, indexing="ij")
    return torch.stack([side, up], -1).view(-1, 2)


def cast(*solids: SolidBatch) -> Hits:
    parts = tuple(dict.fromkeys(solid.part for solid in solids))
    return Scenes(list(solids), parts).trace(camera(len(solids[0].center)))


def row(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float32)


def test_a_ball_is_met_where_its_equation_says() -> None:
    radius = 0.7
    hits = cast(SolidBatch("body", "ball", row(0, 0, 0), row(radius, radius, radius)))
    lateral = slopes().square().sum(-1)
    # |(D, 0, 0) + t d|² = r², with d of unit length and -1 / sqrt(1 + lateral) along x.
    b = DISTANCE / (1 + lateral).sqrt()
    inside = b.square() - DISTANCE**2 + radius**2
    assert hits.pixel.sort().values.tolist() == (inside > 0).nonzero()[:, 0].tolist()
    torch.testing.assert_close(hits.t, b[hits.pixel] - inside[hits.pixel].sqrt(), atol=1e-4, rtol=0)
    points = hits.rays.origins + hits.t[:, None] * hits.rays.directions
    torch.testing.assert_close(hits.normals, points / radius, atol=1e-3, rtol=0)


def test_a_box_shows_the_rectangle_of_its_front() -> None:
    half = (0.4, 0.6, 0.3)
    hits = cast(SolidBatch("body", "box", row(0, 0, 0), row(*half)))
    depth = DISTANCE - half[0]
    spot = slopes().abs() * depth
    shown = (spot[:, 0] < half[1]) & (spot[:, 1] < half[2])
    assert hits.pixel.sort().values.tolist() == shown.nonzero()[:, 0].tolist()
    expected = depth * (1 + slopes()[hits.pixel].square().sum(-1)).sqrt()
    torch.testing.assert_close(hits.t, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(hits.normals, torch.tensor([1.0, 0.0, 0.0]).expand(len(hits.t), 3), atol=1e-5, rtol=0)


def test_a_turned_tube_shows_its_lid() -> None:
    """A cylinder that points at the camera is a disc."""
    axes = standing(row(-1.0, 0.0, 0.0), row(1.0, 0.0, 0.0))
    hits = cast(SolidBatch("body", "tube", row(0.0, 0.0, 0.0), row(0.5, 0.5, 0.2), axes))
    depth = DISTANCE - 0.2
    assert hits.pixel.sort().values.tolist() == ((slopes() * depth).norm(dim=-1) < 0.5).nonzero()[:, 0].tolist()


def test_the_nearer_solid_is_seen_and_a_hidden_one_is_not() -> None:
    far = SolidBatch("far", "box", torch.zeros(2, 3), torch.full((2, 3), 0.5))
    near = SolidBatch(
        "near", "box", torch.tensor([[1.0, 0, 0]] * 2), torch.full((2, 3), 0.2), None, torch.tensor([1, 0]) > 0
    )
    hits = cast(far, near)
    middle = (SIZE * SIZE) // 2
    owner = {int(pixel): int(solid) for pixel, solid in zip(hits.pixel, hits.solid, strict=True)}
    assert owner[middle] == 1
    assert owner[SIZE * SIZE + middle] == 0
    assert set(hits.solid[hits.pixel >= SIZE * SIZE].tolist()) == {0}


def test_where_faces_coincide_the_first_solid_owns_the_point() -> None:
    same = [SolidBatch(name, "box", row(0, 0, 0), row(0.5, 0.5, 0.5)) for name in ("first", "second")]
    assert set(cast(*same).solid.tolist()) == {0}


def test_rotations_turn_the_right_way() -> None:
    quarter = torch.full((1,), torch.pi / 2)
    x, y, z = torch.eye(3)
    for axis, start, end in ((0, y, z), (1, z, x), (2, x, y)):
        torch.testing.assert_close(turned(axis, quarter)[0] @ start, end, atol=1e-6, rtol=0)
    foot, head = row(0.1, -0.2, 0.0), row(0.3, 0.1, 0.9)
    axes = standing(foot, head)[0]
    torch.testing.assert_close(axes @ z, (head - foot)[0] / (head - foot).norm())
    torch.testing.assert_close(axes.T @ axes, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(axes) > 0


def test_first_hits_are_where_marching_enters_the_object() -> None:
    """`trace` solves for surfaces, `inside` tests points: two ways to the same distances, for all of both families."""
    step = 0.01
    for family in FAMILIES.values():
        cameras = family.cameras(3, 20, torch.Generator().manual_seed(1))
        scenes = family.scenes(family.shapes(3, 5))
        hits = scenes.trace(cameras)
        found = torch.full((3 * 400,), torch.inf)
        found[hits.pixel] = hits.t
        for index in range(3):
            rays = cameras.picture_rays(index)
            t = torch.arange(1.2, 4.2, step)
            points = rays.origins[:, None] + t[:, None] * rays.directions[:, None]
            full = scenes.inside(points.view(1, -1, 3).expand(3, -1, 3))[index].view(400, -1)
            entered = torch.where(full.any(1), t[full.int().argmax(1)], torch.inf)
            own = found[400 * index : 400 * (index + 1)]
            # A ray may cut less than a step off a corner: marching misses it or meets what lies behind.
            off = (own.isinf() & entered.isfinite()) | (entered - own > step + 1e-3) | (own - entered > 1e-3)
            assert off.float().mean() < 0.02
            assert not (own - entered > 1e-3).any()


def test_boxes_around_solids_hold_them_tightly() -> None:
    """Of turned solids too; points of their surfaces come from their own frames."""
    generator = torch.Generator().manual_seed(0)
    axes = turned(0, torch.tensor([0.4])) @ turned(2, torch.tensor([0.9]))
    half = row(0.5, 0.3, 0.2)
    unit = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=generator), dim=-1)
    disc = torch.nn.functional.normalize(unit[:, :2], dim=-1)
    surfaces = {
        "ball": unit,
        "box": unit.sign(),
        "tube": torch.cat([disc, unit[:, 2:].sign()], -1),
    }
    for kind, local in surfaces.items():
        low, high = Scenes([SolidBatch("body", kind, row(1, 2, 3), half, axes)], ("body",)).extents(0)  # pyright: ignore[reportArgumentType]
        points = row(1, 2, 3) + (local * half) @ axes[0].T
        torch.testing.assert_close(points.amin(0), low, atol=2e-3, rtol=0)
        torch.testing.assert_close(points.amax(0), high, atol=2e-3, rtol=0)
