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
            steps=100,
            batch_size=8,
            learning_rate=2e-3,
            schedule="cosine",
            precision="fp32",
            save_every=50,
            log_every=10,
        )
    )
    """The shared trainer's settings."""
    method: Literal["neti", "textual-inversion", "xti"] = "neti"
    """NeTI's space-time mapper, or to compare with one plain vector or one for each cross-attention layer (XTI)."""
    bypass: bool = True
    """NeTI: also learn a residual after the text encoder."""
    positional_encoding: bool = True
    """NeTI: encode timestep and layer by random Fourier features."""
    nested_dropout: float = 0.5
    """NeTI: how often a layer's last units are dropped in training, so that the first can be kept alone; 0 never."""
    layers: Literal["layer", "block"] = "layer"
    """What a word differs between: cross-attention layers, or attention blocks, of which SDXL has 11 for 70 layers."""
    init: Literal["random", "category"] = "category"
    """NeTI: start in a random direction, as the official code does, or exactly at the category word."""
    resolution: int | None = None
    """Pixels of the training pictures; none takes the model's own size."""
    flip: float = 0.5
    """Probability of mirroring a training picture; 0 for lettering and other things with a handedness."""
    shared_points: int = 2
    """Samples of a batch that share a timestep and a sentence; above 1 saves text-encoder work."""
    min_snr: float | None = None
    """Min-SNR weighting of the loss, by its gamma (5 in its paper); none weighs all timesteps the same."""
    outside_weight: float = 0.0
    """With masks: weight of what is around the thing. Above 0 a throw-away word is learned that stands for it."""
    attention_weight: float = 0.0
    """With masks: weight of the loss that keeps the word's cross-attention within them (0.01 in Break-A-Scene)."""
    early_resolution: int | None = None
    """Pixels of the pictures in the first `early_steps` steps, fewer than later; none has one resolution."""
    early_steps: int = 0
    """Steps at `early_resolution`."""
    held_out: int = 0
    """Pictures of each word, the last ones, that only measure when `train.patience` ends; 0: the training's do."""

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
    """Prompts, {} where the word stands."""
    seeds: int = 4
    """Pictures of each prompt."""
    inference_steps: int = 25
    """Denoising steps."""
    guidance_scale: float = 5.0
    """Weight of classifier-free guidance."""
    truncations: tuple[float, ...] = (0.0, 0.125, 0.25, 0.5, 1.0)
    """Shares of the mapper's units at which the truncation curve is measured."""

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2, or there are no intervals; got {self.seeds}")
        if self.inference_steps < 1:
            raise ValueError(f"inference_steps must be at least 1, got {self.inference_steps}")
        wrong = [prompt for prompt in self.prompts if prompt.count("{}") != 1]
        if wrong or not self.prompts:
            raise ValueError(f"prompts must each have one {{}} where the word stands; look at {wrong}")
        if not all(0 <= share <= 1 for share in self.truncations):
            raise ValueError(f"truncations must be shares in 0..1, got {self.truncations}")
