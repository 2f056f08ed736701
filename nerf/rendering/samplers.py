"""Samplers choose the samples of rays: their interface, and the sampler of uniform intervals in the whole box.

An occupancy grid (`occupancy`) leaves out empty cells; a coarse field (`hierarchical`) adds samples where it is dense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..cameras import Rays
from .sampling import Marching, Samples, span, uniform_samples

if TYPE_CHECKING:
    from mappers.training.draws import Draws

Density = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]
"""Density per unit length at world positions."""
Modules = Mapping[str, Callable[..., Any]]
"""A task's modules by name, as the trainer prepared them."""


class Sampler(nn.Module):
    """Chooses the samples of rays through a field's box. Subclasses implement `march`, and `shrunk` where boxes shrink.

    It is a module so that it moves between devices, and is saved, with the field that it belongs to.
    """

    bounds: Tensor
    """Lower and upper corner of the box, [2, 3], in world units."""
    fine: int = 0
    """Samples that each ray has on top of the uniform ones."""

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules that a checkpoint holds with the field, by name; they are trained where they have parameters."""
        return {}

    def rates(self) -> Mapping[str, float]:
        """Learning rates relative to the run's, by prefix of "part.parameter"; 1 for all others."""
        return {}

    def march(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        """The samples of rays, without gradients.

        Args:
            rays: r rays.
            marching: length of an interval, and where rays start and end.
            jitter: shift of each ray's intervals, in 0..1 of one; None leaves them in place.
        """
        raise NotImplementedError

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
        """The samples of rays in a training step, and the loss of the sampler's own modules; 0 if it trains none.

        Args:
            modules: the task's modules as the trainer prepared them; `parts` are among them.
            rays: r rays.
            marching: see `march`.
            jitter: see `march`.
            target: RGB that the rays should see.
            background: RGB behind them.
        """
        return self.march(rays, marching, jitter), target.new_zeros(())

    def update(self, density: Density, draws: Draws) -> None:
        """Update the sampler from the field's density at the beginning of a training step; by default do nothing."""

    def extent(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of the part of the box that may have density."""
        return self.bounds

    def shrunk(self, bounds: Float[Tensor, "2 3"]) -> Sampler:
        """The same sampler for a smaller box."""
        raise NotImplementedError

    def cells(self) -> Bool[Tensor, "z y x"] | None:
        """Mask of the cells of the box in which rays are sampled; None for the whole box.

        Raises:
            ValueError: the sampler cannot be described by cells.
        """
        return None

    def save(self, folder: Path) -> None:
        """Write the sampler's files into a run's folder, each first under a temporary name; by default none."""


class UniformSampler(Sampler):
    """Intervals of one length everywhere in the box.

    Args:
        bounds: lower and upper corner of the box.
    """

    def __init__(self, bounds: Float[Tensor, "2 3"]):
        super().__init__()
        self.register_buffer("bounds", bounds.detach().float().clone())

    def march(self, rays: Rays, marching: Marching, jitter: Float[Tensor, " r"] | None = None) -> Samples:
        return uniform_samples(*span(rays, self.bounds, marching), marching.step, jitter)

    def shrunk(self, bounds: Float[Tensor, "2 3"]) -> Self:
        return type(self)(bounds).to(self.bounds.device)
