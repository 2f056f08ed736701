"""The region that a scene's cameras were in. It is saved with a trained field, so that distillation needs no photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .cameras import Cameras, look_at, mean_pose, nearest_to_axes, random_orbits

if TYPE_CHECKING:
    from .ndc import NDC

Triple = tuple[float, float, float]

SWEEP = 0.8
"""Share of the box of positions that a path through it covers along each axis."""
INWARD = 0.5
"""Cameras count as an orbit when the mean cosine between their axes and the middle exceeds this."""


@dataclass(frozen=True, kw_only=True)
class Viewpoints:
    """A belt of a sphere looking at its centre ("orbit"), or a box of positions looking at a target ("box")."""

    kind: Literal["orbit", "box"]
    center: Triple
    """The point that cameras look at."""
    radius: tuple[float, float]
    """Orbit: smallest and largest distance from the centre, world units."""
    elevation: tuple[float, float]
    """Orbit: lowest and highest, degrees."""
    lower: Triple
    """Box: least coordinates of positions."""
    upper: Triple
    """Box: greatest coordinates of positions."""
    width: int
    height: int
    focal: float
    """Focal length, pixels."""
    ndc: NDC | None = None
    axes: tuple[Triple, Triple, Triple] | None = None
    """Box: right, up and back of the mean camera, along which ``lower`` and ``upper`` are measured; None: the world's
    axes, with z up."""

    def __post_init__(self) -> None:
        for name, length in (("center", 3), ("radius", 2), ("elevation", 2), ("lower", 3), ("upper", 3)):
            values = getattr(self, name)
            if len(values) != length or not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} of the viewpoints must be {length} finite numbers, got {list(values)}")
        if self.width < 1 or self.height < 1 or not self.focal > 0:
            raise ValueError(
                "width, height and focal of the viewpoints must be positive, got"
                f" {self.width}, {self.height} and {self.focal}"
            )

    @classmethod
    def of(cls, cameras: Cameras) -> Viewpoints:
        """The region of ``cameras``; an orbit extends 5 degrees below the lowest and above the highest, up to 80."""
        positions, forward = cameras.positions, cameras.forward
        center = nearest_to_axes(cameras)
        offset = positions - center
        distance = offset.norm(dim=-1)
        spread = (offset / distance.clamp(min=1e-6)[:, None]).mean(0).norm()
        # For cameras on one side of the scene, an orbit would include views from behind, which were not trained.
        inward = cameras.ndc is None and float(spread) < 0.9 and look_inward(cameras)
        rise = torch.rad2deg((offset[:, 2] / distance.clamp(min=1e-6)).clamp(-1, 1).asin())
        # Parallel axes do not meet: what NDC show best lies some near distances away.
        ahead = distance.mean() if cameras.ndc is None else 2 * cameras.ndc.near
        target = center if inward else (positions + forward * ahead).mean(0)
        axes = None if inward else mean_pose(cameras.poses)[:, :3].T
        along = positions if axes is None else positions @ axes.T
        return cls(
            kind="orbit" if inward else "box",
            center=_triple(target),
            radius=(float(distance.min()), float(distance.max())),
            elevation=(max(float(rise.min()) - 5, -85.0), min(max(float(rise.max()) + 5, 10.0), 80.0)),
            lower=_triple(along.amin(0)),
            upper=_triple(along.amax(0)),
            width=cameras.width,
            height=cameras.height,
            focal=float(cameras.focal.mean()),
            ndc=cameras.ndc,
            axes=None if axes is None else (_triple(axes[0]), _triple(axes[1]), _triple(axes[2])),
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Viewpoints:
        """The region from its fields as JSON holds them, with lists for tuples.

        Raises:
            TypeError, ValueError: a field is missing, unknown or out of range, or the region is that of an earlier
                version whose frame of NDC is not known.
        """
        fields: dict[str, Any] = {name: _tuples(value) for name, value in values.items()}
        if fields.pop("ndc_near", None) is not None:
            raise ValueError("it was trained in NDC by a version that did not store their frame")
        if isinstance(fields.get("ndc"), Mapping):
            from .ndc import NDC

            fields["ndc"] = NDC.from_json(fields["ndc"])
        return cls(**fields)

    def draw(self, count: int, generator: torch.Generator) -> Cameras:
        """Random cameras of the region."""
        size = {"width": self.width, "height": self.height, "focal": self.focal}
        if self.kind == "orbit":
            return random_orbits(
                count, radius=self.radius, elevation=self.elevation, center=self.center, generator=generator, **size
            )
        return self._box_cameras(torch.rand(count, 3, generator=generator))

    def sweep(self, count: int) -> Cameras:
        """A closed path within a box: an ellipse that spans right and up of the mean camera."""
        turn = torch.arange(count) / max(count, 1) * 2 * math.pi
        ellipse = torch.stack([turn.cos(), turn.sin(), torch.zeros(count)], dim=-1)
        return self._box_cameras(0.5 + 0.5 * SWEEP * ellipse)

    def _box_cameras(self, share: Float[Tensor, "n 3"]) -> Cameras:
        """Cameras at shares, 0..1, of the box along its axes; they look at the target (PVD, arXiv 2211.15977)."""
        axes = torch.eye(3) if self.axes is None else torch.tensor(self.axes)
        lower, upper = torch.tensor(self.lower), torch.tensor(self.upper)
        positions = (lower + (upper - lower) * share) @ axes
        up = (0.0, 0.0, 1.0) if self.axes is None else self.axes[1]
        poses = look_at(positions, self.center, up)
        return Cameras.pinhole(poses, width=self.width, height=self.height, focal=self.focal, ndc=self.ndc)


def look_inward(cameras: Cameras) -> bool:
    """Whether cameras look at a common middle, in contrast to those that stand in it and look around."""
    offset = cameras.positions - nearest_to_axes(cameras)
    outward = offset / offset.norm(dim=-1).clamp(min=1e-6)[:, None]
    return float((-outward * cameras.forward).sum(-1).mean()) > INWARD


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _triple(values: Tensor) -> Triple:
    x, y, z = values.tolist()
    return (x, y, z)
