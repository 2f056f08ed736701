"""Which base model a concept belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel


@dataclass(frozen=True)
class Fingerprint:
    """Tells whether a concept belongs to a base model, whatever precision that was loaded in."""

    layers: int
    """Cross-attention layers; of a transformer its sites, the attentions that read text."""
    width: int
    """Width of the text embeddings, of two text encoders together; of a transformer that of its sites' rows."""
    sketch: list[float] = field(repr=False)
    """A few of the model's weights."""
    mode: Literal["exact", "bypass"] = "exact"
    """exact: each layer reads contexts of its own. bypass: the word's rows are moved before each layer reads them."""
    network: str = ""
    """Class of the transformer; none for a UNet."""

    def same_layout(self, other: Fingerprint) -> bool:
        """Whether a word of one model can be used with the other at all."""
        return self._layout() == other._layout()

    def _layout(self) -> tuple[Any, ...]:
        return self.mode, self.network, self.layers, self.width, len(self.sketch)

    def described(self) -> str:
        """The layout in words."""
        if self.mode == "exact":
            return f"{self.layers} cross-attention layers and {self.width}-wide text embeddings"
        return f"{self.network} with {self.layers} sites that are {self.width} wide"

    def difference(self, other: Fingerprint) -> str | None:
        """What differs, in words; None for the same model."""
        if not self.same_layout(other):
            alike = (self.mode, self.network) == (other.mode, other.network)
            theirs = f"{other.layers} and {other.width}" if alike else other.described()
            return f"{self.described()}, the loaded model has {theirs}"
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


def site_fingerprint(net: nn.Module, sites: Mapping[str, Sequence[str]]) -> Fingerprint:
    """The fingerprint of a transformer.

    Args:
        net: the transformer.
        sites: names of its attentions that read text, and of their projections.
    """
    name, leaves = next(iter(sites.items()))
    attention = net.get_submodule(name)
    width = int(next(getattr(attention, leaf) for leaf in leaves if hasattr(attention, leaf)).in_features)
    # Vectors alone: quantization and LoRA change matrices.
    vectors = [
        _weight(module, key)
        for path, module in net.named_modules()
        for key, value in module._parameters.items()
        if value is not None and value.ndim == 1 and "lora" not in path
    ]
    chosen = vectors[:: max(1, len(vectors) // 16)]
    sketch = torch.cat([vector[:4].float().cpu() for vector in chosen])
    return Fingerprint(len(sites), width, sketch.tolist(), "bypass", type(net).__name__)


def _weight(module: nn.Module, name: str = "weight") -> Tensor:
    """A module's parameter, also while accelerate's sequential offload keeps it elsewhere."""
    weight = module.get_parameter(name).detach()
    if weight.is_meta:
        weight = module.__dict__["_hf_hook"].weights_map[name]
    return weight
