"""The base classes of the families of radiance fields, and the two kinds of colour heads.

A field with a density is split as PVD splits it (arXiv 2211.15977, section 3.2). ``features`` maps a position to the
logarithm of its density and to colour features: families differ in it, and distillation aligns it. ``color`` turns
features and a view direction into RGB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

EMPTY = -12.0
"""Log-density of space outside the bounds and of pruned cells: 6e-6 per unit length."""

MOST = 4096
"""Largest number of layers, units or frequencies of a network: a damaged file must not ask for more."""


class FieldError(ValueError):
    """A field's name, size or file is not usable; the message says why and what to do."""


class _Exp(torch.autograd.Function):
    """The exponential, whose gradient stays finite: exp(clamp(x, -12, 12))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.save_for_backward(x)
        return x.clamp(max=50).exp()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return grad * x.clamp(-12, 12).exp()


def density_of(log_density: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Density per unit length; computed in fp32, with a gradient that is finite for any input."""
    return _Exp.apply(log_density.float())  # pyright: ignore[reportReturnType]


def spherical_harmonics(directions: Float[Tensor, "n 3"], degree: int) -> Float[Tensor, "n k"]:
    """Real spherical harmonics of unit vectors, orthonormal on the sphere.

    Args:
        directions: unit vectors.
        degree: how many bands, 1..4; k = degree squared, and a lower degree is a prefix of a higher one.
    """
    if not 1 <= degree <= 4:
        raise ValueError(f"degree of the spherical harmonics must be in 1..4, got {degree}")
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    values = [torch.full_like(x, 0.5 / math.sqrt(math.pi))]
    if degree > 1:
        c = math.sqrt(3 / (4 * math.pi))
        values += [c * y, c * z, c * x]
    if degree > 2:
        c = math.sqrt(15 / (4 * math.pi))
        d = math.sqrt(5 / (16 * math.pi))
        values += [c * x * y, c * y * z, d * (3 * zz - 1), c * x * z, c / 2 * (xx - yy)]
    if degree > 3:
        a, b = math.sqrt(35 / (32 * math.pi)), math.sqrt(105 / (4 * math.pi))
        c, d = math.sqrt(21 / (32 * math.pi)), math.sqrt(7 / (16 * math.pi))
        values += [
            a * y * (3 * xx - yy),
            b * x * y * z,
            c * y * (5 * zz - 1),
            d * z * (5 * zz - 3),
            c * x * (5 * zz - 1),
            b / 2 * z * (xx - yy),
            a * x * (xx - 3 * yy),
        ]
    return torch.stack(values, -1)


def other_signs(count: int) -> Float[Tensor, " k"]:
    """The signs of the first k harmonics where other programs (INRIA, Plenoxels, TensoRF) have another convention."""
    return torch.where(torch.arange(count) % 2 == 1, -1.0, 1.0)


class ColorHead(nn.Module):
    """Colour features and the direction's 16 spherical harmonics to RGB: (f + 16)-64-64-3, no biases, sigmoid."""

    degree = 4

    def __init__(self, features: int = 15, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features + self.degree**2, width, bias=False),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.ReLU(),
            nn.Linear(width, 3, bias=False),
        )

    def forward(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1."""
        code = spherical_harmonics(views, self.degree).to(features.dtype)
        return torch.sigmoid(self.layers(torch.cat([code, features], -1)))


class SphericalHead(nn.Module):
    """RGB from nine coefficients of spherical harmonics for each channel; it has no parameters."""

    degree = 3

    def forward(self, features: Float[Tensor, "n 27"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1."""
        code = spherical_harmonics(views, self.degree).to(features.dtype)
        return torch.sigmoid((features.unflatten(-1, (3, -1)) * code[:, None]).sum(-1))


class Field(nn.Module):
    """A radiance field in an axis-aligned box: what every family has, however it is drawn.

    A family subclasses this or `VolumeField`, and nothing subclasses a family.

    Args:
        bounds: lower and upper corner of the box, [2, 3], in world units.
        config: sizes, an instance of the family's configuration; None for a field without any.
    """

    name: ClassVar[str]
    """Key of the family in `nerf.fields.FIELDS`."""
    moves: ClassVar[bool] = False
    """Whether it takes times as a third argument."""
    resizable: ClassVar[bool] = False
    """Whether it is a grid whose resolution can change: `resized`."""
    shrinkable: ClassVar[bool] = False
    """Whether it can be cut to a smaller box: `shrunk`."""
    prunable: ClassVar[bool] = False
    """Whether nodes of low density can be removed: `pruned`."""
    bounds: Tensor
    config: Any

    def __init__(self, bounds: Float[Tensor, "2 3"], config: Any = None):
        super().__init__()
        if tuple(bounds.shape) != (2, 3) or not bool((bounds[1] > bounds[0]).all()):
            raise ValueError(f"bounds must be a lower and an upper corner, [2, 3], got {bounds.tolist()}")
        self.config = config
        self.register_buffer("bounds", bounds.float().clone())

    @classmethod
    def from_state(cls, config: Any, state: Mapping[str, Tensor]) -> Self:
        """A field from a configuration and the tensors of a ``state_dict``.

        Raises:
            KeyError, RuntimeError: tensors are missing, or have other shapes.
        """
        field = cls(state["bounds"], config)
        field.load_state_dict(state)
        return field

    def volume(self) -> VolumeField:
        """The field itself, if it has a density at every point.

        Raises:
            FieldError: it has none.
        """
        raise FieldError(
            f"{self.name} fields have no density at points; turn the field into a family that has"
            " (mapfield nerf distill --field hash)"
        )

    def rates(self) -> Mapping[str, float]:
        """Learning rates of parameters relative to the run's, by prefix of their name; 1 for all others."""
        return {}

    def regularization(self) -> dict[str, Tensor]:
        """Penalties of the family's own weights, by name; empty for most."""
        return {}

    def penalty(self, **weights: float) -> Tensor | float:
        """The weighted sum of `regularization`, which is not computed when all weights are zero."""
        total: Tensor | float = 0.0
        if any(weights.values()):
            for name, value in self.regularization().items():
                total = total + weights[name] * value
        return total


class VolumeField(Field):
    """A field that has density and colour at every point, and that is drawn by marching rays through it."""

    learned_head: ClassVar[bool] = True
    """Whether a learned head turns colour features into RGB, so that equal heads give features an equal meaning."""
    head: nn.Module

    def volume(self) -> Self:
        return self

    def resized(self, resolution: int) -> VolumeField:
        """The same field with another number of nodes along an axis.

        Raises:
            FieldError: the family has no such resolution.
        """
        raise FieldError(f"{self.name} fields have no resolution that can change; leave out the stages")

    def shrunk(self, bounds: Float[Tensor, "2 3"], resolution: int) -> VolumeField:
        """The same field in a smaller box, with ``resolution`` nodes along an axis.

        Raises:
            FieldError: the family cannot.
        """
        raise FieldError(f"{self.name} fields cannot be cut to a smaller box; leave out shrink")

    def pruned(self, threshold: float) -> VolumeField:
        """The same field without the parts whose density is below ``threshold``, per unit length.

        Raises:
            FieldError: the family cannot.
        """
        raise FieldError(f"{self.name} fields have no nodes that can be removed; leave out prune")

    @property
    def feature_size(self) -> int:
        """How many numbers `features` returns for a point, log-density included; by default PVD's 16."""
        return 16

    def encode(self, unit: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """Log-density (first) and colour features at points of the unit cube. Every family implements it."""
        raise NotImplementedError

    def unit(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """World coordinates to the unit cube of the bounds."""
        return (points - self.bounds[0]) / (self.bounds[1] - self.bounds[0])

    def inside(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Which points lie in the bounds."""
        unit = self.unit(points)
        return ((unit >= 0) & (unit <= 1)).all(-1)

    def features(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """Log-density and colour features of points in world coordinates; outside the bounds `EMPTY` and zeros."""
        return self.within_bounds(points, self.encode)

    def within_bounds(self, points: Float[Tensor, "n 3"], encode: Callable[[Tensor], Tensor]) -> Float[Tensor, "n f"]:
        """``encode`` at points in world coordinates; outside the bounds `EMPTY` and zeros."""
        unit = self.unit(points)
        within = ((unit >= 0) & (unit <= 1)).all(-1, keepdim=True)
        values = encode(unit.clamp(0, 1))
        nothing = values.new_zeros(self.feature_size)
        nothing[0] = EMPTY
        return torch.where(within, values, nothing)

    def color(self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1 of what `features` returned, seen along unit vectors."""
        return self.head(features[:, 1:], views)

    def forward(
        self, points: Float[Tensor, "n 3"], views: Float[Tensor, "n 3"] | None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"] | None]:
        """Density per unit length, and RGB seen along unit vectors; None for them computes no colours."""
        return self.density_and_color(self.features(points), views)

    def density_and_color(
        self, features: Float[Tensor, "n f"], views: Float[Tensor, "n 3"] | None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"] | None]:
        """Density and RGB, as `forward` gives them, of what `features` returned."""
        return density_of(features[:, 0]), None if views is None else self.color(features, views)


def feature_net(inputs: int, width: int = 64, outputs: int = 16) -> nn.Sequential:
    """The small network between an encoding and the features: inputs-64-16, no biases."""
    return nn.Sequential(nn.Linear(inputs, width, bias=False), nn.ReLU(), nn.Linear(width, outputs, bias=False))
