"""Samples along rays: uniform, stratified, and resampled from the weights of a first pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..cameras import Rays

MOST = 100_000
"""Samples along the diagonal of a box, at most."""


@dataclass(frozen=True)
class Samples:
    """Intervals along rays: of ray ``ray[i]`` from ``start[i]`` to ``end[i]``; sorted by ray, then by distance."""

    ray: Int[Tensor, " m"]
    start: Float[Tensor, " m"]
    end: Float[Tensor, " m"]
    rays: int

    def __len__(self) -> int:
        return len(self.ray)

    def __getitem__(self, chosen: Bool[Tensor, " m"] | Int[Tensor, " k"]) -> Samples:
        """Some of the samples, of as many rays."""
        if chosen.dtype == torch.bool:
            chosen = chosen.nonzero()[:, 0]
        ray, start, end = (values.index_select(0, chosen) for values in (self.ray, self.start, self.end))
        return Samples(ray, start, end, self.rays)

    @property
    def middle(self) -> Float[Tensor, " m"]:
        """Distance at which the field is evaluated."""
        return (self.start + self.end) / 2

    @property
    def count(self) -> Int[Tensor, " r"]:
        """How many samples each ray has."""
        return torch.bincount(self.ray, minlength=self.rays)

    @property
    def first(self) -> Int[Tensor, " r"]:
        """Index of each ray's first sample in the list; undefined for a ray without samples."""
        count = self.count
        return count.cumsum(0) - count


@dataclass(frozen=True, kw_only=True)
class Marching:
    """Parameters of ray marching through a field's box."""

    step: float
    """Length of an interval, in units of the rays' directions."""
    near: float = 0.0
    """Distance at which rays start."""
    far: float = float("inf")
    """Distance at which rays end."""

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf or not 0 <= self.near < self.far:
            raise ValueError(
                f"step must be positive and near below far, got step {self.step}, near {self.near} and far {self.far}"
            )

    def check(self, bounds: Float[Tensor, "2 3"]) -> None:
        """Refuse a step of which a ray through the box would have more than `MOST`.

        Raises:
            ValueError: saying how many.
        """
        count = float((bounds[1] - bounds[0]).norm()) / self.step
        if count > MOST:
            raise ValueError(f"step {self.step} makes {count:.3g} samples of a ray, but at most {MOST} are drawn")

    @classmethod
    def through(cls, bounds: Float[Tensor, "2 3"], intervals: int, *, near: float, far: float) -> Marching:
        """Intervals such that the box's diagonal has ``intervals`` of them."""
        return cls(step=float((bounds[1] - bounds[0]).norm()) / intervals, near=near, far=far)


def span(
    rays: Rays, bounds: Float[Tensor, "2 3"], marching: Marching
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Distances at which rays enter and leave a box, between near and far; see `intersect_box`."""
    return intersect_box(rays.origins, rays.directions, bounds, marching.near, marching.far)


def sample_points(rays: Rays, samples: Samples) -> Float[Tensor, "m 3"]:
    """The middles of the intervals in world coordinates."""
    origins, directions = (values.index_select(0, samples.ray) for values in (rays.origins, rays.directions))
    return torch.addcmul(origins, directions, samples.middle[:, None])


def intersect_box(
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    bounds: Float[Tensor, "2 3"],
    near: float = 0.0,
    far: float = float("inf"),
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Distances at which rays enter and leave a box (slab method), cut to near..far; a miss has entry >= exit."""
    tiny = directions.abs() < 1e-9  # 0 times infinity would be no number
    inverse = 1 / torch.where(tiny, torch.full_like(directions, 1e-9), directions)
    at = (bounds[:, None] - origins) * inverse  # [2, r, 3]
    enter = at.amin(0).amax(-1).clamp(min=near)
    leave = at.amax(0).amin(-1).clamp(max=far)
    return enter, torch.maximum(leave, enter)


def uniform_samples(
    near: Float[Tensor, " r"], far: Float[Tensor, " r"], step: float, jitter: Float[Tensor, " r"] | None = None
) -> Samples:
    """Intervals of one length from near to far of every ray; the last may be shorter.

    With ``jitter`` in [0, 1) a ray's intervals move by that share of a step, and the first is cut where it begins.
    """
    most = int(((far - near).amax() / step).ceil()) + 1 if len(near) else 0
    offset = 0.0 if jitter is None else jitter[:, None] - 1
    start = near[:, None] + (torch.arange(most, device=near.device) + offset) * step
    end = torch.minimum(start + step, far[:, None])
    start = torch.maximum(start, near[:, None])
    ray, column = (end > start).nonzero(as_tuple=True)
    return Samples(ray, start[ray, column], end[ray, column], len(near))


def stratified(
    near: Float[Tensor, " r"], far: Float[Tensor, " r"], count: int, jitter: Float[Tensor, " r"] | None = None
) -> Samples:
    """``count`` equal intervals on every ray; with ``jitter`` in [0, 1) all edges of a ray move by that share of one.

    The intervals still fill near..far without gaps: only the edges between them move.
    """
    edges = torch.arange(count + 1, device=near.device, dtype=near.dtype).expand(len(near), -1)
    if jitter is not None:
        inner = (edges[:, 1:-1] + (jitter[:, None] - 0.5)).clamp(0, count)
        edges = torch.cat([edges[:, :1], inner, edges[:, -1:]], -1)
    return samples_between(near[:, None] + (far - near)[:, None] * edges / count)


def samples_between(edges: Float[Tensor, "r k"]) -> Samples:
    """Samples between consecutive edges of every ray."""
    rays, intervals = edges.shape[0], edges.shape[1] - 1
    ray = torch.arange(rays, device=edges.device).repeat_interleave(intervals)
    return Samples(ray, edges[:, :-1].flatten(), edges[:, 1:].flatten(), rays)


def invert_cdf(
    edges: Float[Tensor, "r k"], weights: Float[Tensor, "r k-1"], quantiles: Float[Tensor, "r n"]
) -> Float[Tensor, "r n"]:
    """Distances at quantiles of a piecewise constant density, by inverting its cumulative distribution.

    A ray whose weights are all zero is sampled uniformly. Sorted quantiles give sorted distances.

    Args:
        edges: ends of the k - 1 intervals of each ray.
        weights: of the intervals, not negative, of any sum.
        quantiles: in [0, 1].
    """
    mass = weights.clamp(min=0) + 1e-5 * (weights.amax(-1, keepdim=True) + 1e-5)
    cdf = torch.cat([torch.zeros_like(mass[:, :1]), (mass / mass.sum(-1, keepdim=True)).cumsum(-1)], -1)
    cdf[:, -1] = 1
    cell = (torch.searchsorted(cdf, quantiles.contiguous(), right=True) - 1).clamp(0, weights.shape[1] - 1)
    low, high = cdf.gather(1, cell), cdf.gather(1, cell + 1)
    share = ((quantiles - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    left, right = edges.gather(1, cell), edges.gather(1, cell + 1)
    return left + share * (right - left)


def resample_pdf(
    samples: Samples, weights: Float[Tensor, " m"], count: int, jitter: Float[Tensor, " r"] | None = None
) -> Samples:
    """Intervals cut at ``count`` further distances on every ray, drawn from the weights (NeRF, section 5.2).

    The new distances and the old edges are sorted together. No gradient flows through distances.

    Args:
        samples: equally many adjoining intervals on every ray, as from `stratified`.
        weights: render weight of every sample.
        jitter: shift of each ray's quantiles in [0, 1), in units of their spacing; None takes 0.5.
    """
    if not samples.rays:
        return samples
    size = (samples.rays, len(samples) // samples.rays)
    start, end, mass = (values.detach().view(size) for values in (samples.start, samples.end, weights))
    edges = torch.cat([start, end[:, -1:]], -1)
    shift = start.new_full((samples.rays, 1), 0.5) if jitter is None else jitter[:, None]
    drawn = invert_cdf(edges, mass, (torch.arange(count, device=start.device) + shift) / count)
    return samples_between(torch.cat([edges, drawn], -1).sort(-1).values)
