"""Coordinate-Aware Modulation: hidden layers scaled and shifted by small grids (CAM, arXiv 2311.14993, section 3).

y = activation(gamma(c) norm(W x + b) + beta(c)): gamma and beta come from grids over a few coordinates c of the same
point, interpolated multi-linearly; norm is over the channels of one point, so that no point depends on another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5
"""Added to variances, as in layer normalisation."""
SLACK = 1e-4
"""How far beyond 0..1 rounding may put a coordinate."""


class Modulation(nn.Module):
    """The scales and shifts of all hidden layers of one network.

    All layers share the place of a point in the grid, so that it is found and interpolated once. The table holds
    gamma - 1 and beta: it starts at zero, where modulation does nothing, and quantises symmetrically.

    Args:
        nodes: along each of one to three coordinates, at least 2; they lie at 0 and 1 and evenly between. On a
            coordinate that wraps, node 0 also follows the last one.
        layers: that are modulated.
        channels: 1 for a scale and a shift that all channels of a layer share, else the channels of a layer.
        wraps: the coordinates where 1 is 0 again, such as an angle; none when not given.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, nodes: Sequence[int], layers: int, *, channels: int = 1, wraps: Sequence[bool] = ()):
        super().__init__()
        if not 1 <= len(nodes) <= 3 or min(nodes) < 2:
            raise ValueError(
                f"a modulation grid needs at least 2 nodes along each of one to three coordinates, got {tuple(nodes)}"
            )
        if layers < 1 or channels < 1:
            raise ValueError(f"layers and channels must be at least 1, got {layers} and {channels}")
        self.nodes, self.layers, self.channels = tuple(nodes), layers, channels
        self.wraps = tuple(wraps) or (False,) * len(self.nodes)
        if len(self.wraps) != len(self.nodes):
            raise ValueError(f"wraps must say yes or no for each of {len(self.nodes)} coordinates, got {self.wraps}")
        self.table = nn.Parameter(torch.zeros(math.prod(self.nodes), layers * 2 * channels))

    def forward(self, at: Float[Tensor, "n d"]) -> Float[Tensor, "layers 2 n channels"]:
        """Scales (first) and shifts of every layer at coordinates in 0..1.

        Raises:
            ValueError: a coordinate is outside 0..1, or their number is not the grid's.
        """
        if at.shape[-1] != len(self.nodes):
            raise ValueError(f"the modulation grid has {len(self.nodes)} coordinates, got {at.shape[-1]}")
        if not len(at):
            return self.table.new_zeros(self.layers, 2, 0, self.channels)
        low, high = map(float, at.aminmax())
        if not (low >= -SLACK and high <= 1 + SLACK):
            raise ValueError(f"coordinates of a modulation grid must lie in 0..1, got {low:.4g} to {high:.4g}")
        image = self.table.T.reshape(-1, *self.nodes)
        for axis, wraps in enumerate(self.wraps, 1):
            if wraps:
                image = torch.cat([image, image.narrow(axis, 0, 1)], axis)
        places = at.to(image.dtype).flip(-1) * 2 - 1
        if len(self.nodes) == 1:  # the library knows pictures and volumes
            image, places = image[:, None], F.pad(places, (0, 1))
        places = places.view(1, -1, *[1] * (places.shape[-1] - 1), places.shape[-1])
        found = F.grid_sample(image[None], places, align_corners=True, padding_mode="border")
        values = found.view(self.layers, 2, self.channels, len(at)).transpose(2, 3)
        return values + values.new_tensor([1.0, 0.0])[:, None, None]


def normalized(hidden: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Mean 0 and variance 1 over the channels of each point."""
    return F.layer_norm(hidden, hidden.shape[-1:])


def modulated(hidden: Float[Tensor, "n c"], pair: Float[Tensor, "2 n k"]) -> Float[Tensor, "n c"]:
    """gamma norm(hidden) + beta for one layer of what `Modulation` returned; k is 1 or c."""
    scale, shift = pair.unbind(0)
    if scale.shape[-1] > 1:
        return torch.addcmul(shift, normalized(hidden), scale)
    with torch.autocast(hidden.device.type, enabled=False):  # norms of few bits would be far off
        return _NormedLine.apply(hidden.float(), scale.float(), shift.float())  # pyright: ignore[reportReturnType]


class _NormedLine(torch.autograd.Function):
    """Norm, scale and shift of the channels of a point in one, which costs a third of taking them in turn.

    With g the gradient of the result and n the normed x, sums over the channels give beta's (sum g) and gamma's
    (sum g n); x's is the norm's own for gamma g.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        # Means of products: on a CPU the library's norm takes twice as long, and its variance a hundred times.
        mean = x.mean(-1, keepdim=True)
        centred = x - mean
        variance = torch.linalg.vecdot(centred, centred)[:, None] / x.shape[-1]
        inverse = torch.rsqrt(variance + EPSILON)
        ctx.save_for_backward(x, scale, mean, inverse)
        return centred.mul_(scale * inverse).add_(shift)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, scale, mean, inverse = ctx.saved_tensors
        of_shift = grad.sum(-1, keepdim=True)
        of_scale = (torch.linalg.vecdot(grad, x)[:, None] - mean * of_shift) * inverse
        of_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad * scale, x, x.shape[-1:], mean, inverse, None, None, [True, False, False]
        )
        return of_x, of_scale, of_shift
