"""The network that represents a datum: a SIREN whose weights are latent numbers times matrices shared by all data.

All modules compute a batch of rows, one row for each patch. Arrays are channel first: features [r, channels, points].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..description import Description, unravel

OMEGA = 6.0
"""Factor inside the sine, absorbed into the weights. With SIREN's 30 (arXiv 2006.09661) features vary too fast."""
SPREAD = 0.1
"""Change of the weights by unit latent numbers, relative to the weights, at the start of training."""


class SharedLinear(nn.Module):
    """Weights and biases of one layer for every row: ``w = base + h A`` (arXiv 2309.17182, section 3.1).

    ``A`` is shared by all data and learned with the prior. Deviations: ``base``, which the paper leaves to the prior
    mean and ``A``, is explicit, so that the latent numbers ``h`` are standardised; and ``A`` may have fewer rows than
    there are weights.
    """

    def __init__(self, outputs: int, inputs: int, latent: int, *, place: str):
        super().__init__()
        self.outputs, self.inputs = outputs, inputs
        bound = {"first": OMEGA / inputs, "hidden": math.sqrt(6 / inputs), "last": math.sqrt(6 / inputs) / OMEGA}[place]
        base = torch.empty(outputs * (inputs + 1)).uniform_(-bound, bound)
        self.base = nn.Parameter(
            torch.zeros_like(base) if place == "last" else base
        )  # at first only the transform contributes
        scale = SPREAD * bound / math.sqrt(3 * latent)
        self.matrix = nn.Parameter(torch.randn(latent, outputs * (inputs + 1)) * scale)

    def forward(self, h: Float[Tensor, "r l"]) -> tuple[Float[Tensor, "r o i"], Float[Tensor, "r o 1"]]:
        weights = torch.addmm(self.base, h, self.matrix).view(-1, self.outputs, self.inputs + 1)
        return weights[..., 1:], weights[..., :1]


class Upsampler(nn.Module):
    """Latent positional encodings to features at every point (section 3.2): nearest neighbours, then a convolution."""

    def __init__(self, description: Description):
        super().__init__()
        convolution_class = convolution_of(len(description.patch))
        sizes = (description.latent_channels, *description.upsampler)
        self.factors = [tuple(float(f) for f in factor) for factor in description.factors]
        convolutions = [
            convolution_class(a, b, description.kernel, padding=description.kernel // 2)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        self.convolutions = nn.ModuleList(convolutions)
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight)

    def forward(self, encoding: Float[Tensor, "n c *latent"]) -> Float[Tensor, "n f *patch"]:
        for stage, (factor, convolution) in enumerate(zip(self.factors, self.convolutions, strict=True)):
            if stage:
                encoding = functional.leaky_relu(encoding)
            encoding = convolution(functional.interpolate(encoding, scale_factor=factor, mode="nearest"))
        return encoding


class Transform(nn.Module):
    """A learned linear transform from the encoding of each position to the values of its block of points.

    Args:
        description: the transform has `latent_channels` rows.
    """

    scale: Tensor

    def __init__(self, description: Description):
        super().__init__()
        shape = (description.latent_channels, description.channels, *description.block)
        self.basis = nn.Parameter(torch.randn(shape))
        self.register_buffer("scale", torch.ones(description.latent_channels))

    @property
    def weight(self) -> Float[Tensor, "latent channels *block"]:
        """The transform. Its rows differ much in size; the optimizer sees all at one size and learns small ones too."""
        return self.basis * self.scale.view(-1, *[1] * (self.basis.dim() - 1))

    def forward(self, encoding: Float[Tensor, "r latent *positions"]) -> Float[Tensor, "r channels *patch"]:
        # Blocks do not overlap, so this is a matrix product; a transposed convolution takes many times longer.
        positions, shape = encoding.shape[2:], self.basis.shape[1:]
        values = encoding.flatten(2).transpose(1, 2) @ self.weight.flatten(1)
        blocks = values.reshape(-1, math.prod(positions), *shape)
        return stitch(blocks, tuple(positions))


class Representation(nn.Module):
    """Latent numbers to values of every patch, ``[r, channels, points]``.

    Deviation: values are the sum of the SIREN and of a linear transform of the positional encoding, which starts as the
    data's principal components (:mod:`nerf.compression.learning.linear_start`). So training begins with a working
    transform code, which it would take hours to reach from random weights.
    """

    fourier: Tensor

    def __init__(self, description: Description):
        super().__init__()
        self.description = description
        shapes, sizes = description.layer_shapes, description.weight_sizes
        places = ["first", *["hidden"] * (len(shapes) - 2), "last"]
        self.layers = nn.ModuleList(
            SharedLinear(outputs, inputs, size, place=place)
            for (outputs, inputs), size, place in zip(shapes, sizes, places, strict=True)
        )
        self.upsampler = Upsampler(description)
        self.transform = Transform(description)
        self.register_buffer("fourier", fourier_features(description), persistent=False)

    def forward(
        self,
        latents: Sequence[Float[Tensor, "_rows _columns"]],
        parents: Sequence[Int[Tensor, " _r"]] = (),
        grids: Sequence[tuple[int, ...]] = (),
    ) -> Float[Tensor, "r channels points"]:
        """Values of every patch, in the network's own units.

        Args:
            latents: a sample of the latent numbers at each level; the first level's rows are the patches.
            parents: for each level above the first, the row there of every patch.
            grids: patches along each axis of each datum in turn; only read where encodings are stitched.
        """
        weights = sum(self.description.weight_sizes)
        h, encoding = latents[0][:, :weights], latents[0][:, weights:]
        for level, parent in zip(latents[1:], parents, strict=True):
            h = h + level[parent]
        features = self.features(encoding, grids)
        linear = self.transform(self.tiles(encoding)).flatten(2)
        parts = h.split(self.description.weight_sizes, dim=1)
        for number, (layer, part) in enumerate(zip(self.layers, parts, strict=True)):
            weight, bias = layer(part)
            if number == 0:
                known = len(self.fourier)
                values = torch.baddbmm(bias + weight[..., :known] @ self.fourier, weight[..., known:], features)
            else:
                values = torch.baddbmm(bias, weight, features)
            features = values if number == len(self.layers) - 1 else values.sin()
        return features + linear

    def tiles(self, encoding: Float[Tensor, "r e"]) -> Float[Tensor, "r c *latent"]:
        """Latent positional encodings as arrays."""
        return encoding.reshape(-1, self.description.latent_channels, *self.description.latent)

    def features(self, encoding: Float[Tensor, "r e"], grids: Sequence[tuple[int, ...]]) -> Float[Tensor, "r f points"]:
        """Upsampled positional encodings."""
        tiles = self.tiles(encoding)
        if not self.description.stitched:
            return self.upsampler(tiles).flatten(2)
        if len(set(grids)) == 1:  # as in training; one batch is quicker
            parts, each = [tiles.unflatten(0, (len(grids), -1))], grids[:1]
        else:
            parts, each = [p[None] for p in tiles.split([math.prod(grid) for grid in grids])], grids
        features = [split(self.upsampler(stitch(part, g)), g) for part, g in zip(parts, each, strict=True)]
        return torch.cat([part.flatten(0, 1) for part in features]).flatten(2)


def convolution_of(axes: int) -> Callable[..., nn.Conv1d | nn.Conv2d | nn.Conv3d]:
    """The class of convolutions along 1, 2 or 3 axes."""
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]


def split(whole: Float[Tensor, "n c ..."], grid: tuple[int, ...]) -> Float[Tensor, "n r c *patch"]:
    """Arrays cut into ``grid`` patches along each axis, in row-major order."""
    axes = len(grid)
    pairs = [part for side, count in zip(whole.shape[2:], grid, strict=True) for part in (count, side // count)]
    order = [0, *range(2, 2 * axes + 1, 2), 1, *range(3, 2 * axes + 2, 2)]
    return whole.reshape(*whole.shape[:2], *pairs).permute(order).flatten(1, axes)


def stitch(tiles: Float[Tensor, "n r c *patch"], grid: tuple[int, ...]) -> Float[Tensor, "n c ..."]:
    """The inverse of :func:`split`."""
    axes, sides = len(grid), tiles.shape[3:]
    order = [0, axes + 1, *(place for axis in range(axes) for place in (axis + 1, axes + 2 + axis))]
    whole = tiles.unflatten(1, grid).permute(order)
    return whole.reshape(*whole.shape[:2], *(count * side for count, side in zip(grid, sides, strict=True)))


def fourier_features(description: Description) -> Float[Tensor, "f points"]:
    """Cosines, then sines, of the pixel centres of a patch in (-1, 1) (COIN++'s grid, section 3)."""
    count = description.frequencies
    steps = torch.arange(count, dtype=torch.float64) / max(count - 1, 1)
    frequencies = math.pi * description.highest**steps
    points = torch.tensor([unravel(i, description.patch) for i in range(description.points)], dtype=torch.float64)
    sides = torch.tensor(description.patch, dtype=torch.float64)
    angles = (((2 * points + 1) / sides - 1)[..., None] * frequencies).flatten(1).T
    return torch.cat([angles.cos(), angles.sin()]).float()
