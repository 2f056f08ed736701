"""Settings of a codec's training, free of torch; the shipped ones are ``configs/compression/NAME.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from mappers.train_config import TrainConfig

from ..description import Description


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train a codec on and how."""

    data: str
    """Kind of training data below the data folder: natural32, photos, sounds, videos or volumes."""
    crop: tuple[int, ...] | None = None
    """Points along each axis of the crops that every step draws anew; none: the data as they are, all of one shape."""
    largest_shrink: float = 2.0
    """How much larger than a crop the part of a picture or frame may be that is shrunk to it."""
    description: Description = field(default_factory=Description)
    """The data's shape and the network's sizes."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Of the shared trainer."""
    round_steps: int = 50
    """Optimizer steps between closed-form updates of the priors."""
