"""Supervision of density and colour at single points, from the family's solids, before and during training on pictures.

A point costs a tenth of a ray, and gives at once what pictures give only after many views. The result has soft edges,
which training on pictures sharpens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mappers.training.draws import Draws

from ...cameras import Cameras
from ..families import Family

MARGIN = 0.05
"""World units by which the boxes around solids are enlarged, from which near points are drawn."""
NEAR = 0.75
"""Share of the density's points that are near solids; the others are uniform in the field's box."""
SIDE = 32
"""Side in pixels of the pictures whose visible surface points supervise colour."""
STEP = 0.1
"""World units over which a point's density absorbs: the optical depth density * STEP is the odds of being inside."""
DENSITY_WEIGHT = 0.1
"""Weight of the density's cross entropy; the colour's squared error has weight 1."""


@dataclass(frozen=True)
class PointSupervision:
    """Points of some objects: the first k supervise density, the others colour."""

    owner: Int[Tensor, " n"]
    """Object of the batch that each point belongs to."""
    points: Float[Tensor, "n 3"]
    """World coordinates."""
    views: Float[Tensor, "n 3"]
    """Unit directions from the camera."""
    full: Bool[Tensor, " k"]
    """Whether each of the first k points lies inside a solid."""
    rgb: Float[Tensor, "n-k 3"]
    """Colour of each other point, in 0..1."""

    def to(self, device: torch.device | str) -> PointSupervision:
        """Copy on a device."""
        return PointSupervision(
            *(getattr(self, name).to(device) for name in ("owner", "points", "views", "full", "rgb"))
        )

    def loss(self, density: Float[Tensor, " n"], color: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
        """Loss of a field's density and colour at all n points, and its two terms."""
        k = len(self.full)
        logits = density[:k].clamp(min=1e-8).log() + math.log(STEP)
        entropy = binary_cross_entropy_with_logits(logits, self.full.float())
        error = (color[k:] - self.rgb).square().mean()
        return {"loss": error + DENSITY_WEIGHT * entropy, "entropy": entropy, "mse": error}


def sample_supervision(
    family: Family, shapes: Float[Tensor, "b p"], palettes: Float[Tensor, "b q"], count: int, draws: Draws
) -> PointSupervision:
    """Draw ``count`` points of every object for density, and a quarter as many for colour.

    Args:
        family: family of the objects.
        shapes: raw shape parameters of the objects.
        palettes: palettes of the objects.
        count: points of each object for density.
        draws: source of random numbers; the result is on its device.
    """
    scenes = family.scenes(shapes)
    low, high = family.bounds
    choice, place = draws.uniform("solids", (count,)).cpu(), draws.uniform("places", (count, 3)).cpu()
    near = round(NEAR * count)
    close = scenes.around(choice[:, :near], place[:, :near], MARGIN)
    points = torch.cat([torch.minimum(torch.maximum(close, low), high), low + (high - low) * place[:, near:]], 1)
    seen = family.surface(shapes, palettes, random_cameras(family, SIDE, draws))
    hits = torch.bincount(seen.scene, minlength=len(shapes))[:, None]
    first = hits.cumsum(0) - hits
    chosen = first + (draws.uniform("pixels", (count // 4,)).cpu() * hits).long()
    chosen = chosen.clamp(max=len(seen.points) - 1).flatten()
    of = [torch.arange(len(shapes)).repeat_interleave(n) for n in (count, count // 4)]
    # Density does not depend on the direction.
    upwards = torch.tensor([0.0, 0.0, 1.0]).expand(len(of[0]), 3)
    return PointSupervision(
        torch.cat(of),
        torch.cat([points.flatten(0, 1), seen.points[chosen]]),
        torch.cat([upwards, seen.views[chosen]]),
        scenes.inside(points).flatten(),
        seen.rgb[chosen],
    ).to(draws.device)


def random_cameras(family: Family, size: int, draws: Draws, name: str = "camera") -> Cameras:
    """A random camera of the family for every sample of a batch; each ``name`` gives other cameras."""
    seeds = draws.integers(name, 2**62).tolist()
    poses = [family.cameras(1, size, torch.Generator().manual_seed(seed)).poses for seed in seeds]
    focal = float(family.viewpoints(size).focal)
    return Cameras.pinhole(torch.cat(poses), width=size, height=size, focal=focal)
