"""Training of a picture encoder: pictures of a family's objects to codes and pose. Not part of the paper."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mappers.picture_encoder import EncodedPicture, PictureEncoder
from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared

from ...cameras import degrees_between
from ..families.family import ELEVATION, RADIUS
from ..families.splits import split_of
from ..model import ConditionalModel
from .conditional_mean import ConditionalMean
from .target_picture import stacked

SHARP = 0.02
"""Temperature of the target distribution over directions, softmax(cos(angle to the true azimuth) / SHARP)."""
FARTHER = 0.15
"""Largest difference of the log-distance of cameras to that of the family's cameras: 14 % nearer to 16 % farther."""
SEEDS = 2**62
"""Number of different seeds of training objects."""
MEASURED = 256
"""Pictures of held-out objects that a validation measures."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Weights of the loss, optimizer and schedule."""

    elevation_weight: float = 10.0
    """Weight of the squared error of the elevation in radians."""
    code_weight: float = 3.0
    """Weight of the squared error of each code divided by the summed variances of the table's codes."""
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=12000, batch_size=64, learning_rate=2e-3, schedule="cosine", weight_decay=0.02, warmup_steps=50,
            precision="auto", save_every=500, validate_every=500, keep_last=1, log_every=50,
        )
    )  # fmt: skip
    """Optimizer and schedule; `train.batch_size` counts pictures."""


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with their true poses and expected codes."""

    pictures: Float[Tensor, "n 4 side side"]
    """RGB on white and mask, in 0..1."""
    azimuth: Float[Tensor, " n"]
    """Radians."""
    elevation: Float[Tensor, " n"]
    """Radians."""
    codes: tuple[Float[Tensor, "n s"], Float[Tensor, "n a"]]


class EncoderTask:
    """Random objects of the family from random views; no object is used twice.

    The encoder would overfit to the few objects of the model's table. So every picture shows a new object, and its
    target codes are those expected given its traits and palette (`ConditionalMean`).

    Args:
        model: category model, frozen.
        config: settings.

    Raises:
        ValueError: the model's instances are samples, of which the family has no pictures.
    """

    def __init__(self, model: ConditionalModel, config: EncoderConfig):
        if model.sampled:
            raise ValueError("an encoder needs pictures of the model's instances, which are samples (objective gan)")
        self.model, self.config = model, config
        self.split = split_of(model.family, len(model.shape_codes), len(model.appearance_codes))
        self.encoder = PictureEncoder(
            model.shape_codes.shape[1], model.appearance_codes.shape[1], field_space=model.space
        )
        self.encoder.set_statistics("shape", model.shape_codes)
        self.encoder.set_statistics("appearance", model.appearance_codes)
        self.shape_mean = ConditionalMean(model.family.traits_of(self.split.shapes), model.shape_codes)
        self.appearance_mean = ConditionalMean(self.split.palettes, model.appearance_codes)
        self.modules: Mapping[str, nn.Module] = {"encoder": self.encoder}

    def batch(self, draws: Draws) -> LabelledPictures:
        family = self.model.family
        shapes = torch.cat([family.shapes(1, seed) for seed in draws.integers("shape", SEEDS).tolist()])
        palettes = torch.cat([family.palettes(1, seed) for seed in draws.integers("palette", SEEDS).tolist()])
        turn, rise = self._angles(draws.uniform("angles", (2,)).cpu())
        far = math.exp(FARTHER * (2 * float(draws.uniform("far", ()).cpu()[0]) - 1))
        pictures = self._pictures(shapes, palettes, turn, rise, far)
        expected = self.expected_codes(shapes, palettes)
        values = [value.to(draws.device) for value in (pictures, turn, rise, *expected)]
        return LabelledPictures(values[0], values[1], values[2], (values[3], values[4]))

    def loss(self, modules: Prepared, batch: LabelledPictures, draws: Draws) -> dict[str, Tensor]:
        config, seen = self.config, modules["encoder"](batch.pictures)
        away = batch.azimuth[:, None] - self.encoder.directions.to(batch.azimuth)
        wanted = (away.cos() / SHARP).softmax(1)
        figures = {
            "azimuth": -(wanted * seen.azimuth.log_softmax(1)).sum(1).mean(),
            "elevation": (seen.elevation - batch.elevation).square().mean(),
            "shape": self._relative_error(seen.shape_code, batch.codes[0], self.encoder.shape_scale),
            "appearance": self._relative_error(seen.appearance_code, batch.codes[1], self.encoder.appearance_scale),
        }
        codes = config.code_weight * (figures["shape"] + figures["appearance"])
        return {"loss": figures["azimuth"] + config.elevation_weight * figures["elevation"] + codes, **figures}

    @torch.no_grad()
    def validate(self, modules: Prepared, step: int) -> dict[str, float]:
        """Of held-out shapes in held-out palettes: share of poses within 10 degrees, median error in degrees, and share
        of the variance of the expected codes that the encoder explains (R²)."""
        split, device = self.split, next(self.encoder.parameters()).device
        generator = torch.Generator().manual_seed(3)
        turn, rise = self._angles(torch.rand(MEASURED, 2, generator=generator))
        shapes = split.held_out_shapes[torch.arange(MEASURED) % len(split.held_out_shapes)]
        palettes = split.held_out_palettes[torch.arange(MEASURED) * 7 % len(split.held_out_palettes)]
        seen: EncodedPicture = modules["encoder"](self._pictures(shapes, palettes, turn, rise, 1.0).to(device))
        found = torch.tensor([turns[0] for turns in seen.azimuths()])
        places, truth = (
            self.model.family.seen_from(turns, rises, 1).positions
            for turns, rises in ((found, seen.elevation.cpu()), (turn, rise))
        )
        error = degrees_between(places, truth)
        shape, appearance = (code.to(device) for code in self.expected_codes(shapes, palettes))
        shape_error = self._relative_error(seen.shape_code, shape, self.encoder.shape_scale)
        appearance_error = self._relative_error(seen.appearance_code, appearance, self.encoder.appearance_scale)
        return {
            "within_10_degrees": float((error <= 10).float().mean()), "median_degrees": float(error.median()),
            "shape_r2": 1 - float(shape_error), "appearance_r2": 1 - float(appearance_error),
        }  # fmt: skip

    def expected_codes(
        self, shapes: Float[Tensor, "n p"], palettes: Float[Tensor, "n q"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n a"]]:
        """Expected shape and appearance codes of objects given their parameters."""
        return self.shape_mean(self.model.family.traits_of(shapes)), self.appearance_mean(palettes)

    def _pictures(self, shapes: Tensor, palettes: Tensor, turn: Tensor, rise: Tensor, far: float) -> Tensor:
        cameras = self.model.family.seen_from(turn, rise, self.encoder.config.size, RADIUS * far)
        rgb, alpha, _ = self.model.family.render(shapes, palettes, cameras)
        return stacked(rgb, alpha)

    @staticmethod
    def _angles(uniform: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Azimuths and elevations in radians."""
        low, high = ELEVATION
        return 2 * math.pi * uniform[:, 0], torch.deg2rad(low + (high - low) * uniform[:, 1])

    @staticmethod
    def _relative_error(found: Tensor, wanted: Tensor, scale: Tensor) -> Float[Tensor, ""]:
        """Mean over pictures of the squared distance of two codes, in units of the codes' summed variances."""
        return ((found - wanted) / scale).square().sum(1).mean()
