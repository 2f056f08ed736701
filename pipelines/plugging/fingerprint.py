"""Which base model a concept belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel


@dataclass(frozen=True)
class Fingerprint:
    """Tells whether a concept belongs to a base model, whatever precision that was loaded in."""

    layers: int
    """Cross-attention layers."""
    width: int
    """Width of the text embeddings, of two text encoders together."""
    sketch: list[float] = field(repr=False)
    """A few of the model's weights."""

    def same_layout(self, other: Fingerprint) -> bool:
        """Whether a word of one model can be used with the other at all."""
        return (self.layers, self.width, len(self.sketch)) == (other.layers, other.width, len(other.sketch))

    def difference(self, other: Fingerprint) -> str | None:
        """What differs, in words; None for the same model."""
        if not self.same_layout(other):
            return (
                f"{self.layers} cross-attention layers and {self.width}-wide text embeddings, "
                f"the loaded model has {other.layers} and {other.width}"
            )
        mine, theirs = torch.tensor(self.sketch), torch.tensor(other.sketch)
        # Rounding to bf16 moves a weight by up to 0.4 %, further training moves it more.
        if not torch.allclose(mine, theirs, rtol=0.01, atol=1e-6):
            return "other weights than the loaded model"
        return None


def fingerprint(unet: UNet2DConditionModel, text_encoders: Sequence[CLIPTextModel], layers: int) -> Fingerprint:
    """The fingerprint of a base model."""
    tables = [_weight(encoder.get_input_embeddings()) for encoder in text_encoders]
    parts = [*(table[:: max(1, len(table) // 16), 0] for table in tables), _weight(unet.conv_in).flatten()]
    sketch = torch.cat([part.detach().flatten()[:16].float().cpu() for part in parts])
    return Fingerprint(layers, sum(table.shape[1] for table in tables), sketch.tolist())


def _weight(module: nn.Module) -> Tensor:
    """A module's weight, also while accelerate's sequential offload keeps it elsewhere."""
    weight = module.get_parameter("weight").detach()
    if weight.is_meta:
        weight = module.__dict__["_hf_hook"].weights_map["weight"]
    return weight
