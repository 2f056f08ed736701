"""Settings of vision to audio and of the training of its mappers. Free of torch, so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from mappers.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class SoundConfig:
    """How `pipelines.vision_to_audio` makes a sound; none takes what the model was trained for."""

    prompt: str | None = None
    """Text to mix with the picture: its embedding is blended with the picture's."""
    prompt_weight: float = 0.5
    """Share of the text in this mixture, 0..1."""
    negative_prompt: str = ""
    """Text of sounds to move away from while denoising; empty: the unconditional prediction."""
    without: tuple[str, ...] = ()
    """Sounds, such as speech and music, whose directions are removed from the embedding before denoising."""
    guidance_scale: float | None = None
    """Weight of classifier-free guidance; 1 turns guidance and the negative prompt off."""
    inference_steps: int | None = None
    """Number of denoising steps of the generator."""
    blend: float = 0.0
    """Mixture of the mappers, 0..1: 0 is the generative one (variety), 1 the regression one (the expected sound)."""
    mapper_steps: int | None = None
    """Number of denoising steps of the generative mapper."""
    mapper_guidance_scale: float | None = None
    """Weight of classifier-free guidance of the generative mapper."""
    frames_per_second: float = 4.0
    """Frames of a video that are encoded, per second."""
    window: float | None = None
    """Video: seconds for each embedding, so that the sound follows the pictures; none: one embedding for all."""
    onset_strength: float = 0.0
    """Video: how strongly a sound begins anew where motion begins, 0..1."""

    def __post_init__(self) -> None:
        for name in ("prompt_weight", "blend", "onset_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")
        for name in ("window", "frames_per_second", "inference_steps", "mapper_steps"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name in ("guidance_scale", "mapper_guidance_scale"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")


@dataclass(frozen=True, kw_only=True)
class FitMapperConfig:
    """How `pipelines.fit_mapper` trains a mapper from pictures to sounds; defaults are the shipped settings "nano"."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=2000, batch_size=256, learning_rate=1e-3, warmup_steps=100, schedule="cosine", clip_norm=0.5,
            ema=0.995, save_every=500, validate_every=500, log_every=50,
        )
    )  # fmt: skip
    """Settings of the training loop; a linear mapper, which has a closed form, needs none of them."""
    method: Literal["prior", "regression", "linear"] = "prior"
    """prior: the paper's generative mapper. regression: its regression mapper. linear: one matrix."""
    depth: int = 4
    """Prior: number of layers."""
    heads: int = 4
    """Prior: number of attention heads."""
    head_width: int = 32
    """Prior: width of each head."""
    null_tokens: int = 1
    """Prior: number of learned tokens, in the place that a text prior has for the caption."""
    drop: float = 0.1
    """Prior: share of samples that are trained without their picture; with 0, guidance is impossible."""
    hidden: int | None = None
    """Regression: units of the hidden layer; none: four times the width of the picture embedding."""
    reverse: bool = False
    """Train from sounds to pictures; evaluate-audio needs such a mapper for the CLIP score (CS)."""
    frames_per_second: float = 4.0
    """Frames of a video that are encoded, per second."""

    def __post_init__(self) -> None:
        for name in ("depth", "heads", "head_width", "null_tokens", "frames_per_second"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.hidden is not None and self.hidden < 1:
            raise ValueError(f"hidden must be at least 1 or none, got {self.hidden}")
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must be at least 0 and below 1, got {self.drop}")
