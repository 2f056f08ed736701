"""Settings of training a category field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mappers.train_config import TrainConfig

from ..fields.conditional import ConditionalConfig
from .families import FAMILIES


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """How field and discriminator play against each other."""

    patch: int = 32
    """Side of the patches that the discriminator sees, pixels: a power of two, 8 or more."""
    channels: int = 512
    """Channels of the discriminator after its last stride; each stride before has half of the next."""
    discriminator_rate: float = 1.0
    """Learning rate of the discriminator relative to the field's."""
    penalty: float = 0.5
    """λ_r: weight of the discriminator's squared gradient at real patches."""
    generator: Literal["softplus", "printed"] = "softplus"
    """What the field minimises: -f(-D), whose pull stays strong where D is sure, or the f(D) that the paper prints."""
    ground: Literal["random", "white"] = "random"
    """What is behind the objects, real or not: a random colour for each patch, or white."""
    least_scale: float = 0.25
    """Smallest side of a patch relative to the picture's, in the end."""
    anneal_steps: int = 10000
    """Steps in which the smallest side falls there, exponentially, from the whole picture's."""
    density_noise: float = 0.0
    """Standard deviation of noise on the logarithm of density at the first step; GRAF has 1."""
    noise_steps: int = 4000
    """Steps in which that noise falls to nothing, linearly."""

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
    """What is trained, on how much, and how."""

    family: str = "chairs"
    """Procedural family (`nerf.conditional.families.FAMILIES`)."""
    objective: Literal["decoder", "gan"] = "decoder"
    """Codes learned with the field from posed pictures, or the paper's game against a discriminator (see `gan`)."""
    shapes: int = 256
    """Training shapes."""
    palettes: int = 32
    """Training palettes."""
    size: int = 64
    """Side of the training pictures, pixels."""
    rays: int = 256
    """Rays of every picture of a step."""
    taught_steps: int = 2000
    """First steps, with nothing but lessons at points of the family's solids; then pictures come in."""
    points: int = 512
    """Points of every lesson for density; for colour a quarter as many."""
    lesson_weight: float = 0.1
    """Weight of lessons beside pictures."""
    intervals: int = 60
    """Intervals that the diagonal of the box is marched in."""
    grid: int = 24
    """Cells along each side of the occupancy grid of every shape."""
    grid_every: int = 8
    """Steps between updates of the grids; each renews two shapes."""
    near_object: float = 0.85
    """Share of the rays that pass within three pixels of the object; the others go anywhere."""
    code_weight: float = 1e-4
    """Weight of the codes' mean square (DeepSDF's prior)."""
    code_start: float = 0.1
    """Standard deviation of fresh codes."""
    code_rate: float = 5.0
    """Learning rate of codes relative to the field's."""
    field: ConditionalConfig = dataclasses.field(default_factory=ConditionalConfig)
    """Sizes of the field."""
    gan: GanConfig = dataclasses.field(default_factory=GanConfig)
    """The game's settings, where that is the objective; of those above it heeds family, numbers, size and intervals."""
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    """How; `train.batch_size` counts pictures."""

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
