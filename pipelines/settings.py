"""Typed settings of the public functions, free of torch so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mappers.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PersonalizeConfig:
    """How `pipelines.personalize` learns a word."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=160, batch_size=8, learning_rate=2e-3, precision="fp32", save_every=100, log_every=10
        )
    )
    """The shared trainer's settings."""
    method: Literal["neti", "textual-inversion"] = "neti"
    """NeTI's space-time mapper, or one plain vector to compare with."""
    bypass: bool = True
    """NeTI: also learn a residual after the text encoder."""
    positional_encoding: bool = True
    """NeTI: encode timestep and layer by random Fourier features."""
    init: Literal["random", "category"] = "category"
    """NeTI: start in a random direction, as the official code does, or exactly at the category word."""
    resolution: int | None = None
    """Pixels of the training pictures; none takes the model's own size."""
    flip: float = 0.5
    """Probability of mirroring a training picture; 0 for lettering and other things with a handedness."""
    shared_points: int = 2
    """Samples of a batch that share a timestep and a sentence; above 1 saves text-encoder work."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must be in 0..1, got {self.flip}")
        if self.resolution is not None and self.resolution < 16:
            raise ValueError(f"resolution must be at least 16 pixels, got {self.resolution}")
        if self.shared_points < 1:
            raise ValueError(f"shared_points must be at least 1, got {self.shared_points}")
