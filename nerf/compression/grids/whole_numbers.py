"""Networks in whole numbers, carried in double precision.

A product of matrices of whole numbers is exact, in whatever order its terms are added, as long as every sum stays below
2 ** 53. So any machine, number of threads and size of a batch gives the same numbers, and a decoder predicts what the
encoder predicted. All functions here take and give tensors of float64 that hold whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from . import lapped

WEIGHT, ACTIVATION, INPUT = 12, 10, 8
"""Binary places of weights, of hidden units and of the networks' inputs."""
MATRIX = 16
"""Binary places of the matrices of transforms."""
LIMIT = 2.0**53


def shifted(values: Float[Tensor, "*shape"], places: int) -> Float[Tensor, "*shape"]:
    """Values divided by two to the power ``places``, rounded to the nearest whole number, halves upwards."""
    return ((values + 2.0 ** (places - 1)) / 2.0**places).floor() if places else values


def leaky(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Negative values times 102/1024."""
    return torch.where(values < 0, (values * (102 / 1024)).floor(), values)


def squash(values: Float[Tensor, "*shape"], table: Float[Tensor, " n"]) -> Float[Tensor, "*shape"]:
    """Sign times logarithm of one plus the size, of values in sixteenths; large ones by the logarithm of a 64th."""
    size, last = values.abs(), len(table) - 1
    near = table[size.clamp_max(last).long()]
    far = table[(size / 64).floor().clamp_max(last).long()] + round(4.1588830833596715 * 2**INPUT)
    return values.sign() * torch.where(size <= last, near, far)


@dataclass(frozen=True)
class Convolution:
    """A convolution with whole-number weights."""

    weight: Float[Tensor, "out fan"]
    bias: Float[Tensor, " out"]

    @classmethod
    def of(cls, weight: Int[Tensor, "out channels *kernel"], bias: Int[Tensor, " out"] | None = None) -> Convolution:
        """From the weights of a model's file."""
        flat = weight.double().flatten(1)
        return cls(flat, torch.zeros(len(flat), dtype=torch.float64) if bias is None else bias.double())

    def __call__(self, columns: Float[Tensor, "... fan n"]) -> Float[Tensor, "... out n"]:
        return self.weight @ columns + self.bias[:, None]

    def largest(self, inputs: float) -> float:
        """Largest size of a sum, for inputs of at most this size."""
        return float((self.weight.abs().sum(1) * inputs + self.bias.abs()).max())


def windows(height: int, width: int, places: Int[Tensor, " n"]) -> Int[Tensor, "9 n"]:
    """Places of the 3 x 3 neighbourhoods of some places of an array, in the array with one more place on each side."""
    row, column = places // width, places % width
    offsets = torch.arange(3)
    return torch.stack([(row + dy) * (width + 2) + column + dx for dy in offsets for dx in offsets])


def bordered(planes: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b channels n"]:
    """Planes with their edges repeated once, flat."""
    return functional.pad(planes, (1, 1, 1, 1), mode="replicate").flatten(2)


def gathered(flat: Float[Tensor, "b channels n"], index: Int[Tensor, "9 m"]) -> Float[Tensor, "b fan m"]:
    """The columns of a 3 x 3 convolution."""
    found = flat.index_select(2, index.flatten())
    return found.unflatten(2, (9, -1)).flatten(1, 2)


def convolved(planes: Float[Tensor, "b channels h w"], layer: Convolution) -> Float[Tensor, "b out h w"]:
    """A 3 x 3 convolution at all places, edges repeated, row by row of the kernel to need little memory."""
    height, width = planes.shape[2:]
    padded = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    kernel = layer.weight.unflatten(1, (-1, 3, 3))
    total = layer.bias[:, None]
    for dy in range(3):
        for dx in range(3):
            part = padded[..., dy : dy + height, dx : dx + width].flatten(2)
            total = total + kernel[:, :, dy, dx] @ part
    return total.unflatten(2, (height, width))


def filtered(values: Float[Tensor, "... h w"], matrix: Float[Tensor, "size size"]) -> Float[Tensor, "... h w"]:
    """:func:`nerf.compression.grids.lapped.filtered` with a matrix of :data:`MATRIX` binary places."""
    return lapped.filtered(values, matrix, lambda products: shifted(products, MATRIX))
