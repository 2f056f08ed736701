"""What a picture of an object of a category shows at a glance: from where it was taken, and the object's codes.

Inversion (CLIP-NeRF, arXiv 2112.05139, section 3.4) starts from it in place of guesses. Not part of the paper.
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
"""Share of the likeliest azimuth's probability from which another peak counts."""
GROUPS = 8
"""Of channels that are normalised together."""


@dataclass(frozen=True)
class EncodedPicture:
    """What is seen in some pictures."""

    azimuth: Float[Tensor, "n bins"]
    """Logits of the directions of `PictureEncoder.directions`."""
    elevation: Float[Tensor, " n"]
    """Radians."""
    shape_code: Float[Tensor, "n s"]
    appearance_code: Float[Tensor, "n a"]

    def azimuths(self) -> list[list[float]]:
        """Of each picture the azimuths that are likely, in radians, the likeliest first: peaks among the directions,
        each the mean of three neighbours."""
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
        size: side of the pictures, pixels.
        channels: of the convolutions, each of which halves the side.
        hidden: units of the hidden layer.
        bins: directions around, for azimuths can be ambiguous.
        field_space: id of the field whose codes they are.
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
        """Count the codes of a kind from the mean of a table, in units of its spread."""
        getattr(self, f"{name}_mean").copy_(codes.mean(0))
        self.scale(name).copy_(codes.var(0).sum().sqrt())

    def scale(self, name: CodeName) -> Float[Tensor, ""]:
        """Root of the summed variances of the codes of a kind."""
        return getattr(self, f"{name}_scale")

    @property
    def directions(self) -> Float[Tensor, " bins"]:
        """Azimuths, radians."""
        return torch.arange(self.config.bins) * (2 * math.pi / self.config.bins)

    def forward(self, pictures: Float[Tensor, "n 4 size size"]) -> EncodedPicture:
        """Look at pictures: RGB on white, and where the object is, in 0..1.

        Raises:
            ValueError: they have another size.
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
        """Refuse another field than the one whose codes it learned.

        Raises:
            ValueError: the id (`mappers.pairs.space_id`) differs from the recorded one.
        """
        if self.config.field_space not in (None, field_space):
            raise ValueError(
                f"this encoder was trained with the field {self.config.field_space}, but the one in use is"
                f" {field_space}: its codes mean something else there; train one with {COMMAND}"
            )


COMMAND = "python -m nerf.conditional.train_encoder"


def load_picture_encoder(folder: str | Path) -> PictureEncoder:
    """Read an encoder that was saved with ``save_pretrained``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder holds another kind of model, or a damaged one.
    """
    return load_pretrained(folder, (PictureEncoder,), "encoder of pictures", COMMAND)
