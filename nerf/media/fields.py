"""Fields of pictures and videos, each modulated or not, and their files.

`MODULATIONS` names what ``mapfield nerf fit --field`` may be: "cam" as published, "normed" with the norm alone and
"plain" with neither; all else about the three is the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..fields.modulation import Modulation, modulated, normalized

Modulated = Literal["cam", "normed", "plain"]
MODULATIONS: tuple[Modulated, ...] = get_args(Modulated)


@dataclass(frozen=True, kw_only=True)
class PictureConfig:
    """Sizes of a picture's field."""

    modulation: Modulated = "cam"
    """Norm and grids, the norm alone, or neither."""
    layers: int = 3
    """Hidden layers."""
    width: int = 128
    """Units of a hidden layer."""
    frequencies: int = 128
    """Random Fourier frequencies; a sine and a cosine of each enter the network."""
    bandwidth: float = 10.0
    """Standard deviation of the frequencies, periods over the picture."""
    nodes: tuple[int, int] = (32, 32)
    """Nodes of the modulation grid along height and width."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))  # JSON has lists only
        _check(self.modulation, layers=self.layers, width=self.width, frequencies=self.frequencies)


class PictureField(nn.Module):
    """Fourier features through a perceptron whose hidden layers one scale and one shift per pixel modulates."""

    name: ClassVar[str] = "picture"
    frequencies: Tensor

    def __init__(self, config: PictureConfig):
        super().__init__()
        self.config = config
        self.register_buffer("frequencies", config.bandwidth * torch.randn(2, config.frequencies))
        sizes = [2 * config.frequencies] + [config.width] * config.layers
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.last = nn.Linear(config.width, 3)
        if config.modulation == "cam":
            self.modulation = Modulation(config.nodes, config.layers)

    def forward(self, at: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """RGB in 0..1 at coordinates (y, x) in 0..1."""
        angles = 2 * math.pi * (at @ self.frequencies)
        hidden = torch.cat([angles.sin(), angles.cos()], -1)
        pairs = self.modulation(at) if self.config.modulation == "cam" else None
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if pairs is not None:
                hidden = modulated(hidden, pairs[number])
            elif self.config.modulation == "normed":
                hidden = normalized(hidden)
            hidden = F.relu(hidden)
        return torch.sigmoid(self.last(hidden))


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """Sizes of a video's field."""

    height: int
    """Height of a frame, pixels."""
    width: int
    """Width of a frame, pixels."""
    modulation: Modulated = "cam"
    """Norm and grids, the norm alone, or neither."""
    octaves: int = 8
    """Frequencies of the time's encoding."""
    channels: int = 32
    """Channels of the coarsest feature maps; each block has three quarters of those before it, at least 12."""
    blocks: int = 4
    """Convolutions, each of which doubles height and width."""
    nodes: int = 30
    """Nodes of the modulation grids along time."""

    def __post_init__(self) -> None:
        _check(self.modulation, octaves=self.octaves, channels=self.channels, blocks=self.blocks)
        if min(self.height, self.width) < 2:
            raise ValueError(f"a frame needs 2 pixels along each side, got {self.width}x{self.height}")

    @property
    def widths(self) -> list[int]:
        """Channels of the coarsest maps and after every block."""
        return [max(round(self.channels * 0.75**block), min(12, self.channels)) for block in range(self.blocks + 1)]


class VideoField(nn.Module):
    """Maps a time to coarse feature maps and these to a frame by convolutions; channels are modulated by time.

    NeRV's decoder (arXiv 2110.13903) with CAM's grids. The norm is over the pixels of one channel of one frame.
    """

    name: ClassVar[str] = "video"

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        scale = 2**config.blocks
        self.coarse = (-(-config.height // scale), -(-config.width // scale))
        widths = config.widths
        inputs, hidden = 1 + 2 * config.octaves, 4 * config.channels
        self.stem = nn.Sequential(
            nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, widths[0] * math.prod(self.coarse)), nn.GELU()
        )
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.blocks = nn.ModuleList([nn.Conv2d(a, 4 * b, 3, padding=1) for a, b in pairs])
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1)
        if config.modulation == "cam":
            self.modulation = nn.ModuleList([Modulation((config.nodes,), 1, channels=b) for _, b in pairs])

    def forward(self, times: Float[Tensor, " b"]) -> Float[Tensor, "b h w 3"]:
        """Frames in 0..1 at times in 0..1."""
        angles = times[:, None] * math.pi * 2.0 ** torch.arange(self.config.octaves, device=times.device)
        code = torch.cat([times[:, None], angles.sin(), angles.cos()], -1)
        maps = self.stem(code).view(len(times), self.config.widths[0], *self.coarse)
        for number, block in enumerate(self.blocks):
            maps = F.pixel_shuffle(block(maps), 2)
            if self.config.modulation != "plain":
                maps = F.instance_norm(maps)
            if self.config.modulation == "cam":
                scale, shift = self.modulation[number](times[:, None])[0, :, :, :, None, None]
                maps = maps * scale + shift
            maps = F.gelu(maps)
        frames = torch.sigmoid(self.last(maps))
        return frames[:, :, : self.config.height, : self.config.width].permute(0, 2, 3, 1)


def _check(modulation: str, **counts: int) -> None:
    if modulation not in MODULATIONS:
        raise ValueError(f"modulation must be one of {', '.join(MODULATIONS)}, got {modulation!r}")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


MediaField = PictureField | VideoField
MEDIA_FIELDS = {"picture": (PictureField, PictureConfig), "video": (VideoField, VideoConfig)}
"""By name: the class of a field and that of its configuration."""
PICTURE_SIZES = {"small": {}, "paper": {"width": 256, "frequencies": 256}}
VIDEO_SIZES = {"small": {}, "paper": {"channels": 96, "blocks": 5, "octaves": 16, "nodes": 60}}
"""Named sizes as differences from the configurations' defaults; "paper" is as large as the published one."""
