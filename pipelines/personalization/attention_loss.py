"""Where cross-attention looks for a word while it is learned, and the loss that keeps it within a mask."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

MAP_SIDE = 16
"""Maps nearest to this many cells a side are looked at: the layers that know where things are (2305.16311, 3.3)."""


class AttentionMaps:
    """Collects how much each cell of a picture attends to a word, in all cross-attentions of one size.

    Args:
        position: where the word stands in each row's prompt.
        side: cells of a side of the maps to collect; other layers are left out.
    """

    def __init__(self, position: Bool[Tensor, "b s"], side: int):
        self.position, self.side = position, side
        self._maps: list[Float[Tensor, "b q"]] = []

    def record(self, query: Float[Tensor, "b n q c"], key: Float[Tensor, "b n s c"], scale: float) -> None:
        """Take note of a layer's attention, with heads ``n``."""
        if query.shape[2] != self.side**2:
            return
        # In fp32, whatever the layer computes in: a softmax over small differences is what is learned from here.
        scores = (query @ key.transpose(-1, -2)).float() * scale
        word = self.position[:, None, None].to(scores.device)
        self._maps.append((scores.softmax(-1) * word).sum(-1).mean(1))

    def mean(self) -> Float[Tensor, "b h w"]:
        """The mean over layers and heads."""
        return torch.stack(self._maps).mean(0).unflatten(1, (self.side, self.side))


def attention_loss(attention: Float[Tensor, "b h w"], inside: Float[Tensor, "b 1 lh lw"]) -> Float[Tensor, ""]:
    """Break-A-Scene's cross-attention loss (arXiv 2305.16311, section 3.3): || CA(v, z_t) - M ||^2, its mean.

    CA is the word's attention map, averaged over heads and layers; as in the paper's code it is divided by its largest
    value, so that the shape counts and not how much attention other words leave. M is the mask at the map's size.

    Args:
        attention: maps of a word, one for each sample.
        inside: the masks, at the latents' size.
    """
    wanted = F.interpolate(inside.float(), size=attention.shape[-2:], mode="area")[:, 0]
    highest = attention.amax((1, 2), keepdim=True).clamp(min=torch.finfo(attention.dtype).tiny)
    return (attention / highest - wanted).square().mean()
