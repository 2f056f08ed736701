"""Settings of training a category field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mappers.train_config import TrainConfig

from ..families import FAMILIES
from ..fields.conditional import ConditionalConfig


@dataclass(frozen=True, kw_only=True)
class CategoryConfig:
    """What is trained, on how much, and how."""

    family: str = "chairs"
    """Procedural family (`nerf.families.FAMILIES`)."""
    shapes: int = 256
    """Training shapes."""
    palettes: int = 32
    """Training palettes."""
    size: int = 64
    """Side of the training pictures, pixels."""
    rays: int = 256
    """Rays of every picture of a step."""
    taught_steps: int = 2000
    """First steps, in which the family's solids teach density and colour at points; pictures alone teach the others."""
    points: int = 512
    """Points of every object in those steps; for colour a quarter as many."""
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
        for name in ("taught_steps", "code_weight", "code_start"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.near_object <= 1:
            raise ValueError(f"near_object must lie in 0..1, got {self.near_object}")
        if not 2 <= self.grid <= 128:
            raise ValueError(f"grid must be in 2..128, got {self.grid}")
