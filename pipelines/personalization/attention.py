"""What the cross-attention layers of a UNet attend to, and where in the UNet they are."""

from __future__ import annotations

from typing import NamedTuple

from diffusers import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor


class LayerContexts(NamedTuple):
    """What each cross-attention layer attends to at one timestep."""

    keys: Float[Tensor, "l b s d"]
    values: Float[Tensor, "l b s d"]
    pooled: Float[Tensor, "b p"] | None = None
    """What a Stable Diffusion XL UNet adds to its timestep embedding."""
    context_of_layer: tuple[int, ...] | None = None
    """Which of the l contexts each layer reads, where several share one; None: each its own."""

    def read_by(self, layer: int) -> int:
        """Which of the l contexts ``layer`` reads."""
        return layer if self.context_of_layer is None else self.context_of_layer[layer]

    def rows(self, index: Tensor) -> LayerContexts:
        """The contexts of some rows of the batch."""
        pooled = None if self.pooled is None else self.pooled[index]
        return self._replace(keys=self.keys[:, index], values=self.values[:, index], pooled=pooled)


def layer_levels(unet: UNet2DConditionModel, order: list[str]) -> list[int]:
    """For each cross-attention how often the latents are halved before it: 0 for the finest."""
    coarsest = len(unet.config.down_block_types) - 1

    def level(name: str) -> int:
        block, number, *_ = name.split(".")
        if block == "down_blocks":
            return int(number)
        return coarsest - int(number) if block == "up_blocks" else coarsest

    return [level(name) for name in order]
