"""Settings of a codec's training, free of torch; the shipped ones are ``configs/compression/NAME.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from mappers.training.train_config import TrainConfig

from ..description import Description


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train a codec on and how."""

    data: str
    """Training data, a folder inside the data folder: natural32, photos, sounds, videos or volumes."""
    crop: tuple[int, ...] | None = None
    """Size of random crops, in points along each axis; none: the whole data, which must all have one shape."""
    largest_shrink: float = 2.0
    """A crop may be shrunk from a part of a picture or frame that is up to this many times larger."""
    description: Description = field(default_factory=Description)
    """Shape of the data and sizes of the network."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Settings of the training loop."""
    round_steps: int = 50
    """Optimizer steps between closed-form updates of the priors."""
