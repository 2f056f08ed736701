"""Moves transparent Gaussians onto others, so that their count stays fixed (arXiv 2404.09591, section 4.3)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..fields.splat import SplatField

DEAD = 0.005
"""Opacity below which a Gaussian is moved."""
MOST_COPIES = 50
"""Gaussians that one may be split into at once."""


@torch.no_grad()
def relocate(field: SplatField, generator: torch.Generator) -> int:
    """Put every dead Gaussian on a living one, chosen with a probability proportional to opacity.

    The living one and its copies get the opacity and the scale with which together they look as it did alone
    (equation 9). Nothing happens where all are dead or all alive.

    Returns:
        How many were moved.
    """
    opacity = field.opacity_logits.sigmoid()
    dead = (opacity <= DEAD).nonzero()[:, 0]
    alive = (opacity > DEAD).nonzero()[:, 0]
    if not len(dead) or not len(alive):
        return 0
    chance = opacity[alive].double().cumsum(0)
    drawn = torch.rand(len(dead), generator=generator, dtype=torch.float64).to(chance.device) * chance[-1]
    source = alive[torch.searchsorted(chance, drawn).clamp(max=len(alive) - 1)]
    copies = 1 + torch.bincount(source, minlength=len(opacity))[source]
    copies = copies.clamp(max=MOST_COPIES)
    fresh, shrink = shared(opacity[source], copies)
    fresh = fresh.clamp(DEAD, 1 - 1e-6).logit()
    scales = field.log_scales[source] + shrink.log()[:, None]
    for parameter in field.parameters():
        parameter[dead] = parameter[source]
    for place in (dead, source):
        field.opacity_logits[place] = fresh
        field.log_scales[place] = scales
    return len(dead)


def shared(opacity: Float[Tensor, " n"], copies: Tensor) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Opacity of each of several equal Gaussians that together look like one, and the factor of their scales.

    Args:
        opacity: of the one.
        copies: how many take its place, itself included.
    """
    alone = 1 - (1 - opacity) ** (1 / copies)
    total = torch.zeros_like(opacity)
    for i in range(1, int(copies.max()) + 1):
        for k in range(i):
            term = math.comb(i - 1, k) * (-1.0) ** k / math.sqrt(k + 1) * alone ** (k + 1)
            total = total + torch.where(copies >= i, term, 0.0)
    return alone, opacity / total.clamp(min=1e-12)
