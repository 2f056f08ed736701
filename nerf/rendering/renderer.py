"""Pictures of a field: march the rays of a camera, evaluate the field, composite the samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..cameras import Cameras, Rays
from ..fields import VolumeField
from .compositing import render_rays
from .samplers import Sampler, UniformSampler
from .sampling import Marching

STOP = 1e-3
"""In rendering pictures, rays with less transmittance than this are not followed further."""
PARTS = 4
"""Parts, front to back, in which the rays of a picture are rendered."""


@dataclass(frozen=True)
class Picture:
    """A rendered view, [h, w, ...]."""

    color: Float[Tensor, "h w 3"]
    opacity: Float[Tensor, "h w"]
    depth: Float[Tensor, "h w"]
    """Mean distance where opacity exceeds one half, else 0."""


@torch.no_grad()
def render_picture(
    field: VolumeField,
    camera: Cameras,
    marching: Marching,
    *,
    sampler: Sampler | None = None,
    background: float = 1.0,
    chunk: int = 8192,
) -> Picture:
    """The view of ``camera`` (the first, if it holds several).

    Args:
        field: the radiance field.
        camera: viewpoint and picture size.
        marching: interval length, near and far.
        sampler: chooses the samples; None samples the whole box uniformly.
        background: grey level behind the field, 0..1.
        chunk: rays at a time; it limits memory and does not change the result.
    """
    sampler = UniformSampler(field.bounds) if sampler is None else sampler
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
    field: VolumeField, rays: Rays, marching: Marching, sampler: Sampler
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour without background, opacity and depth of rays; those that are opaque are not followed further."""
    samples = sampler.march(rays, marching)
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
