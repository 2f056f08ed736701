"""Training data that never repeat: random crops of whole pictures, sounds, videos or volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .descriptions import Modality

JITTER = 0.15
"""Largest change of contrast, of brightness and of the balance of colours."""
QUIETEST = 0.3
"""Smallest factor of a sound's loudness."""


class Crops:
    """Draws crops: turned over, shrunk and with other colours or loudness, so that no two are the same.

    Args:
        modality: says which changes leave a datum one of its kind.
        wholes: data of any sizes, -0.5..0.5, [channels, *dims] each.
        shape: points of a crop along each axis.
        largest_shrink: how much larger than a crop the part of a picture or frame may be that is shrunk to it.

    Raises:
        ValueError: no whole is as large as a crop.
    """

    def __init__(
        self,
        modality: Modality,
        wholes: Sequence[Float[Tensor, "channels ..."]],
        shape: tuple[int, ...],
        *,
        largest_shrink: float = 1.0,
    ):
        fits = [w for w in wholes if all(have >= need for have, need in zip(w.shape[1:], shape, strict=True))]
        if not fits:
            raise ValueError(f"none of {len(wholes)} data is as large as a crop of {shape}; give larger ones")
        self.modality, self.wholes, self.shape, self.largest_shrink = modality, fits, shape, largest_shrink
        self.weights = torch.tensor([float(math.prod(whole.shape[1:])) for whole in fits])

    def draw(self, generator: torch.Generator) -> Float[Tensor, "channels ..."]:
        """A crop, -0.5..0.5."""
        whole = self.wholes[int(torch.multinomial(self.weights, 1, generator=generator))]
        uniform = torch.rand(8, generator=generator).tolist()
        flat = len(self.shape) - 2 if self.modality in ("picture", "video") else len(self.shape)  # axes not shrunk
        room = min(
            (have / need for have, need in zip(whole.shape[1 + flat :], self.shape[flat:], strict=True)), default=1
        )
        shrink = min(self.largest_shrink, room) ** uniform[0]
        part = [size if axis < flat else round(size * shrink) for axis, size in enumerate(self.shape)]
        for axis, (size, at) in enumerate(zip(part, uniform[1:], strict=False), 1):
            whole = whole.narrow(axis, int(at * (whole.shape[axis] - size + 1)), size)
        if tuple(part) != self.shape:
            frames = whole.reshape(-1, 1, *part[flat:])
            whole = functional.interpolate(frames, self.shape[flat:], mode="bilinear", antialias=True)
        return self._changed(whole.reshape(-1, *self.shape), uniform[4:], generator)

    def _changed(
        self, crop: Float[Tensor, "channels ..."], uniform: Sequence[float], generator: torch.Generator
    ) -> Float[Tensor, "channels ..."]:
        """Turned over along the axes without a direction, and in other colours or loudness."""
        if self.modality == "sound":
            return crop * (QUIETEST + (1 - QUIETEST) * uniform[0]) * (1 if uniform[1] < 0.5 else -1)
        axes = range(1, crop.dim()) if self.modality == "volume" else [crop.dim() - 1]
        crop = crop.flip([axis for axis, number in zip(axes, uniform, strict=False) if number < 0.5])
        if self.modality == "volume":
            return crop
        change = JITTER * (2 * torch.rand(1 + len(crop), generator=generator) - 1)
        shift = change[1:].view(-1, *[1] * (crop.dim() - 1))
        return (crop * (1 + change[0]) + shift / 2).clamp(-0.5, 0.5)

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "n channels ..."]:
        """``count`` crops, always the same."""
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([self.draw(generator) for _ in range(count)])
