"""Settings of the shared trainer, free of torch so that ``--help`` answers at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How `mappers.training.trainer.fit` trains. Schedules depend on steps only, never on time."""

    steps: int = 1000
    """Optimizer steps of the whole run."""
    batch_size: int = 8
    """Samples per optimizer step, over all processes and micro-batches."""
    gradient_accumulation: int = 1
    """Micro-batches per optimizer step: more need less memory and give the same result."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon for weight matrices and AdamW for the rest, with one learning rate for both."""
    learning_rate: float = 1e-3
    """Highest learning rate, reached after the warm-up."""
    scale_learning_rate: bool = False
    """Multiply the learning rate by the batch size, as textual inversion and NeTI do."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate changes after the warm-up; linear and cosine fall to zero."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    weight_decay: float = 1e-2
    """AdamW's decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the first and the second moment."""
    eps: float = 1e-8
    """Small number in AdamW's denominator; hash grids, whose gradients are tiny, need 1e-15."""
    clip_norm: float | None = None
    """Largest norm of the whole gradient: a larger one is scaled down; none: no limit."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    """Number format of the forward and backward pass; weights stay fp32. auto: bf16 if the hardware has it."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, which is the result; none: no average."""
    compile: bool = False
    """Compile the trained modules with torch.compile."""
    max_minutes: float | None = None
    """Stop with a checkpoint after this many minutes. The learning rate follows the steps all the same."""
    save_every: int | None = 250
    """Steps between checkpoints; one is also written at the end. none: only that one."""
    keep_last: int = 2
    """How many of the latest checkpoints to keep."""
    validate_every: int | None = None
    """Steps between validations; there is also one at the end. none: no validation."""
    patience: int | None = None
    """Stop after this many validations in a row without a new lowest loss; none: do not stop early."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl and in the trackers."""
    log_with: tuple[str, ...] = ()
    """Trackers in addition to metrics.jsonl: tensorboard, wandb. If empty, TensorBoard where it is installed."""
    seed: int = 0
    """Seed of all random draws."""
    cpu: bool = False
    """Train on the CPU even if there is a GPU."""

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "gradient_accumulation", "learning_rate", "eps", "keep_last", "log_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("max_minutes", "save_every", "validate_every", "patience", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive or none, got {value}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed must have at most 63 bits, got {self.seed}")
        if self.patience is not None and self.validate_every is None:
            raise ValueError("patience counts validations, but there are none; set validate_every too")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(
                f"warmup_steps must be in 0..{self.steps} (steps), got {self.warmup_steps}; lower it"
                " (--train.warmup-steps), or take more steps"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must lie between 0 and 1, got {self.ema}")
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of gradient_accumulation {self.gradient_accumulation}"
            )

    def with_overrides(self, **values: Any) -> TrainConfig:
        """A copy with ``values`` instead of these settings; values that are None change nothing."""
        return dataclasses.replace(self, **{name: value for name, value in values.items() if value is not None})


def learning_rate(config: TrainConfig, step: int) -> float:
    """The learning rate of optimizer step ``step`` (from 0): a function of the step alone."""
    peak = config.learning_rate * (config.batch_size if config.scale_learning_rate else 1)
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    if config.schedule == "linear":
        return peak * (1 - progress)
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak
