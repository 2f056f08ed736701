"""A ray caster for solids in torch, with exact first hits, density and colour.

Every solid is a canonical one inside [-1, 1]³, scaled, turned and moved. All are convex, so a ray meets one
in a single interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ...cameras import Cameras

Shape = Literal["box", "gable", "pyramid", "ball", "tube"]
Cast = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""From origins [b, 3] and unit directions [b, 3] to colours [b, 3], alpha [b] and distances [b]."""

HALF_SPACES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "box": ((1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, 0, 1), (0, -1, 0, 1), (0, 0, 1, 1), (0, 0, -1, 1)),
    "gable": ((1, 0, 0, 1), (-1, 0, 0, 1), (0, 2, 1, 1), (0, -2, 1, 1), (0, 0, -1, 1)),
    "pyramid": ((2, 0, 1, 1), (-2, 0, 1, 1), (0, 2, 1, 1), (0, -2, 1, 1), (0, 0, -1, 1)),
}
"""Planes a, b, c, d of the solids with flat faces: the points with ax + by + cz <= d for all of them."""
DENSITY = 200.0
"""Density of every solid, per unit of length: 1/40 of a unit absorbs 99.3 %."""
SUN = (0.45, -0.6, 0.85)
"""Direction towards the light."""
SUBPIXELS = 3
"""Rays per pixel along x and along y."""


@dataclass(frozen=True)
class Primitive:
    """A convex shape in its own frame, where it lies inside [-1, 1]³. Both ray casters of solids use it."""

    shape: Shape
    top: float = 1.0
    """Radius of a tube's upper end over that of its lower end: 1 a cylinder, 0 a cone."""

    def hit(self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
        """Distance at which each ray enters, in lengths of its direction; infinite at a miss and from inside."""
        # Solved around the point of the ray nearest to the middle: from far away float32 would lose the edges.
        shift = -(origins * directions).sum(-1) / directions.square().sum(-1)
        o = origins + shift[:, None] * directions
        if self.shape == "ball":
            t = _enter_ball(o, directions)
        elif self.shape == "tube":
            t = _enter_tube(o, directions, self.top)
        else:
            t = _enter_planes(o, directions, torch.tensor(HALF_SPACES[self.shape]).float())
        return torch.where(t + shift > 0, t + shift, torch.inf)

    def inside(self, points: Float[Tensor, "b 3"]) -> Bool[Tensor, " b"]:
        """Which points lie in the shape."""
        return self.level(points)[0] <= 0

    def normals(self, points: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Unit outward normals of points on the surface; inside, those of the face that is nearest."""
        return normalize(self.level(points)[1], dim=-1)

    def level(self, points: Float[Tensor, "b 3"]) -> tuple[Float[Tensor, " b"], Float[Tensor, "b 3"]]:
        """A function that is 0 on the surface and negative inside, and the direction in which it grows."""
        if self.shape == "ball":
            return points.square().sum(-1) - 1, points
        if self.shape == "tube":
            radial = points[:, :2].norm(dim=-1)
            mantle, lids = radial - _radius(points[:, 2], self.top), points[:, 2].abs() - 1
            slope = torch.full_like(radial, (1 - self.top) / 2)[:, None]
            outward = torch.cat([points[:, :2] / radial[:, None].clamp(min=1e-9), slope], dim=-1)
            upright = torch.nn.functional.pad(points[:, 2:].sign(), (2, 0))
            return torch.maximum(mantle, lids), torch.where((lids > mantle)[:, None], upright, outward)
        planes = torch.tensor(HALF_SPACES[self.shape]).float()
        level, face = (points @ planes[:, :3].T - planes[:, 3]).max(dim=-1)
        return level, planes[face, :3]


@dataclass(frozen=True)
class Solid:
    """A primitive of one colour, scaled, turned and moved."""

    shape: Shape
    """A gable's ridge runs along x; a tube stands along z and may narrow towards its top."""
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    """Half the lengths along its own axes."""
    color: tuple[float, float, float]
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees about x, then y, then z of the world."""
    top: float = 1.0
    """Radius of a tube's upper end over that of its lower end: 1 a cylinder, 0 a cone."""
    shine: float = 0.15
    """Strength of the highlight."""
    rim: tuple[float, float, float] | None = None
    """Colour at grazing angles, as on a beetle's shell; None keeps the solid's own."""

    def __post_init__(self) -> None:
        if min(self.size) <= 0 or not 0 <= self.top:
            raise ValueError(f"a solid needs positive sizes, got {self.size} with top {self.top}")

    @property
    def primitive(self) -> Primitive:
        """Its shape in its own frame."""
        return Primitive(self.shape, self.top)

    @property
    def widest(self) -> float:
        """Largest extent along its own x and y, in half lengths: more than 1 for a tube that widens."""
        return max(1.0, self.top)

    @property
    def reach(self) -> float:
        """Radius of a sphere around its centre that contains it."""
        return math.hypot(*self.size) * self.widest

    def axes(self) -> Float[Tensor, "3 3"]:
        """Its rotation: columns are its own axes in the world."""
        turned = torch.eye(3)
        for axis, degrees in enumerate(self.rotation):
            angle, (i, j) = math.radians(degrees), [(1, 2), (2, 0), (0, 1)][axis]
            step = torch.eye(3)
            step[i, i] = step[j, j] = math.cos(angle)
            step[j, i], step[i, j] = math.sin(angle), -math.sin(angle)
            turned = step @ turned
        return turned

    def to_local(self, points: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """World points in the canonical frame, where the solid is inside [-1, 1]³."""
        return (points - torch.tensor(self.center)) @ self.axes() / torch.tensor(self.size)

    def inside(self, points: Float[Tensor, "b 3"]) -> Bool[Tensor, " b"]:
        """Which world points lie in the solid."""
        return self.primitive.inside(self.to_local(points))

    def normals(self, points: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Unit outward normals of world points on the surface; inside, those of the face that is nearest."""
        _, outward = self.primitive.level(self.to_local(points))
        return normalize(outward / torch.tensor(self.size) @ self.axes().T, dim=-1)

    def hit(self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
        """Distance, in lengths of its direction, at which each ray enters; infinite at a miss and from inside."""
        return self.primitive.hit(self.to_local(origins), directions @ self.axes() / torch.tensor(self.size))


@dataclass(frozen=True)
class Solids:
    """A scene of solids under one sun; where they overlap, the first in the list owns the point."""

    parts: tuple[Solid, ...]

    def bounds(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of the box around the boxes of all solids."""
        corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
        world = torch.cat(
            [
                corners * torch.tensor(part.size) * torch.tensor([part.widest, part.widest, 1]) @ part.axes().T
                + torch.tensor(part.center)
                for part in self.parts
            ]
        )
        return torch.stack([world.amin(0), world.amax(0)])

    def inside(self, points: Float[Tensor, "b 3"]) -> Bool[Tensor, " b"]:
        """Which points lie in any solid."""
        return torch.stack([part.inside(points) for part in self.parts]).any(0)

    def density(self, points: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
        """`DENSITY` in the solids, 0 elsewhere."""
        return DENSITY * self.inside(points).to(points.dtype)

    def color(self, points: Float[Tensor, "b 3"], views: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Colour of points on or in the solids seen along unit directions; 0 outside."""
        inside = torch.stack([part.inside(points) for part in self.parts])
        return self.shade(points, inside.int().argmax(0), views) * inside.any(0)[:, None]

    def trace(
        self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]
    ) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
        """The first hit of each ray of unit direction: t (infinite at a miss) and index of the solid."""
        nearest = torch.full((len(origins),), torch.inf)
        owner = torch.zeros(len(origins), dtype=torch.long)
        for index, part in enumerate(self.parts):
            # Most rays pass most solids by; a ball around each spares them the exact test.
            gap = origins - torch.tensor(part.center)
            passing = gap.square().sum(-1) - (gap * directions).sum(-1).square()
            near = (passing <= (1.01 * part.reach) ** 2).nonzero()[:, 0]
            t = part.hit(origins[near], directions[near])
            closer = t < nearest[near]
            nearest[near[closer]], owner[near[closer]] = t[closer], index
        return nearest, owner

    def shade(
        self, points: Float[Tensor, "b 3"], owner: Int[Tensor, " b"], views: Float[Tensor, "b 3"]
    ) -> Float[Tensor, "b 3"]:
        """Colour of surface points: light from the sky, the sun with its shadows, and a highlight.

        Args:
            owner: index of the solid that each point belongs to.
            views: unit directions that the points are looked at along.
        """
        normals = torch.zeros_like(points)
        for index in owner.unique().tolist():
            normals[owner == index] = self.parts[index].normals(points[owner == index])
        base = torch.tensor([part.color for part in self.parts])[owner]
        rim = torch.tensor([part.rim or part.color for part in self.parts])[owner]
        base = base + (rim - base) * (1 - (normals * views).sum(-1, keepdim=True).abs())
        shine = torch.tensor([part.shine for part in self.parts])[owner]
        lit = self.trace(points + 1e-3 * normals, sun().expand_as(points))[0].isinf()
        return shaded(base, shine, normals, views, lit)

    def cast(
        self, origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b 3"]
    ) -> tuple[Float[Tensor, "b 3"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Colour (0 at a miss), alpha (1 or 0) and distance (infinite at a miss) of rays of unit direction."""
        t, owner = self.trace(origins, directions)
        hit = t.isfinite()
        colors = torch.zeros_like(origins)
        points = origins[hit] + t[hit, None] * directions[hit]
        colors[hit] = self.shade(points, owner[hit], directions[hit])
        return colors, hit.float(), t

    def picture(self, cameras: Cameras, index: int) -> Float[Tensor, "h w 4"]:
        """What one camera sees, straight alpha in [0, 1]."""
        return antialiased(self.cast, cameras, index)


def antialiased(cast: Cast, cameras: Cameras, index: int) -> Float[Tensor, "h w 4"]:
    """A picture with straight alpha from the mean of `SUBPIXELS`² rays per pixel, premultiplied."""
    rays = cameras.scaled(1 / SUBPIXELS).picture_rays(index)
    colors, alpha, _ = cast(rays.origins, rays.directions)
    shape = (cameras.height, SUBPIXELS, cameras.width, SUBPIXELS, 4)
    mean = torch.cat([colors * alpha[:, None], alpha[:, None]], dim=-1).reshape(shape).mean(dim=(1, 3))
    return torch.cat([mean[..., :3] / mean[..., 3:].clamp(min=1e-6), mean[..., 3:]], dim=-1)


def sun() -> Float[Tensor, " 3"]:
    """Unit direction towards the light."""
    return normalize(torch.tensor(SUN), dim=0)


def shaded(
    base: Float[Tensor, "b 3"],
    shine: Float[Tensor, " b"] | float,
    normals: Float[Tensor, "b 3"],
    views: Float[Tensor, "b 3"],
    lit: Bool[Tensor, " b"],
) -> Float[Tensor, "b 3"]:
    """Ambient light, more of it from above; the sun by Lambert's law where ``lit``; and a highlight."""
    facing = lit * (normals @ sun()).clamp(min=0)
    mirror = lit * (normals * normalize(sun() - views, dim=-1)).sum(-1).clamp(min=0) ** 40
    diffuse = 0.5 + 0.12 * normals[:, 2] + 0.5 * facing
    return (base * diffuse[:, None] + (shine * mirror)[:, None]).clamp(0, 1)


def _enter_planes(
    o: Float[Tensor, "b 3"], d: Float[Tensor, "b 3"], planes: Float[Tensor, "p 4"]
) -> Float[Tensor, " b"]:
    """A ray is inside from the last plane that it enters through to the first that it leaves through."""
    speed = d @ planes[:, :3].T
    room = planes[:, 3] - o @ planes[:, :3].T
    parallel = speed.abs() < 1e-9
    t = room / torch.where(parallel, 1.0, speed)
    never = torch.where(room < 0, torch.inf, -torch.inf)
    enter = torch.where(parallel, never, torch.where(speed < 0, t, -torch.inf)).amax(dim=-1)
    leave = torch.where(~parallel & (speed > 0), t, torch.inf).amin(dim=-1)
    return torch.where(enter < leave, enter, torch.inf)


def _enter_ball(o: Float[Tensor, "b 3"], d: Float[Tensor, "b 3"]) -> Float[Tensor, " b"]:
    """``o`` is the point of each ray nearest to the centre, so that the chord is symmetric around it."""
    half = (1 - o.square().sum(-1)) / d.square().sum(-1)
    return torch.where(half > 0, -half.clamp(min=0).sqrt(), torch.inf)


def _enter_tube(o: Float[Tensor, "b 3"], d: Float[Tensor, "b 3"], top: float) -> Float[Tensor, " b"]:
    """Among both crossings of the mantle x² + y² = r(z)² and both lids, the one that leads inwards."""
    slope = (top - 1) / 2
    radius = _radius(o[:, 2], top)
    a = d[:, :2].square().sum(-1) - (slope * d[:, 2]) ** 2
    b = (o[:, :2] * d[:, :2]).sum(-1) - radius * slope * d[:, 2]
    c = o[:, :2].square().sum(-1) - radius**2
    real = b * b - a * c > 0
    root = torch.where(real, b * b - a * c, 0.0).sqrt()
    a = torch.where(a.abs() < 1e-9, 1e-9, a)
    best = torch.full_like(a, torch.inf)
    for t in ((-b - root) / a, (-b + root) / a):
        at = o + t[:, None] * d
        radius = _radius(at[:, 2], top)
        inwards = (at[:, :2] * d[:, :2]).sum(-1) - slope * radius * d[:, 2] < 0
        best = torch.where(real & inwards & (at[:, 2].abs() <= 1) & (radius >= 0) & (t < best), t, best)
    rise = torch.where(d[:, 2].abs() < 1e-9, 1e-9, d[:, 2])
    for side, limit in ((-1.0, 1.0), (1.0, top)):
        t = (side - o[:, 2]) / rise
        on_lid = (o + t[:, None] * d)[:, :2].norm(dim=-1) <= limit
        best = torch.where(on_lid & (side * rise < 0) & (t < best), t, best)
    return best


def _radius(height: Float[Tensor, " b"], top: float) -> Float[Tensor, " b"]:
    """Radius of the canonical tube at a height in -1..1."""
    return (1 + top) / 2 + (top - 1) / 2 * height
