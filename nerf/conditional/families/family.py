"""What a procedural family is: parameters of shape, colours of parts, pictures, captions, and the truth about all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...cameras import Cameras, look_at, spherical
from ...viewpoints import Viewpoints
from .captions import Trait, caption
from .colors import COLORS, sample_palettes
from .solids import Scenes, SolidBatch, colored

Values = Mapping[str, Tensor]
"""Parameters in world units by name, [n] each."""

RADIUS = 2.6
ELEVATION = (10.0, 70.0)
FOCAL = 1.15
"""Focal length over the side of the picture: the longest that shows nearly all objects whole from everywhere."""
BACKGROUND = 1.0
GROUND = -1
"""The part of pixels that show no object."""
BATCH = 64
"""Scenes that are cast at once."""
STANDARD = 1024
"""Objects that attributes are standardised by."""
POPULATION = 2048
"""Shapes that the quantiles of traits come from."""


@dataclass(frozen=True)
class Surface:
    """Points of surfaces that cameras see, one of every pixel that shows an object."""

    pixel: Int[Tensor, " k"]
    """Numbered row by row through all pictures."""
    scene: Int[Tensor, " k"]
    """Which picture."""
    points: Float[Tensor, "k 3"]
    views: Float[Tensor, "k 3"]
    """Unit directions from the camera."""
    rgb: Float[Tensor, "k 3"]
    part: Int[Tensor, " k"]


@dataclass(frozen=True)
class Family:
    """A family of objects. A seed is a data set: everything here is a function of parameters and seeds.

    Shapes are raw parameters in 0..1, `shape_names` says of what. Palettes are the RGB of each of `parts` and one
    material number, sampled independently of shape: otherwise no edit could tell the two apart.
    """

    name: str
    parts: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    """World units (or degrees, or counts) of each shape parameter at 0 and at 1."""
    build: Callable[[Values], list[SolidBatch]]
    """Solids from parameters in world units."""
    traits: tuple[Trait, ...]
    """What captions and measurements speak of."""
    box: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def bounds(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of a box that holds every object."""
        return torch.tensor(self.box)

    @property
    def shape_names(self) -> tuple[str, ...]:
        """What the numbers of a shape are."""
        return tuple(self.ranges)

    @property
    def palette_size(self) -> int:
        """Numbers of a palette."""
        return 3 * len(self.parts) + 1

    @property
    def colors(self) -> dict[str, tuple[float, float, float]]:
        """RGB of the colour names."""
        return COLORS

    def shapes(self, count: int, seed: int) -> Float[Tensor, "n p"]:
        """Raw parameters, uniform in 0..1."""
        return torch.rand(count, len(self.ranges), generator=torch.Generator().manual_seed(seed))

    def palettes(self, count: int, seed: int) -> Float[Tensor, "n q"]:
        """RGB of each part and a material number, all in 0..1."""
        return sample_palettes(count, len(self.parts), seed)

    def viewpoints(self, size: int) -> Viewpoints:
        """Where cameras stand: the upper hemisphere, looking at the middle."""
        return Viewpoints(
            kind="orbit", center=(0, 0, 0), radius=(RADIUS, RADIUS), elevation=ELEVATION, lower=(-RADIUS,) * 3,
            upper=(RADIUS,) * 3, width=size, height=size, focal=FOCAL * size,
        )  # fmt: skip

    def cameras(self, count: int, size: int, generator: torch.Generator) -> Cameras:
        """Random cameras of `viewpoints`."""
        return self.viewpoints(size).draw(count, generator)

    def seen_from(
        self,
        azimuth: Float[Tensor, " n"],
        elevation: Float[Tensor, " n"],
        size: int,
        distance: float = RADIUS,
    ) -> Cameras:
        """Cameras at angles in radians that look at the middle; at azimuth 0 on the x axis. Differentiable."""
        places = spherical(azimuth, elevation, (0.0, 0.0, 1.0))
        poses = look_at(distance * places, (0.0, 0.0, 0.0))
        return Cameras.pinhole(poses, width=size, height=size, focal=FOCAL * size)

    def values(self, shapes: Float[Tensor, "n p"]) -> Values:
        """Parameters in world units by name.

        Raises:
            ValueError: the wrong number of parameters, or one outside 0..1.
        """
        if shapes.ndim != 2 or shapes.shape[1] != len(self.ranges):
            raise ValueError(f"a shape of {self.name} has {len(self.ranges)} parameters, got {list(shapes.shape)}")
        if not bool(((shapes >= 0) & (shapes <= 1)).all()):
            low, high = float(shapes.min()), float(shapes.max())
            raise ValueError(f"parameters of a shape of {self.name} lie in 0..1, got {low:.3g} to {high:.3g}")
        pairs = zip(self.ranges.items(), shapes.unbind(1), strict=True)
        return {name: low + (high - low) * raw for (name, (low, high)), raw in pairs}

    def scenes(self, shapes: Float[Tensor, "n p"]) -> Scenes:
        """The solids of shapes."""
        return Scenes(self.build(self.values(shapes)), self.parts)

    @torch.no_grad()
    def render(
        self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"], cameras: Cameras
    ) -> tuple[Float[Tensor, "n h w 3"], Float[Tensor, "n h w"], Int[Tensor, "n h w"]]:
        """Picture i is object i seen by camera i, one ray through the middle of each pixel.

        Returns:
            RGB on a white ground, alpha (1 or 0), and the index in `parts` of what is seen (`GROUND` where nothing).

        Raises:
            ValueError: numbers of shapes, palettes and cameras differ, or a shape or palette is not one.
        """
        if not len(shapes) == len(palettes) == len(cameras) or palettes.shape[1] != self.palette_size:
            raise ValueError(
                f"each picture needs a shape, a palette of {self.palette_size} numbers and a camera, got"
                f" {list(shapes.shape)}, {list(palettes.shape)} and {len(cameras)} cameras"
            )
        size = len(shapes), cameras.height, cameras.width
        rgb = torch.full((size[0] * size[1] * size[2], 3), BACKGROUND)
        part = torch.full((len(rgb),), GROUND)
        for first in range(0, len(shapes), BATCH):
            chosen = slice(first, first + BATCH)
            seen = self.surface(shapes[chosen], palettes[chosen], cameras[chosen])
            pixel = seen.pixel + first * size[1] * size[2]
            rgb[pixel], part[pixel] = seen.rgb, seen.part
        return rgb.view(*size, 3), (part >= 0).float().view(size), part.view(size)

    @torch.no_grad()
    def surface(self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"], cameras: Cameras) -> Surface:
        """What `render` shows, as points of surfaces."""
        scenes = self.scenes(shapes)
        hits = scenes.trace(cameras)
        part = scenes.part[hits.solid]
        scene = hits.pixel // (cameras.width * cameras.height)
        rgb = colored(part, palettes[scene], hits.normals, hits.rays.views)
        points = hits.rays.origins + hits.t[:, None] * hits.rays.directions
        return Surface(hits.pixel, scene, points, hits.rays.views, rgb, part)

    def extents(self, shape: Float[Tensor, " p"]) -> dict[str, Float[Tensor, "2 3"]]:
        """Exact boxes (lower and upper corner) around every part of a shape, and around the "whole"."""
        scenes = self.scenes(shape[None])
        boxes = {name: scenes.extents(0, index) for index, name in enumerate(self.parts)}
        return {"whole": scenes.extents(0), **boxes}

    def inside(self, shape: Float[Tensor, " p"], points: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Which points lie in the object."""
        return self.scenes(shape[None]).inside(points[None])[0]

    def measure(self, shapes: Float[Tensor, "n p"]) -> dict[str, Float[Tensor, " n"]]:
        """The traits of shapes, by name, in world units."""
        values = self.values(shapes)
        return {trait.name: trait.measure(values) for trait in self.traits}

    def traits_of(self, shapes: Float[Tensor, "n p"]) -> Float[Tensor, "n t"]:
        """What `measure` says, as a table. Unlike the raw parameters, traits differ only where shapes do."""
        return torch.stack([value.float() for value in self.measure(shapes).values()], -1)

    def attributes(self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"]) -> Float[Tensor, "n k"]:
        """All that can be said of objects: every trait of `measure`, then the RGB of every part."""
        return torch.cat([self.traits_of(shapes), palettes[:, : 3 * len(self.parts)]], -1)

    @cached_property
    def usual(self) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Mean and standard deviation of `attributes` over a population."""
        population = self.attributes(self.shapes(STANDARD, 11), self.palettes(STANDARD, 12))
        return population.mean(0), population.std(0)

    @cached_property
    def quantiles(self) -> dict[str, tuple[float, float]]:
        """The lower and the upper third's limit of every trait."""
        thirds = torch.tensor([1 / 3, 2 / 3])
        population = self.measure(self.shapes(POPULATION, seed=2**20))
        return {name: tuple(value.float().quantile(thirds).tolist()) for name, value in population.items()}

    def caption(self, shape: Float[Tensor, " p"], palette: Float[Tensor, " q"], generator: torch.Generator) -> str:
        """A true sentence about an object, such as "a wide chair with a tall back and a red seat"."""
        measured = {name: float(value[0]) for name, value in self.measure(shape[None]).items()}
        return caption(
            self.name.removesuffix("s"), self.traits, measured, self.quantiles, self.parts, palette, generator
        )
