"""NeRF's hierarchical sampling: a coarse network says where on a ray the fine one is asked (arXiv 2003.08934, 5.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..cameras import Rays
from ..fields import Field, density_of
from .compositing import render_weights
from .sampling import Marching, Samples, resample_pdf, sample_points, span, stratified


class CoarseField(nn.Module):
    """A field of its own that is asked evenly along rays, and whose weights draw further samples.

    Takes the place of an occupancy grid: whoever marches rays need not know which of both it has.

    Args:
        field: the coarse field; it learns from its own squared error.
        fine: distances that are drawn on every ray, on top of the even ones.
    """

    def __init__(self, field: Field, fine: int):
        super().__init__()
        if fine < 1:
            raise ValueError(f"fine must be at least 1 sample, got {fine}")
        self.field, self.fine = field, fine

    def evenly(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """The first pass: as many equal intervals on every ray as there are steps on the box's diagonal.

        On rays that miss the box they have no length.
        """
        low, high = self.field.bounds
        count = max(round(float((high - low).norm()) / marching.step), 1)
        return stratified(*span(rays, self.field.bounds, marching), count, jitter)

    def refine(
        self, samples: Samples, weights: Float[Tensor, " m"], jitter: Float[Tensor, " r"] | None = None
    ) -> Samples:
        """The second pass: the first one's samples and those that its weights draw."""
        both = resample_pdf(samples, weights, self.fine, jitter)
        return both[both.end > both.start]

    @torch.no_grad()
    def march(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """Both passes, without gradients."""
        samples = self.evenly(rays, marching, jitter)
        density = density_of(self.field.features(sample_points(rays, samples))[:, 0])
        return self.refine(samples, render_weights(samples, density), jitter)
