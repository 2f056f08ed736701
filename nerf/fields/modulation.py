"""Coordinate-Aware Modulation: hidden layers scaled and shifted by small grids (CAM, arXiv 2311.14993, section 3).

y = activation(gamma(c) norm(W x + b) + beta(c)): gamma and beta come from grids over a few coordinates c of the same
point, interpolated multi-linearly; norm is over the channels of one point, so that no point depends on another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .interpolation import weighted_rows

EPSILON = 1e-5
"""Added to variances, as in layer normalisation."""
SLACK = 1e-4
"""How far beyond 0..1 rounding may put a coordinate."""


class Modulation(nn.Module):
    """The scales and shifts of all hidden layers of one network.

    All layers share the place of a point in the grid, so that it is found and interpolated once. The table holds
    gamma - 1 and beta: it starts at zero, where modulation does nothing, and quantises symmetrically.

    Args:
        nodes: along each coordinate, at least 2; they lie at 0 and 1 and evenly between. Of a coordinate that wraps,
            node 0 is also what follows the last one.
        layers: that are modulated.
        channels: 1 for a scale and a shift that all channels of a layer share, else the channels of a layer.
        wraps: the coordinates where 1 is 0 again, such as an angle; none when not given.

    Raises:
        ValueError: a number cannot be.
    """

    def __init__(self, nodes: Sequence[int], layers: int, *, channels: int = 1, wraps: Sequence[bool] = ()):
        super().__init__()
        if not nodes or min(nodes) < 2:
            raise ValueError(f"a modulation grid needs at least 2 nodes along each coordinate, got {tuple(nodes)}")
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
            ValueError: a coordinate is outside, or there are not as many as the grid has.
        """
        rows = weighted_rows(self.table, *self._corners(at))
        values = rows.view(len(at), self.layers, 2, self.channels).permute(1, 2, 0, 3)
        return values + values.new_tensor([1.0, 0.0])[:, None, None]

    def _corners(self, at: Float[Tensor, "n d"]) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
        """Table rows of the 2^d nodes around each point, and their weights."""
        if at.shape[-1] != len(self.nodes):
            raise ValueError(f"the modulation grid has {len(self.nodes)} coordinates, got {at.shape[-1]}")
        if len(at) and not (float(at.min()) >= -SLACK and float(at.max()) <= 1 + SLACK):
            raise ValueError(
                f"coordinates of a modulation grid must lie in 0..1, got {float(at.min()):.4g} to {float(at.max()):.4g}"
            )
        rows = torch.zeros(len(at), 1, dtype=torch.long, device=at.device)
        weights = at.new_ones(len(at), 1)
        for value, count, wraps in zip(at.clamp(0, 1).unbind(-1), self.nodes, self.wraps, strict=True):
            cells = count if wraps else count - 1
            base = (value * cells).floor().clamp(max=cells - 1)
            high = (value * cells - base)[:, None]
            node = base.long()[:, None]
            pair = torch.cat([node, (node + 1) % count], 1)
            rows = (rows[:, :, None] * count + pair[:, None]).flatten(1)
            weights = (weights[:, :, None] * torch.cat([1 - high, high], 1)[:, None]).flatten(1)
        return rows, weights


def normalized(hidden: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Mean 0 and variance 1 over the channels of each point."""
    return F.layer_norm(hidden, hidden.shape[-1:])


def modulated(hidden: Float[Tensor, "n c"], pair: Float[Tensor, "2 n k"]) -> Float[Tensor, "n c"]:
    """gamma norm(hidden) + beta for one layer of what `Modulation` returned; k is 1 or c."""
    scale, shift = pair.unbind(0)
    if scale.shape[-1] > 1:
        return torch.addcmul(shift, normalized(hidden), scale)
    return _NormedLine.apply(hidden.float(), scale, shift)  # pyright: ignore[reportReturnType]


class _NormedLine(torch.autograd.Function):
    """Norm, scale and shift of the channels of a point in one, which costs a third of taking them in turn.

    With n = (x - mean) / std and g the gradient of the result, sums over the channels give beta's (sum g), gamma's
    (sum g n) and with C channels x's: gamma / std (g - sum g / C - n sum(g n) / C), again a line of x and g.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor
    ) -> Tensor:
        # Means of products: on a CPU torch's own variance takes a hundred times as long.
        centred = x - x.mean(-1, keepdim=True)
        variance = torch.linalg.vecdot(centred, centred)[:, None] / x.shape[-1]
        inverse = torch.rsqrt(variance + EPSILON)
        slope = scale * inverse
        ctx.save_for_backward(centred, slope, inverse)
        return (centred * slope).add_(shift)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        centred, slope, inverse = ctx.saved_tensors
        of_shift = grad.sum(-1, keepdim=True)
        of_scale = torch.linalg.vecdot(grad, centred)[:, None] * inverse
        of_x = (grad * slope).sub_(centred * (slope * of_scale * inverse / centred.shape[-1]))
        return of_x.sub_(slope * of_shift / centred.shape[-1]), of_scale, of_shift
