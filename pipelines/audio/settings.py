"""Settings of vision-to-audio and of the training of its mappers, free of torch so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from mappers.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class SoundConfig:
    """How `pipelines.vision_to_audio` makes a sound; none takes what the model was made for."""

    prompt: str | None = None
    """Text to mix with what was seen."""
    prompt_weight: float = 0.5
    """Its share, 0..1."""
    negative_prompt: str = ""
    """What to move away from while denoising; empty stands for anything."""
    without: tuple[str, ...] = ()
    """Things such as speech and music whose directions are taken out of the embedding before denoising."""
    guidance_scale: float | None = None
    """Weight of classifier-free guidance; 1 switches it and the negative prompt off."""
    inference_steps: int | None = None
    """Denoising steps."""
    blend: float = 0.0
    """From the generative mapper (0, variety) to the regression mapper (1, the expected sound)."""
    mapper_steps: int | None = None
    """Denoising steps of a generative mapper."""
    mapper_guidance_scale: float | None = None
    """Classifier-free guidance of a generative mapper."""
    frames_per_second: float = 4.0
    """Frames of a video that are looked at."""
    window: float | None = None
    """Video: seconds that share an embedding, so that the sound follows the pictures; none has one for all."""
    onset_strength: float = 0.0
    """Video: how much the sound starts anew where something starts to move, 0..1."""

    def __post_init__(self) -> None:
        for name in ("prompt_weight", "blend", "onset_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")
        for name in ("window", "frames_per_second", "inference_steps", "mapper_steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")


@dataclass(frozen=True, kw_only=True)
class FitMapperConfig:
    """How `pipelines.fit_mapper` trains a mapper from pictures to sounds."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(steps=2000, batch_size=256, validate_every=500)
    )
    """The shared trainer's settings; a linear mapper, which has a closed form, needs none of them."""
    method: Literal["prior", "regression", "linear"] = "prior"
    """The paper's generative mapper, its regression mapper, or one matrix."""
    depth: int = 4
    """Prior: layers."""
    heads: int = 4
    """Prior: attention heads."""
    head_width: int = 32
    """Prior: width of a head."""
    null_tokens: int = 1
    """Prior: learned tokens where a text prior has its caption."""
    drop: float = 0.1
    """Prior: share of samples trained without their picture; 0 rules guidance out."""
    hidden: int | None = None
    """Regression: units of the hidden layer; none takes four times the picture embedding's width."""
    reverse: bool = False
    """From sounds to pictures instead, which evaluate-audio needs for CS."""
    frames_per_second: float = 4.0
    """Frames of a video that are looked at."""

    def __post_init__(self) -> None:
        for name in ("depth", "heads", "head_width", "null_tokens", "frames_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must be at least 0 and below 1, got {self.drop}")
