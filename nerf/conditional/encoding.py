"""An encoder of pictures learns from pictures of training objects what their codes and poses are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mappers.draws import Draws
from mappers.picture_encoder import Glance, PictureEncoder, load_picture_encoder
from mappers.train_config import TrainConfig
from mappers.trainer import Prepared

from ..cameras import degrees_between
from ..families import split_of
from ..families.family import ELEVATION, RADIUS
from .model import ENCODER, ConditionalModel, located
from .pictures import stacked

SHARP = 0.02
"""How narrow the peak around the true azimuth is that directions should have."""
FARTHER = 0.15
"""How much nearer or farther cameras stand than the family's, at most, as a logarithm."""
MEASURED = 256
"""Pictures of held-out objects that a validation looks at."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What counts, and how long."""

    elevation_weight: float = 10.0
    """Of its squared error, radians."""
    code_weight: float = 3.0
    """Of a code's squared error over the codes' summed variances."""
    train: TrainConfig = dataclasses.field(
        default_factory=lambda: TrainConfig(
            steps=6000, batch_size=64, learning_rate=2e-3, schedule="cosine", weight_decay=0.02, warmup_steps=50,
            precision="auto", save_every=500, validate_every=500, keep_last=1, log_every=50,
        )
    )  # fmt: skip
    """How; `train.batch_size` counts pictures."""


def encoder_of(model: str | Path) -> PictureEncoder | None:
    """The encoder in a model's folder, if it has one.

    Args:
        model: folder, or id of a shipped one.

    Raises:
        ValueError: it is damaged.
    """
    folder = located(model) / ENCODER
    return load_picture_encoder(folder) if folder.is_dir() else None


@dataclass(frozen=True)
class Seen:
    """Pictures and the truth about them."""

    pictures: Float[Tensor, "n 4 s s"]
    azimuth: Float[Tensor, " n"]
    elevation: Float[Tensor, " n"]
    codes: tuple[Float[Tensor, "n s"], Float[Tensor, "n a"]]


class EncoderTask:
    """Training shapes in training palettes from anywhere, drawn by the family; no two steps see the same pictures.

    Args:
        model: of the category; not changed.
        config: settings.

    Raises:
        ValueError: the model's instances are samples, which the family has no pictures of.
    """

    def __init__(self, model: ConditionalModel, config: EncoderConfig):
        if model.sampled:
            raise ValueError("an encoder needs pictures of the model's instances, which are samples (objective gan)")
        self.model, self.config = model, config
        self.split = split_of(model.family, len(model.shape_codes), len(model.appearance_codes))
        self.encoder = PictureEncoder(
            model.shape_codes.shape[1], model.appearance_codes.shape[1], field_space=model.space
        )
        self.encoder.settle("shape", model.shape_codes)
        self.encoder.settle("appearance", model.appearance_codes)
        self.modules: Mapping[str, nn.Module] = {"encoder": self.encoder}

    def batch(self, draws: Draws) -> Seen:
        model = self.model
        shape = draws.integers("shape", len(model.shape_codes)).cpu()
        palette = draws.integers("palette", len(model.appearance_codes)).cpu()
        turn, rise = self._angles(draws.uniform("angles", (2,)).cpu())
        far = math.exp(FARTHER * (2 * float(draws.uniform("far", ()).cpu()[0]) - 1))
        pictures = self._pictures(self.split.shapes[shape], self.split.palettes[palette], turn, rise, far)
        codes = model.shape_codes[shape], model.appearance_codes[palette]
        values = [value.to(draws.device) for value in (pictures, turn, rise, *codes)]
        return Seen(values[0], values[1], values[2], (values[3], values[4]))

    def loss(self, modules: Prepared, batch: Seen, draws: Draws) -> dict[str, Tensor]:
        config, seen = self.config, modules["encoder"](batch.pictures)
        away = batch.azimuth[:, None] - self.encoder.directions.to(batch.azimuth)
        wanted = (away.cos() / SHARP).softmax(1)
        figures = {
            "azimuth": -(wanted * seen.azimuth.log_softmax(1)).sum(1).mean(),
            "elevation": (seen.elevation - batch.elevation).square().mean(),
            "shape": self._missed(seen.shape_code, batch.codes[0], self.encoder.shape_scale),
            "appearance": self._missed(seen.appearance_code, batch.codes[1], self.encoder.appearance_scale),
        }
        codes = config.code_weight * (figures["shape"] + figures["appearance"])
        return {"loss": figures["azimuth"] + config.elevation_weight * figures["elevation"] + codes, **figures}

    @torch.no_grad()
    def validate(self, modules: Prepared, step: int) -> dict[str, float]:
        """How many poses of held-out shapes in held-out palettes are found to 10 degrees, and the median error."""
        split, device = self.split, next(self.encoder.parameters()).device
        generator = torch.Generator().manual_seed(3)
        turn, rise = self._angles(torch.rand(MEASURED, 2, generator=generator))
        shapes = split.held_shapes[torch.arange(MEASURED) % len(split.held_shapes)]
        palettes = split.held_palettes[torch.arange(MEASURED) * 7 % len(split.held_palettes)]
        seen: Glance = modules["encoder"](self._pictures(shapes, palettes, turn, rise, 1.0).to(device))
        found = torch.tensor([turns[0] for turns in seen.azimuths()])
        places, truth = (
            self.model.family.seen_from(turns, rises, 1).positions
            for turns, rises in ((found, seen.elevation.cpu()), (turn, rise))
        )
        error = degrees_between(places, truth)
        return {"within_10_degrees": float((error <= 10).float().mean()), "median_degrees": float(error.median())}

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
    def _missed(found: Tensor, wanted: Tensor, scale: Tensor) -> Float[Tensor, ""]:
        return ((found - wanted) / scale).square().sum(1).mean()
