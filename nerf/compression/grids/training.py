"""Training of a grids model: information plus weighted squared error, at steps of all sizes at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mappers.quality import psnr_of
from mappers.training.draws import Draws, key
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import Prepared, Validation

from ..learning.crops import Crops
from .network import LAGRANGIAN, GridsNetwork

COMMON_STEP = 50.0
"""The step at which a picture's loss has the weight 1. Finer steps cost more bits and get less weight."""
TRANSFORM_RATE = 0.1
"""Learning rate of the transforms relative to the networks; they start near their optimum."""
VALIDATION_STEPS = (12.0, 40.0, 120.0)
"""Steps that a validation measures."""


@dataclass(frozen=True, kw_only=True)
class GridsRecipe:
    """What to train a grids model on and how."""

    data: str = "photos"
    """Training data, a folder inside the data folder, as `nerf.compression.learning.datasets` reads it."""
    crop: tuple[int, int] = (128, 128)
    """Height and width of random crops in pixels."""
    largest_shrink: float = 3.0
    """A crop may be shrunk from a part of a picture that is up to this many times larger."""
    steps: tuple[float, float] = (3.0, 230.0)
    """Smallest and largest step that is trained, for values 0..255."""
    fine_width: int = 48
    """Width of the context networks of the fine level."""
    coarse_width: int = 32
    """Width of the context networks of the coarse level."""
    restoration_width: int = 64
    """Width of the restoration network."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Settings of the training loop."""

    @property
    def widths(self) -> dict[str, int]:
        """Arguments of the network."""
        names = ("fine_width", "coarse_width", "restoration_width")
        return {name: getattr(self, name) for name in names}


@dataclass
class Batch:
    """Data of a step."""

    pixels: Float[Tensor, "b 3 h w"]
    """-127.5..127.5."""
    steps: Float[Tensor, " b"]


class GridsTask:
    """The training task.

    Args:
        recipe: the settings.
        wholes: training pictures, -0.5..0.5, of any sizes of at least a crop.
        held_out: pictures to measure on.
    """

    def __init__(
        self,
        recipe: GridsRecipe,
        wholes: Sequence[Float[Tensor, "3 h w"]],
        held_out: Sequence[Float[Tensor, "3 h w"]] = (),
    ):
        self.recipe = recipe
        self.network = GridsNetwork(**recipe.widths)
        self.modules = {"network": self.network}
        transforms = ("fine.", "coarse.", "fine_log_gain", "coarse_log_gain")
        self.rates = {f"network.{name}": TRANSFORM_RATE for name in transforms}
        self.crops = Crops("picture", wholes, recipe.crop, largest_shrink=recipe.largest_shrink)
        self.held_out = [
            Crops("picture", [whole], recipe.crop, largest_shrink=1.0).sample(1)
            for whole in held_out
            if min(have / need for have, need in zip(whole.shape[1:], recipe.crop, strict=True)) >= 1
        ]

    def batch(self, draws: Draws) -> Batch:
        """Crops, each with a step of its own, uniform in its logarithm."""
        generators = [torch.Generator().manual_seed(key(draws.seed, draws.step, i, "crop")) for i in draws.indices]
        crops = torch.stack([self.crops.draw(generator) for generator in generators])
        smallest, largest = self.recipe.steps
        steps = smallest * (largest / smallest) ** draws.uniform("step")
        return Batch(255 * crops.to(draws.device), steps)

    def loss(self, modules: Prepared, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """The loss in bits of a pixel; a step of training measures one of the two phases."""
        bits, squared = modules["network"](batch.pixels, batch.steps, (draws.step % 2,))
        points = batch.pixels[0, 0].numel()
        loss = (bits + squared / (LAGRANGIAN * batch.steps.square())) / points
        weight = (batch.steps / COMMON_STEP).sqrt()
        return {
            "loss": (weight * loss).mean(),
            "bits": bits.mean().detach() / points,
            "psnr": psnr_of((squared / (3 * points * 255**2)).detach()).mean(),
        }

    def validate(self, modules: Prepared, step: int) -> Validation:
        """Bits of a pixel and PSNR of held-out pictures at each of the :data:`VALIDATION_STEPS`."""
        if not self.held_out:
            return {}
        figures: dict[str, float] = {"loss": 0.0}
        pixels = 255 * torch.cat(self.held_out)
        points = pixels[0, 0].numel()
        for size in VALIDATION_STEPS:
            found = [modules["network"](one[None], torch.tensor([size])) for one in pixels]
            bits, squared = (torch.cat(parts) / points for parts in zip(*found, strict=True))
            loss = (bits + squared / (LAGRANGIAN * size**2)).mean()
            figures["loss"] += float(loss) * math.sqrt(size / COMMON_STEP) / len(VALIDATION_STEPS)
            figures[f"bits_{size:g}"] = float(bits.mean())
            figures[f"psnr_{size:g}"] = float(psnr_of(squared / (3 * 255**2)).mean())
        return figures
