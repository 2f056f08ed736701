"""What a codec model is made for: the :class:`Description` of its data and network, and how patches tile a datum.

Free of torch. An axis is a row, a column, a frame or a sample in time; a datum is an array [channels, *axes].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Modality = Literal["picture", "sound", "video", "volume"]
MODALITIES: tuple[Modality, ...] = ("picture", "sound", "video", "volume")
"""A file's header has a modality's index in this tuple."""

Box = tuple[tuple[int, int], ...]
"""The first point and the one after the last along each axis."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """The data of a model, and the sizes of the network that represents them (arXiv 2309.17182, section 3)."""

    modality: Modality = "picture"
    """What the data are; decides how files are read and written."""
    channels: int = 3
    """Values of a point."""
    patch: tuple[int, ...] = (32, 32)
    """Points of a patch along each axis; a datum of another size is tiled by patches."""
    latent: tuple[int, ...] = (4, 4)
    """Positions of a patch's latent positional encoding along each axis."""
    latent_channels: int = 64
    """Numbers of the latent positional encoding at a position."""
    upsampler: tuple[int, ...] = (32, 32, 16)
    """Channels after each stage of the upsampler; the last stage's are inputs of the SIREN."""
    factors: tuple[tuple[int, ...], ...] = ((2, 2), (2, 2), (2, 2))
    """Factor of each stage of the upsampler along each axis."""
    kernel: int = 3
    """Width of the upsampler's convolutions."""
    stitched: bool = False
    """Whether the encodings of all patches are upsampled as one array, so that patches join without seams."""
    frequencies: int = 4
    """Fourier frequencies along each axis, in a geometric series from 1 to `highest`; a cosine and a sine of each."""
    highest: float = 16.0
    """Largest Fourier frequency in half periods per patch."""
    width: int = 32
    """Units of a hidden layer of the SIREN."""
    layers: int = 4
    """Linear layers of the SIREN."""
    rank: int | None = 128
    """Latent numbers that represent the weights of a layer; None: as many as weights, as published."""
    group: tuple[int, ...] | None = None
    """Patches along each axis that share one row of the second level; None: there is a single level."""
    components: int = 1
    """Components of the patches' prior, a mixture. The encoder chooses and sends one for each patch, so that a flat
    patch does not pay for what a detailed one needs."""
    budgets: tuple[float, ...] = (236.0, 472.0, 944.0, 1888.0)
    """Information of a patch in bits at each rate that the model is trained for, in rising order."""
    default_rate: int = 1
    """Number of the rate of a file without a target."""
    candidate_bits: int = 16
    """log2 of the number of candidates of an index."""

    def __post_init__(self) -> None:
        axes = len(self.patch)
        if axes not in (1, 2, 3) or len(self.latent) != axes or any(len(factor) != axes for factor in self.factors):
            raise ValueError(f"patch, latent and every factor need the same 1 to 3 axes, got patch {self.patch}")
        for axis in range(axes):
            points = self.latent[axis] * math.prod(factor[axis] for factor in self.factors)
            if points != self.patch[axis]:
                raise ValueError(f"the factors enlarge axis {axis} to {points}, but a patch has {self.patch[axis]}")
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
        """Patches along each axis that the upsampler reads beyond a patch."""
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
        """Latent numbers that represent the weights and biases of each layer."""
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
    """Patches of a group along each axis; None: there is a single level."""

    @property
    def rows(self) -> list[int]:
        """Number of rows of each level: patches, groups of patches, and one for the datum."""
        patches = math.prod(self.grid)
        return [patches] if self.group is None else [patches, math.prod(self._groups()), 1]

    def parents(self) -> list[list[int]]:
        """For each level above the first, the row there of every patch."""
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
