"""Pictures of a field: rays are marched, the field is asked, samples are composited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..cameras import Cameras, Rays
from ..fields import Field
from .compositing import Rendered, composite
from .hierarchical import CoarseField
from .occupancy import OccupancyGrid
from .sampling import Marching, Samples, sample_points, span, uniform_samples

Sampler = OccupancyGrid | CoarseField
"""What may choose the samples of rays."""

STOP = 1e-3
"""Rays that let through less than this are finished when pictures are drawn."""
PARTS = 4
"""Pieces, front to back, in which a picture's rays are drawn."""


@dataclass(frozen=True)
class Picture:
    """A rendered view, [h, w, ...]."""

    color: Float[Tensor, "h w 3"]
    opacity: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    """Mean distance where something was hit, else 0."""


def march(
    rays: Rays,
    marching: Marching,
    bounds: Float[Tensor, "2 3"],
    sampler: Sampler | None,
    jitter: Float[Tensor, " r"] | None = None,
) -> Samples:
    """Intervals along rays: those that the sampler chooses, or without one all in the box."""
    if sampler is not None:
        return sampler.march(rays, marching, jitter)
    return uniform_samples(*span(rays, bounds, marching), marching.step, jitter)


def render_rays(
    field: Callable[..., tuple[Tensor, Tensor]],
    rays: Rays,
    samples: Samples,
    background: Float[Tensor, "r 3"],
) -> Rendered:
    """Ask the field at every sample, and at its time where rays have one, and composite; differentiable."""
    times = () if rays.times is None else (rays.times.index_select(0, samples.ray),)
    density, color = field(sample_points(rays, samples), rays.views.index_select(0, samples.ray), *times)
    return composite(samples, density, color.float(), background)


@torch.no_grad()
def render_picture(
    field: Field,
    camera: Cameras,
    marching: Marching,
    *,
    sampler: Sampler | None = None,
    background: float = 1.0,
    chunk: int = 8192,
) -> Picture:
    """The view of ``camera`` (the first, if it holds several).

    Args:
        field: what to draw.
        camera: from where.
        marching: how rays walk.
        sampler: chooses where to look; None looks everywhere.
        background: grey level behind everything.
        chunk: rays at a time; bounds memory, not the result.
    """
    rays = camera.picture_rays(0).to(field.bounds.device)
    parts = [
        _front_to_back(field, rays[first : first + chunk], marching, sampler) for first in range(0, len(rays), chunk)
    ]
    color, opacity, depth = (torch.cat(values) for values in zip(*parts, strict=True))
    color = color + (1 - opacity)[:, None] * background
    depth = torch.where(opacity > 0.5, depth / opacity.clamp(min=1e-6), torch.zeros_like(depth))
    size = (camera.height, camera.width)
    return Picture(color.view(*size, 3).clamp(0, 1), opacity.view(size), depth.view(size))


def _front_to_back(
    field: Field, rays: Rays, marching: Marching, sampler: Sampler | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour without background, opacity and depth of rays; those that are opaque are not followed further."""
    samples = march(rays, marching, field.bounds, sampler)
    first, count = (values.index_select(0, samples.ray) for values in (samples.first, samples.count))
    part = (torch.arange(len(samples), device=first.device) - first) * PARTS // count
    color = rays.origins.new_zeros(len(rays), 3)
    left, depth = rays.origins.new_ones(len(rays)), rays.origins.new_zeros(len(rays))
    nothing = torch.zeros_like(color)
    for number in range(PARTS):
        piece = samples[(part == number) & (left > STOP).index_select(0, samples.ray)]
        out = render_rays(field, rays, piece, nothing)
        color += left[:, None] * out.color
        depth += left * out.depth
        left = left * (1 - out.opacity)
    return color, 1 - left, depth
