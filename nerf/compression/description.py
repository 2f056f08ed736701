"""What the codec must know about a kind of data: one :class:`Description` for each model, and how patches tile a datum.

Free of torch. An axis is a row, a column, a frame or a sample in time; a datum is an array [channels, *axes].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Modality = Literal["picture", "sound", "video", "volume"]
MODALITIES: tuple[Modality, ...] = ("picture", "sound", "video", "volume")
"""Their places are the numbers in a file's header."""

Box = tuple[tuple[int, int], ...]
"""The first point and the one after the last along each axis."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """Data of one kind, and the sizes of the network that represents them (arXiv 2309.17182, section 3)."""

    modality: Modality = "picture"
    """What the values are; decides how files are read and written."""
    channels: int = 3
    """Values at a point."""
    patch: tuple[int, ...] = (32, 32)
    """Points of a patch along each axis; a datum of another size is tiled by patches."""
    latent: tuple[int, ...] = (4, 4)
    """Positions of a patch's latent positional encoding along each axis."""
    latent_channels: int = 64
    """Numbers of the latent positional encoding at a position."""
    upsampler: tuple[int, ...] = (32, 32, 16)
    """Channels after each stage of the upsampler; the last are the features that join the Fourier features."""
    factors: tuple[tuple[int, ...], ...] = ((2, 2), (2, 2), (2, 2))
    """How much each stage of the upsampler enlarges along each axis."""
    kernel: int = 3
    """Width of the upsampler's convolutions."""
    stitched: bool = False
    """Upsample the encodings of all patches of a datum as one array, so that they join without seams."""
    frequencies: int = 4
    """Fourier frequencies along each axis, geometric from 1 to `highest`; a cosine and a sine each."""
    highest: float = 16.0
    """Largest Fourier frequency, half periods over a patch."""
    width: int = 32
    """Units of a hidden layer."""
    layers: int = 4
    """Linear layers."""
    rank: int | None = 128
    """Numbers that stand for one hidden layer's weights; none takes as many as weights, as published."""
    group: tuple[int, ...] | None = None
    """Patches along each axis that share one representation of the second level; none has a single level."""
    components: int = 1
    """Priors among which a patch chooses: a flat one does not pay for what a busy one needs. The choice is sent."""
    budgets: tuple[float, ...] = (236.0, 472.0, 944.0, 1888.0)
    """Information of a patch in bits at each rate that the model is trained for, rising."""
    default_rate: int = 1
    """Which of them a file has where nothing else is asked for."""
    candidate_bits: int = 16
    """log2 of the candidates among which an index chooses."""

    def __post_init__(self) -> None:
        axes = len(self.patch)
        if axes not in (1, 2, 3) or len(self.latent) != axes or any(len(factor) != axes for factor in self.factors):
            raise ValueError(f"patch, latent and every factor need the same 1 to 3 axes, got patch {self.patch}")
        for axis in range(axes):
            grown = self.latent[axis] * math.prod(factor[axis] for factor in self.factors)
            if grown != self.patch[axis]:
                raise ValueError(f"the factors enlarge axis {axis} to {grown}, but a patch has {self.patch[axis]}")
        if len(self.factors) != len(self.upsampler):
            raise ValueError(f"{len(self.factors)} factors need as many upsampler channels, got {self.upsampler}")
        if list(self.budgets) != sorted(set(self.budgets)) or not self.budgets or self.budgets[0] <= 0:
            raise ValueError(f"budgets must be positive and rise, got {self.budgets}")
        if not 1 <= self.components <= 64:
            raise ValueError(f"components must be in 1..64, got {self.components}")
        if not 1 <= self.candidate_bits <= 20:
            raise ValueError(f"candidate_bits must be in 1..20, got {self.candidate_bits}")

    @property
    def points(self) -> int:
        """Points of a patch."""
        return math.prod(self.patch)

    @property
    def block(self) -> tuple[int, ...]:
        """Points along each axis that belong to one position of the latent positional encoding."""
        return tuple(side // count for side, count in zip(self.patch, self.latent, strict=True))

    @property
    def encoding_size(self) -> int:
        """Numbers of a patch's latent positional encoding."""
        return self.latent_channels * math.prod(self.latent)

    @property
    def halo(self) -> tuple[int, ...]:
        """Patches along each axis that the upsampler looks beyond a patch."""
        if not self.stitched:
            return (0,) * len(self.patch)
        reach, step = [0] * len(self.patch), list(self.block)
        for factor in self.factors:
            for axis, times in enumerate(factor):
                step[axis] //= times
                reach[axis] += self.kernel // 2 * step[axis]
        return tuple(-(-points // side) for points, side in zip(reach, self.patch, strict=True))

    @property
    def layer_shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each linear layer."""
        first = 2 * self.frequencies * len(self.patch) + self.upsampler[-1]
        sizes = [first, *[self.width] * (self.layers - 1), self.channels]
        return list(zip(sizes[1:], sizes[:-1], strict=True))

    @property
    def weight_sizes(self) -> list[int]:
        """Numbers that stand for the weights and biases of each layer."""
        counts = [outputs * (inputs + 1) for outputs, inputs in self.layer_shapes]
        return counts if self.rank is None else [min(count, self.rank) for count in counts]

    @property
    def columns(self) -> list[int]:
        """Latent numbers of one row at each level: a patch, a group of patches, the whole datum."""
        weights = sum(self.weight_sizes)
        return [weights + self.encoding_size, *([weights, weights] if self.group else [])]

    @property
    def priors(self) -> list[tuple[int, int]]:
        """Components of each level's prior, and its columns."""
        return [(self.components if level == 0 else 1, columns) for level, columns in enumerate(self.columns)]

    def tiling(self, dims: tuple[int, ...]) -> Tiling:
        """How patches tile a datum of ``dims`` points along each axis."""
        if len(dims) != len(self.patch):
            raise ValueError(f"a {self.modality} of this model has {len(self.patch)} axes, got the shape {dims}")
        grid = tuple(-(-size // patch) for size, patch in zip(dims, self.patch, strict=True))
        return Tiling(dims, grid, self.group)


@dataclass(frozen=True)
class Tiling:
    """The patches of one datum, in row-major order."""

    dims: tuple[int, ...]
    """Points along each axis."""
    grid: tuple[int, ...]
    """Patches along each axis."""
    group: tuple[int, ...] | None

    @property
    def rows(self) -> list[int]:
        """Representations at each level: patches, groups, one."""
        patches = math.prod(self.grid)
        return [patches] if self.group is None else [patches, math.prod(self._groups()), 1]

    def parents(self) -> list[list[int]]:
        """For each level above the first, which of its rows every patch belongs to."""
        if self.group is None:
            return []
        groups, above = self._groups(), []
        for patch in range(math.prod(self.grid)):
            place = 0
            for axis, coordinate in enumerate(unravel(patch, self.grid)):
                place = place * groups[axis] + coordinate // self.group[axis]
            above.append(place)
        return [above, [0] * len(above)]

    def _groups(self) -> tuple[int, ...]:
        assert self.group is not None
        return tuple(-(-count // size) for count, size in zip(self.grid, self.group, strict=True))


def whole(dims: tuple[int, ...]) -> Box:
    """The box of a whole datum."""
    return tuple((0, size) for size in dims)


def unravel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Coordinates of the row-major ``index`` in an array of ``shape``."""
    coordinates = []
    for size in reversed(shape):
        index, coordinate = divmod(index, size)
        coordinates.append(coordinate)
    return tuple(reversed(coordinates))
