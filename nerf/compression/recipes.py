"""Settings of a codec's training, free of torch; the shipped ones are ``configs/compression/NAME.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from mappers.train_config import TrainConfig

from .descriptions import Description


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train a codec on and how."""

    data: str
    """Kind of training data below the data folder: natural32."""
    description: Description = field(default_factory=Description)
    """The data's shape and the network's sizes."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Of the shared trainer."""
    round_steps: int = 50
    """Optimizer steps between closed-form updates of the priors."""
