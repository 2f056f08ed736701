"""First hits of rays in many small scenes at once: a few boxes, cylinders and ellipsoids each, with one camera each.

All scenes of a batch have the same list of solids, with different sizes and places; a solid may be absent from a scene.
For speed each solid is intersected only with the rays through the rectangle that it covers in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ...cameras import Cameras, Rays, pixel_centers
from ...scenes.synthetic.primitives import Primitive, shaded

SolidShape = Literal["box", "tube", "ball"]
"""Box, cylinder along its own z axis, or ellipsoid."""

PRIMITIVES: dict[SolidShape, Primitive] = {kind: Primitive(kind) for kind in ("box", "tube", "ball")}
"""Solids with half lengths 1 at the origin, with which rays in a solid's own coordinates are intersected."""
CORNERS = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
SHINE = 0.5
"""Strength of the highlight for material number 1."""


@dataclass(frozen=True)
class SolidBatch:
    """One solid in each of n scenes."""

    part: str
    """Part of the object, which has the colour."""
    kind: SolidShape
    center: Float[Tensor, "n 3"]
    half: Float[Tensor, "n 3"]
    """Half the lengths along its own axes."""
    axes: Float[Tensor, "n 3 3"] | None = None
    """Rotations with the solid's axes as columns; None for the world's axes."""
    present: Bool[Tensor, " n"] | None = None
    """Scenes that contain the solid; None for all."""


@dataclass(frozen=True)
class Hits:
    """First hits of the rays through pixels; rays without a hit are left out."""

    pixel: Int[Tensor, " k"]
    """Numbered row by row through all pictures."""
    rays: Rays
    t: Float[Tensor, " k"]
    """Distance along each ray, in lengths of its direction."""
    solid: Int[Tensor, " k"]
    """Number of the solid that each ray hits."""
    normals: Float[Tensor, "k 3"]
    """Unit normals in world coordinates."""


class Scenes:
    """The solids of n scenes, stacked: [n, s, ...] for s solids."""

    def __init__(self, solids: list[SolidBatch], parts: tuple[str, ...]):
        n = len(solids[0].center)
        self.kinds: list[SolidShape] = [solid.kind for solid in solids]
        self.part = torch.tensor([parts.index(solid.part) for solid in solids])
        self.center = torch.stack([solid.center for solid in solids], 1)
        self.half = torch.stack([solid.half for solid in solids], 1)
        upright = torch.eye(3).expand(n, 3, 3)
        self.axes = torch.stack([upright if solid.axes is None else solid.axes for solid in solids], 1)
        everywhere = torch.ones(n, dtype=torch.bool)
        self.present = torch.stack([everywhere if solid.present is None else solid.present for solid in solids], 1)

    def __len__(self) -> int:
        return len(self.center)

    def corners(self) -> Float[Tensor, "n s 8 3"]:
        """Corners of each solid's bounding box along its own axes, in world coordinates."""
        return self.center[:, :, None] + (CORNERS * self.half[:, :, None]) @ self.axes.transpose(-1, -2)

    def extents(self, index: int, part: int | None = None) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of the bounding box of one scene's part; None takes all parts."""
        chosen = self.present[index] & (
            torch.ones_like(self.part, dtype=torch.bool) if part is None else self.part == part
        )
        half = torch.stack(
            [
                _half_extent(self.kinds[s], self.half[index, s], self.axes[index, s])
                for s in chosen.nonzero()[:, 0].tolist()
            ]
        )
        center = self.center[index, chosen]
        return torch.stack([(center - half).amin(0), (center + half).amax(0)])

    def inside(self, points: Float[Tensor, "n p 3"]) -> Bool[Tensor, "n p"]:
        """Which points lie in any solid of their scene."""
        local = (points[:, None] - self.center[:, :, None]) @ self.axes / self.half[:, :, None]
        inside = torch.zeros(local.shape[:-1], dtype=torch.bool)
        for kind in set(self.kinds):
            own = [s for s, other in enumerate(self.kinds) if other == kind]
            inside[:, own] = PRIMITIVES[kind].inside(local[:, own].reshape(-1, 3)).view(len(self), len(own), -1)
        return (inside & self.present[:, :, None]).any(1)

    def around(
        self, choice: Float[Tensor, "n p"], place: Float[Tensor, "n p 3"], margin: float
    ) -> Float[Tensor, "n p 3"]:
        """Random points in the solids' own boxes, each enlarged by a margin; each solid has the same probability.

        Args:
            choice: random numbers in [0, 1) that choose the solid.
            place: random numbers in [0, 1) that choose the point in its box.
            margin: enlargement on each side, in world units.
        """
        numbers = self.present.cumsum(1)
        solid = torch.searchsorted(numbers, (choice * numbers[:, -1:]).long() + 1)
        scene = torch.arange(len(self))[:, None]
        local = (place * 2 - 1) * (self.half[scene, solid] + margin)
        return self.center[scene, solid] + (self.axes[scene, solid] @ local[..., None])[..., 0]

    def trace(self, cameras: Cameras) -> Hits:
        """First hits of camera i in scene i."""
        ray, solid = self._candidates(cameras)
        pixels = cameras.width * cameras.height
        scene = ray // pixels
        rays = cameras.rays(scene, pixel_centers(cameras.width, cameras.height)[ray % pixels])
        center, half, axes = self.center[scene, solid], self.half[scene, solid], self.axes[scene, solid]
        origins = ((rays.origins - center)[:, None] @ axes)[:, 0] / half
        directions = (rays.directions[:, None] @ axes)[:, 0] / half
        t = torch.full((len(ray),), torch.inf)
        for kind in set(self.kinds):
            own = torch.tensor([k == kind for k in self.kinds])[solid].nonzero()[:, 0]
            t[own] = PRIMITIVES[kind].hit(origins[own], directions[own])
        nearest = torch.full((len(self) * pixels,), torch.inf).scatter_reduce(0, ray, t, "amin")
        first = (t.isfinite() & (t == nearest[ray])).nonzero()[:, 0]
        # Of two solids hit at the same distance the first in the list wins: lower numbers are written last.
        owner = torch.full((len(nearest),), -1)
        for s in range(len(self.kinds) - 1, -1, -1):
            mine = first[solid[first] == s]
            owner[ray[mine]] = mine
        won = owner[owner >= 0]
        local = origins[won] + t[won, None] * directions[won]
        normals = torch.zeros_like(local)
        for kind in set(self.kinds):
            own = torch.tensor([k == kind for k in self.kinds])[solid[won]].nonzero()[:, 0]
            normals[own] = PRIMITIVES[kind].normals(local[own])
        normals = normalize((axes[won] @ (normals / half[won])[..., None])[..., 0], dim=-1)
        return Hits(ray[won], rays[won], t[won], solid[won], normals)

    def _candidates(self, cameras: Cameras) -> tuple[Int[Tensor, " c"], Int[Tensor, " c"]]:
        """Pairs of pixel (numbered through all pictures) and solid, from the rectangle around each solid's corners."""
        gap = self.corners() - cameras.positions[:, None, None]
        local = gap @ cameras.poses[:, None, :, :3]
        depth = -local[..., 2].clamp(max=-1e-3)
        plane = torch.stack([local[..., 0], -local[..., 1]], -1) / depth[..., None]
        spot = plane * cameras.focal[:, None, None] + cameras.center[:, None, None]
        size = torch.tensor([cameras.width, cameras.height])
        low = (spot.amin(2) - 0.5).ceil().long().clamp(min=0)
        high = torch.minimum((spot.amax(2) - 0.5).floor().long(), size - 1)
        extent = (high - low + 1).clamp(min=0) * self.present[..., None]
        count = extent.prod(-1).flatten()
        pair = torch.arange(len(count)).repeat_interleave(count)
        within = torch.arange(len(pair)) - (count.cumsum(0) - count)[pair]
        width = extent[..., 0].flatten()[pair]
        corner = low.flatten(0, 1)[pair]
        column, row = corner[:, 0] + within % width, corner[:, 1] + within // width
        scene, solid = pair // len(self.kinds), pair % len(self.kinds)
        return scene * (cameras.width * cameras.height) + row * cameras.width + column, solid


def _half_extent(kind: SolidShape, half: Float[Tensor, " 3"], axes: Float[Tensor, "3 3"]) -> Float[Tensor, " 3"]:
    """Half lengths of a solid's bounding box along the world's axes."""
    along = axes * half
    if kind == "ball":
        return along.norm(dim=-1)
    if kind == "tube":
        return along[:, :2].norm(dim=-1) + along[:, 2].abs()
    return along.abs().sum(-1)


def colored(
    part: Int[Tensor, " k"],
    palettes: Float[Tensor, "k q"],
    normals: Float[Tensor, "k 3"],
    views: Float[Tensor, "k 3"],
) -> Float[Tensor, "k 3"]:
    """Colour of surface points: ambient light, Lambert's law, and the material's highlight, without shadows.

    Args:
        part: number of the part that each point belongs to.
        palettes: palette of each point's object.
        normals: unit normals.
        views: unit directions from the camera.
    """
    base = palettes.gather(1, part[:, None] * 3 + torch.arange(3))
    return shaded(base, SHINE * palettes[:, -1], normals, views, torch.ones(len(part), dtype=torch.bool))


def turned(axis: int, angle: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices about the x, y or z axis (0, 1, 2) by angles in radians."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = torch.eye(3).repeat(len(angle), 1, 1)
    matrix[:, i, i] = matrix[:, j, j] = angle.cos()
    matrix[:, j, i], matrix[:, i, j] = angle.sin(), -angle.sin()
    return matrix


def standing(foot: Float[Tensor, "n 3"], head: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotations of the z axis to the direction from foot to head, for cylinders between two points."""
    up = normalize(head - foot, dim=-1)
    side = normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]).expand_as(up), up), dim=-1)
    return torch.stack([side, torch.linalg.cross(up, side), up], -1)
