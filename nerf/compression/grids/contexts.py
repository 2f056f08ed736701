"""Context networks: the distribution of every coefficient, from those that are decoded before it.

The coefficients of a level are decoded in groups of channels, from low to high frequencies, and every group in two
phases: first the places of a checkerboard's one colour, then those of the other. All coefficients of a phase are
decoded at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LARGEST_LOG = 5.0
"""Largest absolute natural logarithm of a distribution's scale, in steps."""
MOST_BITS = 24.0
"""The most that a coefficient costs in training, in bits."""
SLOPE = 0.1
"""Of the leaky rectifiers, below zero."""


def squash(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Sign times logarithm of one plus the size: what the networks see of coefficients."""
    return values.sign() * values.abs().log1p()


def checkerboard(height: int, width: int, device: torch.device | None = None) -> Float[Tensor, "height width"]:
    """0 at the places of the first phase, 1 at those of the second."""
    rows, columns = (torch.arange(size, device=device) for size in (height, width))
    return ((rows[:, None] + columns) % 2).float()


def laplace_bits(
    values: Float[Tensor, "*shape"], mean: Float[Tensor, "*shape"], log_scale: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Information of whole numbers, each the interval of length 1 around it, under Laplace distributions, in bits."""
    distance, inverse = (values - mean).abs(), (-log_scale).exp()
    within = (0.5 - distance).clamp_min(0)
    near = 1 - ((-within * inverse).exp() + (-(0.5 + distance) * inverse).exp()) / 2
    far = (1 - (-inverse).exp()) / 2
    beyond = (distance - 0.5).clamp_min(0) * inverse / math.log(2) - far.clamp_min(1e-7).log2()
    return torch.where(distance < 0.5, -near.clamp_min(1e-7).log2(), beyond).clamp_max(MOST_BITS)


class ContextNetwork(nn.Module):
    """Mean and log scale of one group of channels.

    Args:
        known: channels of the level that are decoded before the group.
        size: channels of the group.
        extra: channels that the level below provides.
        hidden: width of the network.
    """

    def __init__(self, known: int, size: int, extra: int, hidden: int):
        super().__init__()
        self.known, self.size = known, size
        self.around = nn.Conv2d(known + size + extra + 2, hidden, 3, padding=1, padding_mode="replicate")
        self.inner = nn.Conv2d(hidden, hidden, 1)
        self.out = nn.Conv2d(hidden, 2 * size, 1)
        self.neighbours = nn.Conv2d(size, size, 3, padding=1, padding_mode="replicate", bias=False)
        for zero in (*self.out.parameters(), *self.neighbours.parameters()):
            nn.init.zeros_(zero)

    def forward(
        self,
        level: Float[Tensor, "b channels h w"],
        extra: Float[Tensor, "b extra h w"],
        step: Float[Tensor, "b 1 1 1"],
        phase: int,
    ) -> tuple[Float[Tensor, "b size h w"], Float[Tensor, "b size h w"]]:
        """Means and log scales at all places; those of the other phase are of no use.

        Args:
            level: coefficients of all groups; of the group itself only the first phase is used, in the second phase,
                and nothing of the groups after it.
            extra: what the level below tells.
            step: what :func:`step_plane` gives.
            phase: 0 or 1.
        """
        height, width = level.shape[2:]
        places = checkerboard(height, width, level.device) * phase
        own = level[:, self.known : self.known + self.size] * ((1 - places) * phase)
        planes = [squash(level[:, : self.known]), squash(own), extra]
        planes += [plane.expand(len(level), 1, height, width) for plane in (places, step)]
        hidden = functional.leaky_relu(self.around(torch.cat(planes, 1)), SLOPE)
        hidden = functional.leaky_relu(self.inner(hidden), SLOPE)
        mean, log_scale = self.out(hidden).chunk(2, 1)
        return mean + self.neighbours(own), log_scale.clamp(-LARGEST_LOG, LARGEST_LOG)


def networks(groups: Sequence[int], extra: int, hidden: int) -> nn.ModuleList:
    """The context networks of a level whose groups have these numbers of channels."""
    return nn.ModuleList(
        ContextNetwork(sum(groups[:number]), size, extra, hidden) for number, size in enumerate(groups)
    )


def level_bits(
    nets: nn.ModuleList,
    level: Float[Tensor, "b channels h w"],
    extra: Float[Tensor, "b extra h w"],
    step: Float[Tensor, "b 1 1 1"],
    phases: Sequence[int] = (0, 1),
) -> Float[Tensor, " b"]:
    """Information of a level's coefficients in bits; of one phase only, twice that phase's."""
    total = torch.zeros(len(level), device=level.device)
    height, width = level.shape[2:]
    places = checkerboard(height, width, level.device)
    for net in nets:
        assert isinstance(net, ContextNetwork)
        values = level[:, net.known : net.known + net.size]
        for phase in phases:
            mean, log_scale = net(level, extra, step, phase)
            bits = laplace_bits(values, mean, log_scale)
            total = total + (bits * (places if phase else 1 - places)).sum((1, 2, 3)) * (2 / len(phases))
    return total
