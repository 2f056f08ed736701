"""Encoder from one picture of a category's object to camera pose and codes, as a start for inversion.

Inversion is section 3.4 of CLIP-NeRF (arXiv 2112.05139). The encoder is not part of the paper.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from .normalization import CodeName
from .pretrained import load_pretrained

LIKELY = 0.2
"""Peaks of the azimuth's distribution count if their probability is above this share of the highest peak's."""
GROUPS = 8
"""Groups of the group normalisation."""


@dataclass(frozen=True)
class EncodedPicture:
    """Predicted poses and codes of some pictures."""

    azimuth: Float[Tensor, "n bins"]
    """Logits of the azimuths in `PictureEncoder.directions`."""
    elevation: Float[Tensor, " n"]
    """Radians."""
    shape_code: Float[Tensor, "n s"]
    appearance_code: Float[Tensor, "n a"]

    def azimuths(self) -> list[list[float]]:
        """Likely azimuths of each picture in radians, the most probable first: the peaks of the distribution, each
        refined by the circular mean of three neighbouring directions."""
        share = self.azimuth.softmax(1)
        count = share.shape[1]
        near = torch.stack([share.roll(1, 1), share, share.roll(-1, 1)], -1)
        turn = torch.arange(-1, 2, device=share.device) * (2 * math.pi / count)
        off = torch.atan2((near * turn.sin()).sum(-1), (near * turn.cos()).sum(-1))
        peak = (share >= near.amax(-1)) & (share > LIKELY * share.amax(1, keepdim=True))
        found = []
        for row in range(len(share)):
            places = peak[row].nonzero()[:, 0]
            order = share[row, places].argsort(descending=True)
            found.append([float(i) * 2 * math.pi / count + float(off[row, i]) for i in places[order].tolist()])
        return found


class PictureEncoder(ModelMixin, ConfigMixin):
    """A small convolutional network.

    Args:
        shape: numbers of a shape code.
        appearance: numbers of an appearance code.
        size: side of the pictures in pixels.
        channels: channels of the convolutions, each of which halves the side.
        hidden: units of the hidden layer.
        bins: number of azimuths; a distribution over them, because one picture can have several likely azimuths.
        field_space: id of the field that the codes belong to.
    """

    @register_to_config
    def __init__(
        self,
        shape: int,
        appearance: int,
        *,
        size: int = 64,
        channels: tuple[int, ...] = (24, 48, 96, 128, 192),
        hidden: int = 512,
        bins: int = 36,
        field_space: str | None = None,
    ):
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in itertools.pairwise((4, *channels)):
            parts += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(GROUPS, after), nn.SiLU()]
        side = size // 2 ** len(channels)
        self.trunk = nn.Sequential(*parts, nn.Flatten(), nn.Linear(channels[-1] * side**2, hidden), nn.SiLU())
        self.head = nn.Linear(hidden, bins + 1 + shape + appearance)
        for name, width in (("shape", shape), ("appearance", appearance)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(()))

    @torch.no_grad()
    def set_statistics(self, name: CodeName, codes: Float[Tensor, "n c"]) -> None:
        """Set mean and scale of one of the codes to those of a table; the network predicts (code - mean) / scale."""
        getattr(self, f"{name}_mean").copy_(codes.mean(0))
        self.scale(name).copy_(codes.var(0).sum().sqrt())

    def scale(self, name: CodeName) -> Float[Tensor, ""]:
        """Scale of one of the codes: square root of the summed variances of the table."""
        return getattr(self, f"{name}_scale")

    @property
    def directions(self) -> Float[Tensor, " bins"]:
        """Azimuths of the bins in radians."""
        return torch.arange(self.config.bins) * (2 * math.pi / self.config.bins)

    def forward(self, pictures: Float[Tensor, "n c h w"]) -> EncodedPicture:
        """Predict poses and codes.

        Args:
            pictures: [n, 4, size, size], RGB on white and mask of the object, in 0..1.

        Raises:
            ValueError: the pictures have another size.
        """
        if pictures.shape[1:] != (4, self.config.size, self.config.size):
            raise ValueError(
                f"the encoder takes pictures [n, 4, {self.config.size}, {self.config.size}], got {list(pictures.shape)}"
            )
        sizes = [self.config.bins, 1, self.config.shape, self.config.appearance]
        azimuth, elevation, shape, appearance = self.head(self.trunk(2 * pictures - 1)).split(sizes, 1)
        return EncodedPicture(
            azimuth,
            elevation[:, 0],
            self.shape_mean + self.shape_scale * shape,
            self.appearance_mean + self.appearance_scale * appearance,
        )

    def check_space(self, field_space: str) -> None:
        """Refuse another field than the one that the encoder was trained with.

        Raises:
            ValueError: the id (`mappers.embedding_cache.space_id`) differs from the recorded one.
        """
        if self.config.field_space not in (None, field_space):
            raise ValueError(
                f"this encoder was trained with the field {self.config.field_space}, but the one in use is"
                f" {field_space}: its codes mean something else there; train one with {COMMAND}"
            )


COMMAND = "python -m nerf.conditional.train_encoder"
"""Command that trains an encoder."""


def load_picture_encoder(folder: str | Path) -> PictureEncoder:
    """Read an encoder that was saved with ``save_pretrained``.

    Raises:
        FileNotFoundError: the folder holds no encoder.
        ValueError: the folder holds a model of another class, or damaged files.
    """
    return load_pretrained(folder, (PictureEncoder,), "encoder of pictures", COMMAND)
