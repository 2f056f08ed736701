"""Sites: the projections of a denoiser that read text, and the hooks that feed them.

Processors stay the user's: whichever is set (PyTorch's, IP-Adapter's, PAG's), it calls the same projections.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ("down_blocks", "mid_block", "up_blocks")
"""Parts of a UNet in execution order."""
FEED, CONFINE = "_mapfield_feed", "_mapfield_regions"
"""Keys of a module's ``__dict__`` under which its hook finds what to do; tensors alone lie there, so that a compiled
network needs no graph of its own for another prompt."""


class Feed(NamedTuple):
    """What a projection reads instead of the text that it is called with."""

    hit: Bool[Tensor, "b 1 1"]
    """Rows of the batch that are exchanged."""
    context: Float[Tensor, "b s d"]


def cross_attentions(net: nn.Module) -> list[str]:
    """Names of the cross-attentions that read text, in execution order.

    Modules are registered down, up, middle. AnimateDiff's motion modules have attentions of the same name, which read
    no text. A UNet of another kind has none.
    """
    names = [
        name
        for name, module in net.named_modules()
        if isinstance(module, Attention)
        and name.endswith("attn2")
        and module.is_cross_attention
        and name.split(".")[0] in STAGES
        and "motion_modules" not in name
    ]
    return sorted(names, key=lambda name: STAGES.index(name.split(".")[0]))


def blocks_of(names: list[str]) -> tuple[int, ...]:
    """The attention block of each of the layers ``names``: SDXL has 70 layers in 11 blocks, SD 16 in 16."""
    parents = [name.split(".transformer_blocks")[0] for name in names]
    order = list(dict.fromkeys(parents))
    return tuple(order.index(parent) for parent in parents)


def feed(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Pre-hook of a projection: rows of prompts with a learned word read the word's context."""
    given = module.__dict__.get(FEED)
    if given is None:
        return None
    return (_fed(given, args[0]), *args[1:])


def feed_fused(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """Hook of a projection to keys and values in one, which have different contexts: each half is computed anew."""
    given = module.__dict__.get(FEED)
    if given is None:
        return None
    weights = module.get_parameter("weight").chunk(2)
    bias = getattr(module, "bias", None)
    biases = (None, None) if bias is None else bias.chunk(2)
    parts = zip(given, weights, biases, strict=True)
    return torch.cat([F.linear(_fed(own, args[0]), weight, bias) for own, weight, bias in parts], dim=-1)


def _fed(given: Feed, text: Tensor) -> Tensor:
    return torch.where(given.hit, given.context.to(text.dtype), text)


def confine(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Pre-hook of a cross-attention: cells outside a word's region do not attend to it."""
    regions = module.__dict__.get(CONFINE)
    if regions is None:
        return None
    bias = regions.bias(args[0][:, None])[:, 0]
    mask = kwargs.get("attention_mask")
    return args, kwargs | {"attention_mask": bias if mask is None else bias + mask}
