"""Lessons at points: before pictures and beside them the family's solids tell the field what is full, and its colour.

A point costs a tenth of a ray, and says at once what pictures tell only after many views. The pictures then have the
last word: what this leaves is a field with soft edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mappers.draws import Draws

from ...cameras import Cameras
from ..families import Family

MARGIN = 0.05
"""How far from the solids points are taken, beyond those taken anywhere in the box."""
NEAR = 0.75
"""Share of the points that are near solids."""
SIDE = 32
"""Side of the pictures whose pixels teach colour."""
STEP = 0.1
"""Length along which a point's density is judged: it should absorb most inside, and little outside."""
DENSITY_WEIGHT = 0.1
"""Weight of density's cross entropy beside colour's squared error."""


@dataclass(frozen=True)
class PointSupervision:
    """Points of some objects: first those that teach density, then those that teach colour."""

    owner: Int[Tensor, " n"]
    """Which object of the batch each point belongs to."""
    points: Float[Tensor, "n 3"]
    views: Float[Tensor, "n 3"]
    full: Bool[Tensor, " k"]
    """Whether each of the first k points lies inside."""
    rgb: Float[Tensor, "n-k 3"]

    def to(self, device: torch.device | str) -> PointSupervision:
        """The same on a device."""
        return PointSupervision(
            *(getattr(self, name).to(device) for name in ("owner", "points", "views", "full", "rgb"))
        )

    def loss(self, density: Float[Tensor, " n"], color: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
        """What a field that answered these at all points has still to learn."""
        k = len(self.full)
        logits = density[:k].clamp(min=1e-8).log() + math.log(STEP)
        entropy = binary_cross_entropy_with_logits(logits, self.full.float())
        error = (color[k:] - self.rgb).square().mean()
        return {"loss": error + DENSITY_WEIGHT * entropy, "entropy": entropy, "mse": error}


def sample_supervision(
    family: Family, shapes: Float[Tensor, "b p"], palettes: Float[Tensor, "b q"], count: int, draws: Draws
) -> PointSupervision:
    """``count`` points of every object for density, and a quarter as many for colour.

    Args:
        draws: source of all that is random; its device is where the lesson lies.
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
    # Density looks at no direction; any will do.
    upwards = torch.tensor([0.0, 0.0, 1.0]).expand(len(of[0]), 3)
    return PointSupervision(
        torch.cat(of),
        torch.cat([points.flatten(0, 1), seen.points[chosen]]),
        torch.cat([upwards, seen.views[chosen]]),
        scenes.inside(points).flatten(),
        seen.rgb[chosen],
    ).to(draws.device)


def random_cameras(family: Family, size: int, draws: Draws, name: str = "camera") -> Cameras:
    """A random camera of the family for every sample of a batch; another for every ``name``."""
    seeds = draws.integers(name, 2**62).tolist()
    poses = [family.cameras(1, size, torch.Generator().manual_seed(seed)).poses for seed in seeds]
    focal = float(family.viewpoints(size).focal)
    return Cameras.pinhole(torch.cat(poses), width=size, height=size, focal=focal)
