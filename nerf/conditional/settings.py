"""Settings of training a category field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mappers.training.train_config import TrainConfig

from ..fields.conditional import ConditionalConfig
from .families import FAMILIES


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """Settings of the adversarial training."""

    patch: int = 32
    """Side of the discriminator's patches in pixels: a power of two, 8 or more."""
    channels: int = 512
    """Channels after the discriminator's last strided convolution; each earlier one has half as many as the next."""
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator relative to the field's."""
    penalty: float = 0.5
    """λ_r of the paper: weight of the squared gradient norm of the discriminator at real patches (R1)."""
    generator: Literal["softplus", "printed"] = "softplus"
    """Loss of the field: "softplus" is -f(-D), which does not saturate; "printed" is f(D), as the paper prints it."""
    ground: Literal["random", "white"] = "random"
    """Background of real and rendered patches: a random colour for each patch, or white."""
    least_scale: float = 0.25
    """Smallest side of a patch relative to the picture's side, after `anneal_steps`."""
    anneal_steps: int = 10000
    """Steps over which the smallest relative side falls exponentially from 1 to `least_scale`."""
    density_noise: float = 0.0
    """Standard deviation of the noise on log-density at the first step; GRAF uses 1."""
    noise_steps: int = 4000
    """Steps over which this noise falls linearly to zero."""

    def __post_init__(self) -> None:
        if self.patch < 8 or self.patch & (self.patch - 1):
            raise ValueError(f"gan.patch must be a power of two from 8 on, got {self.patch}")
        strides = self.patch.bit_length() - 3
        if self.channels < 1 or self.channels % 2 ** (strides - 1):
            raise ValueError(
                f"gan.channels are halved {strides - 1} times for patches of {self.patch} and must allow it, got"
                f" {self.channels}"
            )
        for name in ("discriminator_rate", "anneal_steps", "noise_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"gan.{name} must be positive, got {getattr(self, name)}")
        for name in ("penalty", "density_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"gan.{name} must not be negative, got {getattr(self, name)}")
        if not 0 < self.least_scale <= 1:
            raise ValueError(f"gan.least_scale must be above 0 and at most 1, got {self.least_scale}")


@dataclass(frozen=True, kw_only=True)
class CategoryConfig:
    """Settings of a category field's training: data, objective and sizes."""

    family: str = "chairs"
    """Procedural family (`nerf.conditional.families.FAMILIES`)."""
    objective: Literal["decoder", "gan"] = "decoder"
    """Objective: codes and field learned from posed pictures, or the paper's adversarial training (see `gan`)."""
    shapes: int = 256
    """Number of training shapes."""
    palettes: int = 32
    """Number of training palettes."""
    size: int = 64
    """Side of the training pictures in pixels."""
    rays: int = 256
    """Rays for each picture of a step."""
    taught_steps: int = 2000
    """First steps, which use only point supervision from the family's solids; later steps use pictures too."""
    points: int = 512
    """Points for each object that supervise density; a quarter as many supervise colour."""
    lesson_weight: float = 0.1
    """Weight of the point supervision once pictures are used; pictures have weight 1."""
    intervals: int = 60
    """Number of sampling intervals along the diagonal of the box."""
    grid: int = 24
    """Cells along each side of each shape's occupancy grid."""
    grid_every: int = 8
    """Steps between two updates of the grids; an update renews two shapes."""
    near_object: float = 0.85
    """Share of the rays within three pixels of the object; the others are uniform over the picture."""
    code_weight: float = 1e-4
    """Weight of the mean square of the codes (DeepSDF's prior)."""
    code_start: float = 0.1
    """Standard deviation of the initial codes."""
    code_rate: float = 5.0
    """Learning rate of the codes relative to the field's."""
    field: ConditionalConfig = dataclasses.field(default_factory=ConditionalConfig)
    """Sizes of the field."""
    gan: GanConfig = dataclasses.field(default_factory=GanConfig)
    """Settings of the objective "gan"; of those above it uses family, shapes, palettes, size, intervals and field."""
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    """Optimizer and schedule; `train.batch_size` counts pictures."""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {self.family!r}")
        if self.palettes < 2:
            raise ValueError(f"palettes must be at least 2, got {self.palettes}: some pairs are held out")
        for name in ("shapes", "palettes", "size", "rays", "points", "intervals", "grid_every", "code_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("taught_steps", "lesson_weight", "code_weight", "code_start"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.near_object <= 1:
            raise ValueError(f"near_object must lie in 0..1, got {self.near_object}")
        if not 2 <= self.grid <= 128:
            raise ValueError(f"grid must be in 2..128, got {self.grid}")
        if self.objective == "gan":
            if self.gan.patch > self.size:
                raise ValueError(f"gan.patch must be at most size ({self.size}), got {self.gan.patch}")
            if self.train.compile:
                raise ValueError("train.compile must be off for the objective gan: its penalty is differentiated twice")
