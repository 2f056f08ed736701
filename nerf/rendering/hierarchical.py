"""NeRF's hierarchical sampling: weights of a coarse field place the samples of the fine one (arXiv 2003.08934, 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..cameras import Rays
from ..fields import VolumeField, density_of, load_field, save_field
from .compositing import render_rays, render_weights
from .samplers import Modules, Sampler
from .sampling import Marching, Samples, resample_pdf, sample_points, span, stratified


class CoarseField(Sampler):
    """A coarse field that is evaluated uniformly along rays, and whose weights draw further samples.

    Args:
        field: the coarse field; it is trained by its own squared error.
        fine: distances that are drawn on every ray, on top of the uniform ones.
    """

    file = "coarse.safetensors"
    """Name of the file in a run's folder."""

    def __init__(self, field: VolumeField, fine: int):
        super().__init__()
        if fine < 1:
            raise ValueError(f"fine must be at least 1 sample, got {fine}")
        self.field, self.fine = field, fine

    @property
    def bounds(self) -> Float[Tensor, "2 3"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The coarse field's box."""
        return self.field.bounds

    def parts(self) -> Mapping[str, nn.Module]:
        return {"coarse": self.field}

    def rates(self) -> Mapping[str, float]:
        return {f"coarse.{prefix}": rate for prefix, rate in self.field.rates().items()}

    def sample(
        self,
        modules: Modules,
        rays: Rays,
        marching: Marching,
        jitter: Float[Tensor, " r"],
        *,
        target: Float[Tensor, "r 3"],
        background: Float[Tensor, "r 3"],
    ) -> tuple[Samples, Float[Tensor, ""]]:
        """Both passes' samples, and the coarse field's own squared error (NeRF, equation 6, its first term)."""
        even = self.evenly(rays, marching, jitter)
        out = render_rays(modules["coarse"], rays, even, background)
        return self.refine(even, out.weights, jitter), (out.color - target).square().mean()

    def cells(self) -> Bool[Tensor, "z y x"] | None:
        raise ValueError("a field with a coarse network has no small file; train with an occupancy grid")

    def save(self, folder: Path) -> None:
        save_field(self.field, folder / self.file)

    @classmethod
    def load(cls, folder: Path, fine: int) -> CoarseField:
        """Read what `save` wrote; ``fine`` is not part of it.

        Raises:
            FileNotFoundError, FieldError: the file is missing or damaged.
        """
        return cls(load_field(folder / cls.file).volume(), fine)

    def evenly(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """The first pass: as many equal intervals on every ray as there are steps on the box's diagonal.

        On rays that miss the box the intervals have no length.
        """
        low, high = self.field.bounds
        count = max(round(float((high - low).norm()) / marching.step), 1)
        return stratified(*span(rays, self.field.bounds, marching), count, jitter)

    def refine(
        self, samples: Samples, weights: Float[Tensor, " m"], jitter: Float[Tensor, " r"] | None = None
    ) -> Samples:
        """The second pass: the first one's samples and those drawn from its weights."""
        both = resample_pdf(samples, weights, self.fine, jitter)
        return both[both.end > both.start]

    @torch.no_grad()
    def march(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """Both passes, without gradients."""
        samples = self.evenly(rays, marching, jitter)
        density = density_of(self.field.features(sample_points(rays, samples))[:, 0])
        return self.refine(samples, render_weights(samples, density), jitter)
