"""A procedural family: shape parameters, palettes, pictures, captions, and ground truth of all of them."""

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
"""Distance of cameras to the middle, in world units."""
ELEVATION = (10.0, 70.0)
"""Range of the elevations of random cameras, in degrees."""
FOCAL = 1.15
"""Focal length divided by the side of the picture: the longest at which nearly all objects are whole from all sides."""
BACKGROUND = 1.0
"""Grey level behind the objects, in 0..1."""
GROUND = -1
"""Part number of pixels without an object."""
BATCH = 64
"""Scenes that are rendered at once."""
STANDARD = 1024
"""Number of objects that give the mean and the standard deviation of attributes."""
POPULATION = 2048
"""Number of shapes that give the quantiles of traits."""


@dataclass(frozen=True)
class Surface:
    """Visible surface points, one for each pixel that shows an object."""

    pixel: Int[Tensor, " k"]
    """Numbered row by row through all pictures."""
    scene: Int[Tensor, " k"]
    """Number of the picture."""
    points: Float[Tensor, "k 3"]
    """World coordinates."""
    views: Float[Tensor, "k 3"]
    """Unit directions from the camera."""
    rgb: Float[Tensor, "k 3"]
    part: Int[Tensor, " k"]
    """Number of the part in `Family.parts`."""


@dataclass(frozen=True)
class Family:
    """A family of objects; all its data are functions of parameters and seeds.

    Shapes are raw parameters in 0..1, named by `shape_names`. Palettes are the RGB of each of `parts` and one material
    number. They are sampled independently of shapes, because edits could not separate the two otherwise.
    """

    name: str
    parts: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    """Value of each shape parameter at raw 0 and at raw 1, in world units, degrees or counts."""
    build: Callable[[Values], list[SolidBatch]]
    """Function from parameters in world units to solids."""
    traits: tuple[Trait, ...]
    """Measurable properties of shapes, which captions mention."""
    box: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def bounds(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of a box that holds every object."""
        return torch.tensor(self.box)

    @property
    def shape_names(self) -> tuple[str, ...]:
        """Names of a shape's parameters."""
        return tuple(self.ranges)

    @property
    def palette_size(self) -> int:
        """Length of a palette."""
        return 3 * len(self.parts) + 1

    @property
    def colors(self) -> dict[str, tuple[float, float, float]]:
        """RGB, in 0..1, of each colour name."""
        return COLORS

    def shapes(self, count: int, seed: int) -> Float[Tensor, "n p"]:
        """Random raw parameters, uniform in 0..1."""
        return torch.rand(count, len(self.ranges), generator=torch.Generator().manual_seed(seed))

    def palettes(self, count: int, seed: int) -> Float[Tensor, "n q"]:
        """Random palettes: RGB of each part and a material number, all in 0..1."""
        return sample_palettes(count, len(self.parts), seed)

    def viewpoints(self, size: int) -> Viewpoints:
        """Poses of random cameras: on the upper hemisphere, towards the middle."""
        return Viewpoints(
            kind="orbit", center=(0, 0, 0), radius=(RADIUS, RADIUS), elevation=ELEVATION,
            lower=(-RADIUS, -RADIUS, -RADIUS), upper=(RADIUS, RADIUS, RADIUS),
            width=size, height=size, focal=FOCAL * size,
        )  # fmt: skip

    def cameras(self, count: int, size: int, generator: torch.Generator) -> Cameras:
        """Random cameras from `viewpoints`."""
        return self.viewpoints(size).draw(count, generator)

    def seen_from(
        self,
        azimuth: Float[Tensor, " n"],
        elevation: Float[Tensor, " n"],
        size: int,
        distance: float = RADIUS,
    ) -> Cameras:
        """Cameras that look at the middle; differentiable.

        Args:
            azimuth: radians about the z axis; 0 is on the x axis.
            elevation: radians above the horizon.
            size: width and height of the pictures in pixels.
            distance: distance to the middle in world units.
        """
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
        """Surface points that `render` shows."""
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
        """Traits of shapes by name, in world units, degrees or counts."""
        values = self.values(shapes)
        return {trait.name: trait.measure(values) for trait in self.traits}

    def traits_of(self, shapes: Float[Tensor, "n p"]) -> Float[Tensor, "n t"]:
        """The values of `measure` as a table. Unlike raw parameters, traits are equal if shapes are equal."""
        return torch.stack([value.float() for value in self.measure(shapes).values()], -1)

    def attributes(self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"]) -> Float[Tensor, "n k"]:
        """Traits of `measure`, then the RGB of each part."""
        return torch.cat([self.traits_of(shapes), palettes[:, : 3 * len(self.parts)]], -1)

    @cached_property
    def usual(self) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Mean and standard deviation of `attributes` over `STANDARD` random objects."""
        population = self.attributes(self.shapes(STANDARD, 11), self.palettes(STANDARD, 12))
        return population.mean(0), population.std(0)

    @cached_property
    def quantiles(self) -> dict[str, tuple[float, float]]:
        """Upper limit of the lower third and lower limit of the upper third of each trait."""
        thirds = torch.tensor([1 / 3, 2 / 3])
        population = self.measure(self.shapes(POPULATION, seed=2**20))
        return {name: tuple(value.float().quantile(thirds).tolist()) for name, value in population.items()}

    def caption(self, shape: Float[Tensor, " p"], palette: Float[Tensor, " q"], generator: torch.Generator) -> str:
        """A true sentence about an object, such as "a wide chair with a tall back and a red seat"."""
        measured = {name: float(value[0]) for name, value in self.measure(shape[None]).items()}
        return caption(
            self.name.removesuffix("s"), self.traits, measured, self.quantiles, self.parts, palette, generator
        )
