"""Sites: the projections of a denoiser that read text, and the hooks that feed them.

Processors stay the user's: whichever is set (PyTorch's, IP-Adapter's, PAG's), it calls the same projections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from ..personalization.attention_loss import AttentionMaps

STAGES = ("down_blocks", "mid_block", "up_blocks")
"""Parts of a UNet in execution order."""
FEED, CONFINE, LAYER, WATCH = "_mapfield_feed", "_mapfield_regions", "_mapfield_layer", "_mapfield_maps"
"""Keys of a module's ``__dict__`` under which its hook finds what to do; tensors alone lie there, so that a compiled
network needs no graph of its own for another prompt."""
ARGUMENT = "mapfield"
"""Key of ``cross_attention_kwargs`` under which `Given` travels where gradients are on: a layer that gradient
checkpointing runs again, after other calls, still reads what belongs to its own call."""


class Feed(NamedTuple):
    """What a projection reads instead of the text that it is called with."""

    hit: Bool[Tensor, "b 1 1"] | None
    """Rows of the batch that are exchanged; None: all."""
    context: Float[Tensor, "r s d"]
    """One for each row, or one for all."""


class Given(NamedTuple):
    """What one call of a network feeds to its sites."""

    feeds: Mapping[int, tuple[Feed, Feed] | None]
    """For each layer what its keys and its values are made of."""
    maps: AttentionMaps | None = None
    """Takes note of where the layers attend to."""


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
    if given.hit is None:
        return given.context.to(text.dtype)
    return torch.where(given.hit, given.context.to(text.dtype), text)


def take(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Pre-hook of every attention: what travels as an argument is laid out for its projections, and taken out again."""
    given: Given | None = kwargs.get(ARGUMENT)
    if given is None:
        return None
    layer = module.__dict__.get(LAYER)
    if layer is not None:
        put(module, given.feeds[layer])
        module.__dict__[WATCH] = given.maps
    return args, {name: value for name, value in kwargs.items() if name != ARGUMENT}


def put(attention: nn.Module, feeds: tuple[Feed, Feed] | None) -> None:
    """Lay out what a cross-attention's projections read next."""
    for leaf, module in projections(attention):
        module.__dict__[FEED] = feeds if leaf == "to_kv" or feeds is None else feeds[leaf == "to_v"]


def projections(attention: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The projections of an attention that read text, by name."""
    for leaf in ("to_k", "to_v", "to_kv"):
        module = attention._modules.get(leaf)
        if module is not None:
            yield leaf, module


class Watch:
    """Hooks of a cross-attention's ``to_q`` and ``to_k``, which show attention maps what is attended to.

    Args:
        attention: the cross-attention.
    """

    def __init__(self, attention: Any):
        self.attention = attention
        self.query: Tensor | None = None
        self.handles = [
            attention.to_q.register_forward_hook(self.queried),
            attention.to_k.register_forward_hook(self.keyed),
        ]

    def queried(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        """Keep the queries until the keys are there."""
        self.query = output if self.attention.__dict__.get(WATCH) is not None else None

    def keyed(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        """Take note of the layer's attention."""
        maps: AttentionMaps | None = self.attention.__dict__.get(WATCH)
        if maps is None or self.query is None:
            return
        heads = self.attention.heads
        query, key = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (self.query, output))
        self.query = None
        maps.record(query, key, self.attention.scale)

    def remove(self) -> None:
        """Take the hooks out."""
        for handle in self.handles:
            handle.remove()


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
