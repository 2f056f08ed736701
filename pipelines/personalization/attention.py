"""Cross-attention whose keys and values come from an explicit context per layer.

The context travels as an argument of the UNet call (``cross_attention_kwargs``), so a layer can never read
another's, whatever the order of execution: recomputation under gradient checkpointing, several pipelines on one
UNet and repeated timesteps are all safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .attention_loss import AttentionMaps
from .regions import Regions


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


class ContextAttention:
    """Cross-attention ``layer`` with K from the plain context and V from the bypassed one (2305.15391, 4.4)."""

    def __init__(self, layer: int):
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "b q c"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        contexts: LayerContexts,
        regions: Regions | None = None,
        attention_maps: AttentionMaps | None = None,
        **_: Any,
    ) -> Float[Tensor, "b q c"]:
        query = attn.to_q(hidden_states)
        read = contexts.read_by(self.layer)
        key = attn.get_submodule("to_k")(contexts.keys[read].to(query.dtype))
        value = attn.get_submodule("to_v")(contexts.values[read].to(query.dtype))
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
        if attention_maps is not None:
            attention_maps.record(query, key, attn.scale)
        bias = None if regions is None else regions.bias(query)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=attn.scale)
        out = out.transpose(1, 2).flatten(2).to(hidden_states.dtype)
        return attn.to_out[1](attn.to_out[0](out)) / attn.rescale_output_factor


class _WithoutContexts:
    """A self-attention's own processor, which knows nothing of contexts, regions and maps."""

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(
        self,
        *args: Any,
        contexts: LayerContexts | None = None,
        regions: Regions | None = None,
        attention_maps: AttentionMaps | None = None,
        **kwargs: Any,
    ) -> Tensor:
        return self.processor(*args, **kwargs)


def cross_attention_order(unet: UNet2DConditionModel) -> list[str]:
    """Names of the cross-attentions in the order in which a forward pass runs them.

    Modules are *registered* down, up, middle, so their enumeration would number ten of Stable Diffusion's
    sixteen layers wrongly. The order is recorded on the smallest picture that the UNet takes.
    """
    order: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _m, _a, name=name: order.append(name))
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    ]
    side = 2 ** (len(unet.config.down_block_types) - 1)
    weight = next(unet.parameters())
    picture = torch.zeros(1, unet.config.in_channels, side, side, dtype=weight.dtype, device=weight.device)
    context = torch.zeros(1, 1, unet.config.cross_attention_dim, dtype=weight.dtype, device=weight.device)
    conditions = None
    if unet.config.addition_embed_type == "text_time":  # Stable Diffusion XL
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        conditions = {"text_embeds": context.new_zeros(1, pooled), "time_ids": context.new_zeros(1, 6)}
    try:
        with torch.no_grad():
            unet(picture, 0, context, added_cond_kwargs=conditions)
    finally:
        for hook in hooks:
            hook.remove()
    return order


def layer_levels(unet: UNet2DConditionModel, order: list[str]) -> list[int]:
    """For each cross-attention how often the latents are halved before it: 0 for the finest."""
    coarsest = len(unet.config.down_block_types) - 1

    def level(name: str) -> int:
        block, number, *_ = name.split(".")
        if block == "down_blocks":
            return int(number)
        return coarsest - int(number) if block == "up_blocks" else coarsest

    return [level(name) for name in order]


@contextmanager
def context_attention(unet: UNet2DConditionModel, order: list[str] | None = None) -> Iterator[list[str]]:
    """Within the block ``unet`` takes ``cross_attention_kwargs={"contexts": LayerContexts}``; yields the layers.

    It also takes ``regions``, to which words are confined, and ``attention_maps``, which collects attention maps.

    ``order`` is that of `cross_attention_order`, where it is known. The processors that were there before are put back
    at the end. A block within a block changes nothing.
    """
    before = dict(unet.attn_processors)
    installed = {name: p.layer for name, p in before.items() if isinstance(p, ContextAttention)}
    if installed:
        yield [name.removesuffix(".processor") for name in sorted(installed, key=lambda name: installed[name])]
        return
    order = order or cross_attention_order(unet)
    processors: dict[str, Any] = {}
    for name, processor in before.items():
        layer = name.removesuffix(".processor")
        processors[name] = ContextAttention(order.index(layer)) if layer in order else _WithoutContexts(processor)
    _set(unet, processors)
    try:
        yield order
    finally:
        _set(unet, before)


def _set(unet: nn.Module, processors: dict[str, Any]) -> None:
    """`set_attn_processor` consumes its argument."""
    unet.set_attn_processor(dict(processors))  # pyright: ignore[reportCallIssue]
