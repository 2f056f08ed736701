"""Volume rendering as pure functions over flat lists of samples.

Samples of all rays lie in one list, sorted by ray and then by distance, so that rays may have any number of them:
samples that an occupancy grid leaves out cost nothing. C = sum w c + (1 - sum w) background, w = T alpha,
alpha = 1 - exp(-density length), T = exp(-density lengths before) (NeRF, arXiv 2003.08934, equation 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..cameras import Rays
from .sampling import Samples, sample_points

OPAQUE = 100.0
"""Optical thickness at which transmittance is 0 in fp32. Larger terms would make sums over later rays imprecise."""


@dataclass(frozen=True)
class Rendered:
    """Colour, opacity and depth of rays, and the render weight of every sample."""

    color: Float[Tensor, "r 3"]
    opacity: Float[Tensor, " r"]
    depth: Float[Tensor, " r"]
    """Sum of weight times distance; divide by opacity for the mean distance."""
    weights: Float[Tensor, " m"]


def render_rays(
    field: Callable[..., tuple[Tensor, Tensor]],
    rays: Rays,
    samples: Samples,
    background: Float[Tensor, "r 3"],
) -> Rendered:
    """Evaluate a field at every sample, at the ray's time if it has one, and composite; differentiable."""
    times = () if rays.times is None else (rays.times.index_select(0, samples.ray),)
    density, color = field(sample_points(rays, samples), rays.views.index_select(0, samples.ray), *times)
    return composite(samples, density, color.float(), background)


def composite(
    samples: Samples,
    density: Float[Tensor, " m"],
    color: Float[Tensor, "m 3"],
    background: Float[Tensor, "r 3"],
) -> Rendered:
    """Render samples in front of a background.

    Args:
        samples: the intervals.
        density: per unit length, at their middles.
        color: RGB at their middles.
        background: RGB behind each ray.
    """
    weights = render_weights(samples, density)
    opacity = _sum(samples, weights[:, None])[:, 0]
    seen = _sum(samples, weights[:, None] * color) + (1 - opacity)[:, None] * background
    depth = _sum(samples, (weights * samples.middle)[:, None])[:, 0]
    return Rendered(seen, opacity, depth, weights)


def render_weights(samples: Samples, density: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """The render weight T alpha of every sample."""
    thickness = density.to(samples.start.dtype) * (samples.end - samples.start)
    passed = _before(samples, thickness.double().clamp(max=OPAQUE)).to(thickness.dtype)
    return torch.exp(-passed) * -torch.expm1(-thickness)


def _before(samples: Samples, values: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Sum of the values of earlier samples on the same ray.

    This is one running sum over all rays: pass float64, so that later rays keep their precision.
    """
    total = values.cumsum(0) - values
    return total - total.index_select(0, samples.first.index_select(0, samples.ray))


def _sum(samples: Samples, values: Float[Tensor, "m c"]) -> Float[Tensor, "r c"]:
    return values.new_zeros(samples.rays, values.shape[1]).index_add(0, samples.ray, values)


def distortion(samples: Samples, weights: Float[Tensor, " m"]) -> Float[Tensor, " r"]:
    """mip-NeRF 360's loss sum_ij w_i w_j |m_i - m_j| + sum_i w_i^2 length_i / 3 per ray, in linear time.

    arXiv 2111.12077, equation 15. Small when a ray's weight lies in one short interval.
    """
    middle, length = samples.middle, samples.end - samples.start
    wide = weights.double()
    pairs = 2 * wide * (middle * _before(samples, wide) - _before(samples, wide * middle))
    return _sum(samples, (pairs + wide.square() * length / 3).float()[:, None])[:, 0]


def opacity_entropy(opacity: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Binary entropy in nats: smallest for rays that are wholly opaque or wholly clear."""
    o = opacity.clamp(1e-5, 1 - 1e-5)
    return -(o * o.log() + (1 - o) * (1 - o).log())
