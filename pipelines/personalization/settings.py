"""Settings of `pipelines.personalize` and `pipelines.evaluate`. Free of torch, so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from mappers.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PersonalizeConfig:
    """How `pipelines.personalize` learns a word. The defaults are the shipped settings "nano"."""

    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=100,
            batch_size=8,
            learning_rate=2e-3,
            schedule="cosine",
            save_every=50,
            log_every=5,
        )
    )
    """Settings of the training loop."""
    method: Literal["neti", "textual-inversion", "xti"] = "neti"
    """neti: NeTI's mapper. For comparison: textual-inversion learns one vector, xti one per cross-attention layer."""
    bypass: bool = True
    """NeTI: also learn a vector that is added after the text encoder (textual bypass)."""
    positional_encoding: bool = True
    """NeTI: encode timestep and layer with random Fourier features."""
    nested_dropout: float = 0.5
    """NeTI: probability of dropping the last hidden units in a training step, so that truncation works; 0: never."""
    layers: Literal["layer", "block"] = "layer"
    """Whether a word differs between cross-attention layers or between attention blocks (SDXL: 70 and 11)."""
    init: Literal["random", "category"] = "category"
    """NeTI: start at the category word, or in a random direction, as the official code does."""
    learns: Literal["object", "style"] = "object"
    """What the word is for, which decides the sentences of the training: a thing, or the style of the pictures."""
    resolution: int | None = None
    """Width and height of the training pictures in pixels; none: the model's own size."""
    aspect: Literal["square", "common"] = "square"
    """square: the centred square of each picture. common: one rectangle for all pictures, of as many pixels as the
    square and the shape that most pictures have, so that portraits keep their heads."""
    flip: float = 0.5
    """Probability of mirroring a training picture; set 0 for text and for things that mirroring changes."""
    shared_points: int = 2
    """Samples of a batch that share a timestep and a prompt; more than 1 saves time in the text encoder."""
    min_snr: float | None = None
    """Gamma of the Min-SNR weighting of the loss (5 in its paper); none: all timesteps have the same weight."""
    outside_weight: float = 0.0
    """With masks: weight of the background. Above 0, a second word is learned for the background and thrown away."""
    attention_weight: float = 0.0
    """With masks: weight of the loss that keeps the word's cross-attention inside them (0.01 in Break-A-Scene)."""
    early_resolution: int | None = None
    """Smaller width and height, in pixels, for the first early_steps steps; none: one resolution for all steps."""
    early_steps: int = 0
    """Number of steps at early_resolution."""
    held_out: int = 0
    """Number of each word's last pictures kept out of training, for train.patience; 0: it uses training pictures."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must be in 0..1, got {self.flip}")
        if not 0 <= self.outside_weight <= 1:
            raise ValueError(f"outside_weight must be in 0..1, got {self.outside_weight}")
        if not 0 <= self.nested_dropout <= 1:
            raise ValueError(f"nested_dropout must be in 0..1, got {self.nested_dropout}")
        if not self.attention_weight >= 0:
            raise ValueError(f"attention_weight must be at least 0, got {self.attention_weight}")
        if self.early_steps < 0 or (self.early_resolution is None) != (self.early_steps == 0):
            raise ValueError(
                "early_resolution and a positive early_steps belong together; "
                f"got {self.early_resolution} and {self.early_steps}"
            )
        if self.aspect != "square" and self.attention_weight:
            raise ValueError("attention_weight needs square pictures; leave aspect out")
        if self.held_out < 0:
            raise ValueError(f"held_out must be at least 0, got {self.held_out}")
        if self.min_snr is not None and not self.min_snr > 0:
            raise ValueError(f"min_snr must be positive or none, got {self.min_snr}")
        for name in ("resolution", "early_resolution"):
            value = getattr(self, name)
            if value is not None and value < 16:
                raise ValueError(f"{name} must be at least 16 pixels, got {value}")
        if self.shared_points < 1:
            raise ValueError(f"shared_points must be at least 1, got {self.shared_points}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How `pipelines.evaluate` measures a learned word."""

    prompts: tuple[str, ...] = (
        "a photo of a {}",
        "a photo of a {} on the beach",
        "a photo of a {} in the snow",
        "a photo of a {} in the night sky",
        "a sketch of a {}",
        "a watercolor of a {}",
        "a mosaic of a {}",
        "a photo of a red {}",
    )
    """Prompts, with {} where the word goes."""
    seeds: int = 4
    """Number of pictures for each prompt."""
    inference_steps: int = 25
    """Number of denoising steps."""
    guidance_scale: float = 5.0
    """Weight of classifier-free guidance."""
    truncations: tuple[float, ...] = (0.0, 0.125, 0.25, 0.5, 1.0)
    """Points of the truncation curve: shares of the mapper's hidden units that are kept, 0..1."""

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2, to measure an interval; got {self.seeds}")
        if self.inference_steps < 1:
            raise ValueError(f"inference_steps must be at least 1, got {self.inference_steps}")
        if not math.isfinite(self.guidance_scale):
            raise ValueError(f"guidance_scale must be a finite number, got {self.guidance_scale}")
        wrong = [prompt for prompt in self.prompts if prompt.count("{}") != 1]
        if wrong or not self.prompts:
            raise ValueError(f"each of prompts must have one {{}} where the word goes; these do not: {wrong}")
        if not all(0 <= share <= 1 for share in self.truncations):
            raise ValueError(f"truncations must be shares in 0..1, got {self.truncations}")
