"""The networks of a grids model: transforms, context networks and restoration, for all rates at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .contexts import SLOPE, level_bits, networks, squash
from .lapped import Lapped, by_frequency
from .tiles import COARSE, FINE

LIGHT, COLOUR, ALL = (0,), (1, 2), (0, 1, 2)
FINE_GROUPS = [
    by_frequency(FINE, lowest, highest, channels)
    for (lowest, highest), channels in [
        ((1, 1), LIGHT), ((1, 1), COLOUR), ((2, 2), LIGHT), ((3, 3), LIGHT), ((2, 3), COLOUR), ((4, 5), LIGHT),
        ((6, 7), LIGHT), ((4, 6), COLOUR), ((8, 14), LIGHT),
    ]
]  # fmt: skip
"""The coefficients of the fine level, without the lowest ones, which the coarse level represents, and without the
highest ones of the colours, which are left out."""
COARSE_GROUPS = [by_frequency(COARSE, *sums, ALL) for sums in ((0, 0), (1, 1), (2, 2), (3, 6))]
SURROUND = 12
"""Channels that the coarse level provides for the context networks of the fine one."""
DEAD_ZONE = 0.2
"""How much farther than 1/2 a fine coefficient must be from zero not to be rounded to it."""
LAGRANGIAN = 0.13
"""Squared error that a bit is worth, in squared steps; a uniform quantiser at high rates has 0.116."""


def step_plane(step: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1"]:
    """What the networks see of the step."""
    return (step.log() - 3.5).view(-1, 1, 1, 1)


def rounded(values: Float[Tensor, "*shape"], dead_zone: float = 0.0) -> Float[Tensor, "*shape"]:
    """Whole numbers; the gradient is that of the identity."""
    whole = values.sign() * (values.abs() + 0.5 - dead_zone).floor().clamp_min(0)
    return values + (whole - values).detach()


class Restoration(nn.Module):
    """Removes what quantisation has done to pixels, at a quarter of their resolution."""

    def __init__(self, hidden: int):
        super().__init__()
        sizes = [(49, hidden), (hidden, hidden), (hidden, hidden), (hidden, 48)]
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1, padding_mode="replicate") for pair in sizes)
        for zero in self.layers[-1].parameters():
            nn.init.zeros_(zero)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], step: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
        """Pixels about -128..128 to better ones."""
        head, first, second, tail = self.layers
        planes = functional.pixel_unshuffle(pixels / 64, 4)
        plane = step_plane(step).expand(-1, 1, *planes.shape[2:])
        hidden = functional.leaky_relu(head(torch.cat([planes, plane], 1)), SLOPE)
        hidden = hidden + second(functional.leaky_relu(first(hidden), SLOPE))
        change = tail(functional.leaky_relu(hidden, SLOPE))
        return pixels + functional.pixel_shuffle(change, 4) * (step / 4).view(-1, 1, 1, 1)


class GridsNetwork(nn.Module):
    """Transforms, context networks and restoration; pixels are -127.5..127.5.

    Args:
        fine_width, coarse_width: of the context networks of either level.
        restoration_width: of the restoration network.
    """

    def __init__(self, fine_width: int = 48, coarse_width: int = 32, restoration_width: int = 64):
        super().__init__()
        fine, coarse = sum(FINE_GROUPS, []), sum(COARSE_GROUPS, [])
        self.fine = Lapped(FINE, [(channel, 0, 0) for channel in ALL] + fine, colours=True)
        self.coarse = Lapped(COARSE, coarse, colours=False)
        self.fine_log_gain = nn.Parameter(torch.zeros(len(fine), 1, 1))
        self.coarse_log_gain = nn.Parameter(torch.zeros(len(coarse), 1, 1))
        self.fine_contexts = networks([len(group) for group in FINE_GROUPS], SURROUND, fine_width)
        self.coarse_contexts = networks([len(group) for group in COARSE_GROUPS], 0, coarse_width)
        self.restoration = Restoration(restoration_width)

    def analyse(
        self, pixels: Float[Tensor, "b 3 h w"], step: Float[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b coarse h2 w2"], Float[Tensor, "b fine h1 w1"]]:
        """Coefficients of either level in steps, not yet rounded; the sides are multiples of :data:`GRID`."""
        values = self.fine.analyse(pixels) / step.view(-1, 1, 1, 1)
        coarse = self.coarse.analyse(values[:, : len(ALL)])
        return coarse * self.coarse_log_gain.exp(), values[:, len(ALL) :] * self.fine_log_gain.exp()

    def synthesise(
        self, coarse: Float[Tensor, "b coarse h2 w2"], fine: Float[Tensor, "b fine h1 w1"], step: Float[Tensor, " b"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Pixels of rounded coefficients."""
        values = torch.cat([self.lowest(coarse), fine / self.fine_log_gain.exp()], 1)
        return self.restoration(self.fine.synthesise(values * step.view(-1, 1, 1, 1)), step)

    def lowest(self, coarse: Float[Tensor, "b coarse h2 w2"]) -> Float[Tensor, "b 3 h1 w1"]:
        """The lowest frequencies of the fine level, in steps."""
        return self.coarse.synthesise(coarse / self.coarse_log_gain.exp())

    def surround(self, coarse: Float[Tensor, "b coarse h2 w2"]) -> Float[Tensor, "b extra h1 w1"]:
        """What the coarse level tells of the fine one: slopes and second differences of the lowest frequencies."""
        lowest = self.lowest(coarse)
        padded = functional.pad(lowest, (1, 1, 1, 1), mode="replicate")
        left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
        bends = [right + left - 2 * lowest, above + below - 2 * lowest]
        return squash(torch.cat([right - left, below - above, *bends], 1))

    def bits(
        self,
        coarse: Float[Tensor, "b coarse h2 w2"],
        fine: Float[Tensor, "b fine h1 w1"],
        step: Float[Tensor, " b"],
        phases: Sequence[int] = (0, 1),
    ) -> Float[Tensor, " b"]:
        """Information of rounded coefficients; of one phase only, twice that phase's."""
        plane = step_plane(step)
        below = level_bits(self.coarse_contexts, coarse, coarse[:, :0], plane, phases)
        return below + level_bits(self.fine_contexts, fine, self.surround(coarse), plane, phases)

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], step: Float[Tensor, " b"], phases: Sequence[int] = (0, 1)
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Information in bits and squared error of each picture, coded with rounding."""
        coarse, fine = self.analyse(pixels, step)
        coarse, fine = rounded(coarse), rounded(fine, DEAD_ZONE)
        squared = (self.synthesise(coarse, fine, step) - pixels).square().sum((1, 2, 3))
        return self.bits(coarse, fine, step, phases), squared
