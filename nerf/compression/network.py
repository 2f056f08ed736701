"""The network behind every datum: a SIREN whose weights come from latent numbers through shared matrices.

Everything is batched over rows, one row a patch. Arrays are channel first: features [r, channels, points].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from .descriptions import Description, unravel

OMEGA = 6.0
"""Factor inside the sine, part of the weights. SIREN's 30 (arXiv 2006.09661) makes the features too rough to learn."""
SPREAD = 0.1
"""What unit latent numbers change the weights by at the start, relative to the weights."""


class SharedLinear(nn.Module):
    """Weights and biases of one layer for every row: ``w = base + h A`` (arXiv 2309.17182, section 3.1).

    ``A`` is shared by all data and learned with the prior. Deviations: ``base``, which the paper leaves to the prior
    mean and ``A``, is explicit, so that the latents ``h`` are standardised; and ``A`` may have fewer rows than there
    are weights.
    """

    def __init__(self, outputs: int, inputs: int, latent: int, *, place: str):
        super().__init__()
        self.outputs, self.inputs = outputs, inputs
        bound = {"first": OMEGA / inputs, "hidden": math.sqrt(6 / inputs), "last": math.sqrt(6 / inputs) / OMEGA}[place]
        self.base = nn.Parameter(torch.empty(outputs * (inputs + 1)).uniform_(-bound, bound))
        scale = SPREAD * bound / math.sqrt(3 * latent)
        self.matrix = nn.Parameter(torch.randn(latent, outputs * (inputs + 1)) * scale)

    def forward(self, h: Float[Tensor, "r l"]) -> tuple[Float[Tensor, "r o i"], Float[Tensor, "r o 1"]]:
        weights = torch.addmm(self.base, h, self.matrix).view(-1, self.outputs, self.inputs + 1)
        return weights[..., 1:], weights[..., :1]


class Upsampler(nn.Module):
    """Latent positional encodings to features at every point (section 3.2): nearest neighbours, then a convolution."""

    def __init__(self, description: Description):
        super().__init__()
        axes = len(description.patch)
        kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        sizes = (description.latent_channels, *description.upsampler)
        self.factors = [tuple(float(f) for f in factor) for factor in description.factors]
        self.convolutions = nn.ModuleList(
            kind(a, b, description.kernel, padding=description.kernel // 2)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight)

    def forward(self, encoding: Float[Tensor, "n c *latent"]) -> Float[Tensor, "n f *patch"]:
        for stage, (factor, convolution) in enumerate(zip(self.factors, self.convolutions, strict=True)):
            if stage:
                encoding = functional.leaky_relu(encoding)
            encoding = convolution(functional.interpolate(encoding, scale_factor=factor, mode="nearest"))
        return encoding


class Representation(nn.Module):
    """Latent numbers to values: ``forward`` draws every patch, ``[r, channels, points]``.

    Deviation: the SIREN adds to a linear transform of the positional encoding, which starts as the data's principal
    components (:mod:`nerf.compression.start`). Training so begins with a working transform code; from random weights
    it would need hours to get there.
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
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(description.patch) - 1]
        block = description.block
        self.transform = kind(description.latent_channels, description.channels, block, stride=block, bias=False)
        self.register_buffer("fourier", fourier_features(description), persistent=False)

    def forward(
        self,
        latents: Sequence[Float[Tensor, "rows columns"]],
        parents: Sequence[Int[Tensor, " r"]] = (),
        grids: Sequence[tuple[int, ...]] = (),
    ) -> Float[Tensor, "r channels points"]:
        """Values of every patch, in the network's own units.

        Args:
            latents: a sample of the latent numbers at each level; the first level's rows are the patches.
            parents: for each level above the first, the row there of every patch.
            grids: patches along each axis of each datum in turn; needed where encodings are stitched.
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
        tiles, patch = self.tiles(encoding), self.description.patch
        if not self.description.stitched:
            return self.upsampler(tiles).flatten(2)
        parts = tiles.split([math.prod(grid) for grid in grids])
        wholes = [stitch(part, grid) for part, grid in zip(parts, grids, strict=True)]
        if len(set(grids)) == 1:  # as in training: all at once is quicker
            drawn = self.upsampler(torch.stack(wholes))
        else:
            drawn = [self.upsampler(whole[None])[0] for whole in wholes]
        return torch.cat([split(d, grid, patch) for d, grid in zip(drawn, grids, strict=True)]).flatten(2)


def stitch(tiles: Float[Tensor, "r c *patch"], grid: tuple[int, ...]) -> Float[Tensor, "c ..."]:
    """Patches in row-major order put together."""
    axes, channels, patch = len(grid), tiles.shape[1], tiles.shape[2:]
    order = [axes, *(place for axis in range(axes) for place in (axis, axes + 1 + axis))]
    whole = tiles.reshape(*grid, channels, *patch).permute(order)
    return whole.reshape(channels, *(count * size for count, size in zip(grid, patch, strict=True)))


def split(whole: Float[Tensor, "c ..."], grid: tuple[int, ...], patch: tuple[int, ...]) -> Float[Tensor, "r c *patch"]:
    """The inverse of :func:`stitch`."""
    axes = len(grid)
    pairs = [size for count, side in zip(grid, patch, strict=True) for size in (count, side)]
    order = [*range(1, 2 * axes, 2), 0, *range(2, 2 * axes + 1, 2)]
    return whole.reshape(whole.shape[0], *pairs).permute(order).reshape(-1, whole.shape[0], *patch)


def fourier_features(description: Description) -> Float[Tensor, "f points"]:
    """Cosines, then sines, of the pixel centres of a patch in (-1, 1) (COIN++'s grid, section 3)."""
    count = description.frequencies
    steps = torch.arange(count, dtype=torch.float64) / max(count - 1, 1)
    frequencies = math.pi * description.highest**steps
    points = torch.tensor([unravel(i, description.patch) for i in range(description.points)], dtype=torch.float64)
    sides = torch.tensor(description.patch, dtype=torch.float64)
    angles = (((2 * points + 1) / sides - 1)[..., None] * frequencies).flatten(1).T
    return torch.cat([angles.cos(), angles.sin()]).float()
