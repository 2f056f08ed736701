"""Random crops of whole pictures, sounds, videos or volumes: training data that never repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..description import Modality

JITTER = 0.15
"""Largest change of contrast, of brightness and of the balance of colours."""
QUIETEST = 0.3
"""Smallest factor of a sound's loudness."""
FAINTEST = 0.2
"""Smallest contrast of a volume."""
FASTEST, NEARER = 3.0, 0.02
"""A camera that moves over a still: its fastest motion, in pixels of the crop per frame, and the largest change of its
distance per frame, as a share."""


class Crops:
    """Draws crops: flipped, shrunk, and with changed colours or loudness, so that no two are the same.

    Args:
        modality: decides which changes are natural.
        wholes: data of any sizes, -0.5..0.5, [channels, *dims] each. A video of one frame is a still: its crops are
            videos of a camera that moves over it.
        shape: points of a crop along each axis.
        largest_shrink: largest factor by which a part of a picture or frame is shrunk to a crop.

    Raises:
        ValueError: all data are smaller than a crop.
    """

    def __init__(
        self,
        modality: Modality,
        wholes: Sequence[Float[Tensor, "channels ..."]],
        shape: tuple[int, ...],
        *,
        largest_shrink: float = 1.0,
    ):
        self.flat = len(shape) - 2 if modality in ("picture", "video") else len(shape)
        """Number of leading axes that are not shrunk."""
        fits = [
            whole
            for whole in wholes
            if all(
                have >= need
                for have, need in zip(
                    whole.shape[1:], (1, *shape[1:]) if _still(whole, modality) else shape, strict=True
                )
            )
        ]
        if not fits:
            raise ValueError(
                f"none of {len(wholes)} data is as large as a crop of {shape}; give larger data or a smaller crop"
            )
        self.modality: Modality = modality
        self.wholes, self.shape, self.largest_shrink = fits, shape, largest_shrink
        self.weights = torch.tensor([float(math.prod(whole.shape[1:])) for whole in fits])

    def draw(self, generator: torch.Generator) -> Float[Tensor, "channels ..."]:
        """A crop, -0.5..0.5."""
        whole = self.wholes[int(torch.multinomial(self.weights, 1, generator=generator))]
        uniform = torch.rand(8, generator=generator).tolist()
        flat = self.flat
        room = min(
            (have / need for have, need in zip(whole.shape[1 + flat :], self.shape[flat:], strict=True)), default=1
        )
        shrink = min(self.largest_shrink, room) ** uniform[0]
        if _still(whole, self.modality):
            return self._changed(camera_motion(whole[:, 0], self.shape, shrink, generator), uniform[4:], generator)
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
        """A crop flipped along the axes without a direction, and with other colours or loudness."""
        if self.modality == "sound":
            return crop * (QUIETEST + (1 - QUIETEST) * uniform[0]) * (1 if uniform[1] < 0.5 else -1)
        axes = range(1, crop.dim()) if self.modality == "volume" else [crop.dim() - 1]
        crop = crop.flip([axis for axis, number in zip(axes, uniform, strict=False) if number < 0.5])
        if self.modality == "volume":  # other volumes may use any part of the range, inverted too
            half, size, shift, turned = torch.rand(4, generator=generator).tolist()
            size = 1.0 if half < 0.5 else FAINTEST + (1 - FAINTEST) * size
            crop = crop * size + (1 - size) * (shift - 0.5)
            return -crop if turned < 0.25 else crop
        change = JITTER * (2 * torch.rand(1 + len(crop), generator=generator) - 1)
        shift = change[1:].view(-1, *[1] * (crop.dim() - 1))
        return (crop * (1 + change[0]) + shift / 2).clamp(-0.5, 0.5)

    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "n channels ..."]:
        """``count`` crops, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([self.draw(generator) for _ in range(count)])


def _still(whole: Float[Tensor, "channels ..."], modality: Modality) -> bool:
    """Whether a datum is a video of one frame."""
    return modality == "video" and whole.shape[1] == 1


def camera_motion(
    still: Float[Tensor, "channels height width"],
    shape: tuple[int, ...],
    shrink: float,
    generator: torch.Generator,
) -> Float[Tensor, "channels frames h w"]:
    """A video of a camera that moves and zooms over a still at constant speeds; the still is mirrored at its edges.

    Args:
        shape: frames, height and width of the video.
        shrink: pixels of the still per pixel of the video, in its middle frame.
    """
    frames, *sides = shape
    small = functional.interpolate(still[None], scale_factor=1 / shrink, mode="bilinear", antialias=True)[0]
    have, need = torch.tensor(small.shape[1:]), torch.tensor(sides)
    middle = need / 2 + torch.rand(2, generator=generator) * (have - need).clamp_min(0)
    speed = FASTEST * (2 * torch.rand(2, generator=generator) - 1) * torch.rand(1, generator=generator)
    nearing = 1 + NEARER * (2 * float(torch.rand(1, generator=generator)) - 1)
    time = torch.arange(frames) - (frames - 1) / 2
    centre = middle + time[:, None] * speed
    places = [
        centre[:, axis, None] + nearing ** time[:, None] * (torch.arange(side) + 0.5 - side / 2)
        for axis, side in enumerate(sides)
    ]
    y, x = (2 * place / size - 1 for place, size in zip(places, have.tolist(), strict=True))
    grid = torch.stack([x[:, None].expand(-1, sides[0], -1), y[:, :, None].expand(-1, -1, sides[1])], dim=-1)
    video = functional.grid_sample(
        small.expand(frames, -1, -1, -1), grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    return video.transpose(0, 1).clamp(-0.5, 0.5)
