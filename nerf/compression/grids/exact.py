"""What decoding computes, in whole numbers: distributions of coefficients, and pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from .model import STEP_PLACES, GridsModel
from .network import COARSE_GROUPS, FINE_GROUPS
from .streams import FARTHEST
from .tables import FRACTIONS, LARGEST_LOG, SCALES_PER_NAT
from .tiles import COARSE, FINE
from .whole_numbers import (
    ACTIVATION,
    INPUT,
    LIMIT,
    MATRIX,
    WEIGHT,
    Convolution,
    bordered,
    convolved,
    filtered,
    gathered,
    leaky,
    shifted,
    squash,
    windows,
)

LOWEST, PIXEL = 10, 8
"""Binary places of the fine level's lowest frequencies, in steps, and of pixels."""
LARGEST_INPUT = 16 * 2.0**INPUT
"""No logarithm, nor the step's plane, is larger."""

Level = Float[Tensor, "b channels h w"]
Extra = Float[Tensor, "b extra h w"]
Coarse = Float[Tensor, "b coarse h2 w2"]
Fine = Float[Tensor, "b fine h1 w1"]


@dataclass(frozen=True)
class Stage:
    """What one phase of a group of channels is decoded with."""

    fine: bool
    channels: slice
    places: Int[Tensor, " n"]
    """Places of the phase in the flat level."""
    row: Int[Tensor, "b c n"]
    """Row of the coder's tables of each coefficient."""
    centre: Int[Tensor, "b c n"]


@dataclass(frozen=True)
class _Net:
    around: Convolution
    inner: Convolution
    out: Convolution
    neighbours: Convolution
    before: int
    size: int


class ExactModel:
    """A model's decoder.

    Raises:
        ValueError: sums could be too large for exactness.
    """

    def __init__(self, model: GridsModel):
        self.tensors = {name: torch.from_numpy(value) for name, value in model.decoder.items()}
        self.steps = model.steps
        """Every step, by its number in a file."""
        self.table = self.tensors["squash"].double()
        self.nets = {
            fine: self._nets("fine_contexts" if fine else "coarse_contexts", FINE_GROUPS if fine else COARSE_GROUPS)
            for fine in (False, True)
        }
        self.restoration = [self._layer(f"restoration.layers.{number}") for number in range(4)]
        self.matrices = {
            name: value.double() for name, value in self.tensors.items() if name.startswith(("fine.", "coarse."))
        }
        self._check_sums()

    def _layer(self, name: str) -> Convolution:
        return Convolution.of(self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def _nets(self, name: str, groups: list[list[tuple[int, int, int]]]) -> list[_Net]:
        found, before = [], 0
        for number, group in enumerate(groups):
            around, inner, out, neighbours = (
                self._layer(f"{name}.{number}.{part}") for part in ("around", "inner", "out", "neighbours")
            )
            found.append(_Net(around, inner, out, neighbours, before, len(group)))
            before += len(group)
        return found

    def _check_sums(self) -> None:
        largest = 0.0
        for net in [*self.nets[False], *self.nets[True]]:
            size = net.around.largest(LARGEST_INPUT)
            for layer, places in ((net.inner, WEIGHT + INPUT - ACTIVATION), (net.out, WEIGHT)):
                largest = max(largest, size)
                size = layer.largest(size / 2**places + 1)
            largest = max(largest, size, net.neighbours.largest(FARTHEST))
        coefficients = (
            FARTHEST
            * 2.0**LOWEST
            * max(float(self.matrices[f"{level}.synthesis"].abs().sum(0).max()) for level in ("fine", "coarse"))
        )
        if max(largest, coefficients) >= LIMIT:
            raise ValueError("the model's weights are too large for exact sums; train it again")

    def stages(self, coarse: Coarse, fine: Fine, step: int) -> Iterator[Stage]:
        """Every :class:`Stage` of a batch of tiles, in the order of decoding.

        The caller writes a stage's coefficients into ``coarse`` or ``fine`` before it asks for the next one.
        """
        plane = self.tensors["planes"][step].double()
        for is_fine, level in ((False, coarse), (True, fine)):
            extra = self.surround(coarse) if is_fine else coarse[:, :0]
            for net in self.nets[is_fine]:
                for phase in (0, 1):
                    yield self._stage(net, level, extra, plane, phase, fine=is_fine)

    def _stage(
        self, net: _Net, level: Level, extra: Float[Tensor, "b extra h w"], plane: Tensor, phase: int, *, fine: bool
    ) -> Stage:
        height, width = level.shape[2:]
        places, index, board = _geometry(height, width, phase)
        channels = slice(net.before, net.before + net.size)
        own = level[:, channels] * (1 - board) * phase
        planes = torch.cat([16 * level[:, : net.before], 16 * own], 1)
        constant = [
            (board * phase * 2**INPUT).expand(len(level), 1, -1, -1),
            plane.expand(len(level), 1, height, width),
        ]
        inputs = torch.cat([squash(planes, self.table), extra, *constant], 1)
        hidden = leaky(shifted(net.around(gathered(bordered(inputs), index)), WEIGHT + INPUT - ACTIVATION))
        hidden = leaky(shifted(net.inner(hidden), WEIGHT))
        mean, log = shifted(net.out(hidden), WEIGHT).chunk(2, 1)
        if phase:
            mean = mean + shifted(net.neighbours(gathered(bordered(own), index)), WEIGHT - ACTIVATION)
        mean = shifted(mean, ACTIVATION - 4).long().clamp(-16 * FARTHEST, 16 * FARTHEST)
        scale = shifted(log, ACTIVATION - 3).long().clamp(-LARGEST_LOG * SCALES_PER_NAT, LARGEST_LOG * SCALES_PER_NAT)
        centre = (mean + FRACTIONS // 2) // FRACTIONS
        fraction = mean - FRACTIONS * centre + FRACTIONS // 2
        return Stage(fine, channels, places, (scale + LARGEST_LOG * SCALES_PER_NAT) * FRACTIONS + fraction, centre)

    def lowest(self, coarse: Coarse) -> Float[Tensor, "b 3 h1 w1"]:
        """The lowest frequencies of the fine level, with :data:`LOWEST` binary places."""
        blocks = self.matrices["coarse.synthesis"].T @ coarse.flatten(2)
        values = functional.pixel_shuffle(shifted(blocks, MATRIX - LOWEST).unflatten(2, coarse.shape[2:]), COARSE)
        return filtered(values, self.matrices["coarse.after"])

    def surround(self, coarse: Coarse) -> Float[Tensor, "b extra h1 w1"]:
        """:meth:`nerf.compression.grids.network.GridsNetwork.surround` in whole numbers."""
        lowest = self.lowest(coarse)
        padded = functional.pad(lowest, (1, 1, 1, 1), mode="replicate")
        left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
        above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
        bends = [right + left - 2 * lowest, above + below - 2 * lowest]
        return squash(shifted(torch.cat([right - left, below - above, *bends], 1), LOWEST - 4), self.table)

    def pixels(self, coarse: Coarse, fine: Fine, step: int) -> Int[Tensor, "b 3 h w"]:
        """Samples 0..255."""
        width = self.tensors["steps"][step].double()
        values = torch.cat([self.lowest(coarse), fine * 2.0**LOWEST], 1)
        blocks = shifted(self.matrices["fine.synthesis"].T @ values.flatten(2), MATRIX)
        picture = functional.pixel_shuffle(blocks.unflatten(2, fine.shape[2:]), FINE)
        picture = shifted(filtered(picture, self.matrices["fine.after"]) * width, LOWEST + STEP_PLACES - PIXEL)
        picture = picture + self._change(picture, width, step)
        return shifted(picture + 127.5 * 2**PIXEL, PIXEL).clamp(0, 255).long()

    def _change(self, picture: Level, width: Tensor, step: int) -> Level:
        """What the restoration network adds."""
        head, first, second, tail = self.restoration
        planes = functional.pixel_unshuffle(shifted(picture, PIXEL + 6 - INPUT), 4)
        plane = self.tensors["planes"][step].double().expand(len(planes), 1, *planes.shape[2:])
        hidden = leaky(shifted(convolved(torch.cat([planes, plane], 1), head), WEIGHT + INPUT - ACTIVATION))
        inner = leaky(shifted(convolved(hidden, first), WEIGHT))
        hidden = hidden + shifted(convolved(inner, second), WEIGHT)
        change = shifted(convolved(leaky(hidden), tail), WEIGHT)
        return functional.pixel_shuffle(shifted(change * width, ACTIVATION + STEP_PLACES + 2 - PIXEL), 4)


@lru_cache(maxsize=32)
def _geometry(height: int, width: int, phase: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places of a phase, those of their neighbourhoods, and the checkerboard."""
    board = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    places = torch.nonzero(board.flatten() == phase)[:, 0]
    return places, windows(height, width, places), board.double()
