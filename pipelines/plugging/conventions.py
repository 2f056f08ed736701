"""How each class of transformer is called, and where it reads text. File by file from diffusers 0.42."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

CROSS, ADDED = ("to_k", "to_v", "to_kv", "to_qkv"), ("add_k_proj", "add_v_proj", "to_added_qkv")
"""Projections that read text: of a cross-attention or of one sequence with the picture; of a joint attention, which has
others for the picture. The last ones are there when projections are fused."""
FUSED_WITH_MLP = ("to_qkv_mlp_proj",)
"""Of an attention that projects for its feed-forward part too."""


@dataclass(frozen=True)
class Convention:
    """What is to be known of a class of transformer."""

    models: str
    """Published models that have it."""
    attentions: Mapping[str, tuple[str, ...]]
    """Attentions that read text: a pattern of their full names, and the names of the projections that do."""
    time: Literal["timestep", "share", "rising share"] = "timestep"
    """The noise level as it is called with: 0..1000, a thousandth of it, or (1000 - level) / 1000."""
    timestep: str = "timestep"
    """Argument that holds it."""
    text: str = "encoder_hidden_states"
    """Argument that holds encoded prompts."""
    picture_first: bool = False
    """Whether the picture stands before the text where both are one sequence."""

    def noise_level(self, time: Tensor) -> Tensor:
        """The noise level in 0..1000, 1000 for noise alone."""
        time = time.double()
        return {"timestep": time, "share": time * 1000, "rising share": (1 - time) * 1000}[self.time]

    def called_with(self, level: Tensor, dtype: torch.dtype) -> Tensor:
        """What the transformer is called with at a noise level in 0..1000."""
        if self.time == "timestep":
            return level
        share = level.double() / 1000
        return (share if self.time == "share" else 1 - share).to(dtype)

    def sites(self, net: nn.Module) -> dict[str, tuple[str, ...]]:
        """Names of the attentions of ``net`` that read text, in execution order, each with its projections' names."""
        found = {}
        for pattern, leaves in self.attentions.items():
            for name, _ in net.named_modules():
                if re.fullmatch(pattern, name):
                    found[name] = leaves
        return found


JOINT = {r"transformer_blocks\.\d+\.attn": ADDED}
CROSSING = {r"transformer_blocks\.\d+\.attn2": CROSS}
ONE_SEQUENCE = {r"layers\.\d+\.attention": CROSS}
FLUX_2 = {**JOINT, r"single_transformer_blocks\.\d+\.attn": FUSED_WITH_MLP}
FLUX = {**JOINT, r"single_transformer_blocks\.\d+\.attn": CROSS}
CONVENTIONS = {
    "SD3Transformer2DModel": Convention("Stable Diffusion 3 and 3.5", JOINT),
    "SD3ControlNetModel": Convention("ControlNets of Stable Diffusion 3", JOINT),
    "FluxTransformer2DModel": Convention("FLUX.1", FLUX, "share"),
    "FluxControlNetModel": Convention("ControlNets of FLUX.1", FLUX, "share"),
    "Flux2Transformer2DModel": Convention("FLUX.2", FLUX_2, "share"),
    "QwenImageTransformer2DModel": Convention("Qwen-Image", JOINT, "share"),
    "ZImageTransformer2DModel": Convention(
        "Z-Image", ONE_SEQUENCE, "rising share", timestep="t", text="cap_feats", picture_first=True
    ),
    "PixArtTransformer2DModel": Convention("PixArt-alpha and PixArt-Sigma", CROSSING),
    "SanaTransformer2DModel": Convention("Sana", CROSSING),
    "WanTransformer3DModel": Convention("Wan 2.1 and 2.2", {r"blocks\.\d+\.attn2": CROSS}),
}
"""By the name of the class."""
