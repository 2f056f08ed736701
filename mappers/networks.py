"""Building blocks that mappers share: the space-time encoding and nested dropout."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

TIME_STD, LAYER_STD = 0.03, 2.0
"""Bandwidths of NeTI's encoding (arXiv 2305.15391, section 4): neighbours share about 33 timesteps, not layers."""


class SpaceTimeEncoding(nn.Module):
    """Random Fourier features of (timestep, layer): ``[sin(Wx), cos(Wx)]`` scaled to unit length.

    W is drawn once, never trained and saved with the mapper. Timesteps (0..999) and layers (0..) enter as they
    are, without scaling. Always computed in fp32: under bf16 the arguments near t=999 would be off by half a
    radian.
    """

    frequencies: Tensor

    def __init__(self, size: int = 2048, *, seed: int = 0):
        super().__init__()
        if size <= 0 or size % 2:
            raise ValueError(f"size of the encoding must be even and positive, got {size}")
        generator = torch.Generator().manual_seed(seed)
        frequencies = torch.randn(size // 2, 2, generator=generator) * torch.tensor([TIME_STD, LAYER_STD])
        self.register_buffer("frequencies", frequencies)

    @torch.no_grad()
    def forward(self, timesteps: Float[Tensor, " b"], layers: Int[Tensor, " b"]) -> Float[Tensor, "b e"]:
        with torch.autocast(timesteps.device.type, enabled=False):
            points = torch.stack([timesteps.float(), layers.float()], dim=-1)
            angles = points @ self.frequencies.float().T
            return torch.cat([angles.sin(), angles.cos()], dim=-1) / len(self.frequencies) ** 0.5


def nested_dropout(
    hidden: Float[Tensor, "b h"],
    kept: Int[Tensor, " b"] | int,
) -> Float[Tensor, "b h"]:
    """Zero every unit from index ``kept`` on, row by row; ``kept`` = h changes nothing (arXiv 2305.15391, 4.3)."""
    units = torch.arange(hidden.shape[-1], device=hidden.device)
    limit = kept if isinstance(kept, int) else kept.to(hidden.device)[:, None]
    return hidden * (units < limit)
