"""The contexts that cross-attention layers attend to at each timestep, for prompts with learned words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mappers.neti import Envelope, Word

from .attention import LayerContexts
from .text_encoding import Prompt, TextEncoders, TokenizedPrompts


def layer_contexts(
    text: TextEncoders,
    prompts: Sequence[TokenizedPrompts],
    words: Mapping[str, Word],
    layers: int,
    context_of_layer: tuple[int, ...] | None = None,
) -> LayerContexts:
    """The contexts of prompts that are each seen at one timestep, by all layers, in one call of each text encoder.

    SDXL's pooled embedding belongs to no layer: it is the mean, over layers, of the embedding with that layer's words.

    Args:
        text: the model's text encoders.
        prompts: n tokenized prompts, as `TextEncoders.tokenize` gives them.
        words: for each token, its word at (prompt, layer), prompt-major: n * layers rows.
        layers: cross-attention layers, or groups of them that share a context.
        context_of_layer: see `LayerContexts`.
    """
    every = torch.arange(len(prompts[0].ids)).repeat_interleave(layers)
    encoded = text.encode([part.rows(every) for part in prompts], words)
    keys, values = (x.unflatten(0, (-1, layers)).transpose(0, 1) for x in (encoded.keys, encoded.values))
    every_layer = list(context_of_layer or range(layers))
    pooled = None if encoded.pooled is None else encoded.pooled.unflatten(0, (-1, layers))[:, every_layer].mean(1)
    return LayerContexts(keys, values, pooled, context_of_layer)


class ContextTable:
    """The contexts of some prompts at every timestep: computed in large calls when first needed, and cached.

    Prompts without a learned word have one context for all timesteps and layers. Of the others keys are kept whole, and
    of the values only the rows at a word's position, because keys and values differ there alone.

    Args:
        text: the model's text encoders.
        prompts: n prompts; None represents a context of zeros, SDXL's absent negative prompt.
        mappers: for each word, what gives it at timesteps [b] and layers [b].
        layers: cross-attention layers, or groups of them that share a context.
        context_of_layer: see `LayerContexts`.
    """

    rows_per_call = 256
    """Sequences in one call of the text encoder; bounds the memory that a call takes."""
    max_bytes = 1 << 30
    """Bytes of cached contexts above which they are dropped and computed again: 100 steps of two prompts of SD 1."""

    def __init__(
        self,
        text: TextEncoders,
        prompts: Sequence[Prompt | None],
        mappers: Mapping[str, Callable[[Tensor, Tensor], Word]],
        layers: int,
        context_of_layer: tuple[int, ...] | None = None,
    ):
        self.texts = tuple(prompts)
        self.text, self.mappers, self.layers, self.context_of_layer = text, mappers, layers, context_of_layer
        tokenized = text.tokenize([prompt or "" for prompt in prompts], list(mappers))
        has_word = torch.stack([part.has_word for part in tokenized]).any(0)
        varying = has_word.any(1)
        self.varying, self.fixed = (flag.nonzero()[:, 0].to(text.device) for flag in (varying, ~varying))
        self.order = torch.cat([self.varying, self.fixed]).argsort()
        self.tokenized = [part.rows(varying) for part in tokenized]
        self.position = has_word[varying].to(text.device)
        self.plain: Tensor | None = None
        self.pooled: Tensor | None = None
        if not varying.all():
            with torch.no_grad():
                encoded = text.encode([part.rows(~varying) for part in tokenized], {})
            present = torch.tensor([prompt is not None for prompt in prompts])[~varying].to(encoded.keys)
            self.plain = encoded.keys * present[:, None, None]
            self.pooled = None if encoded.pooled is None else encoded.pooled * present[:, None]
        self.cache: dict[float, tuple[Tensor, Tensor, Tensor | None]] = {}

    @torch.no_grad()
    def at(self, timestep: float, following: Sequence[float] = ()) -> LayerContexts:
        """The contexts of all n prompts, [layers, n, s, d] each.

        Args:
            timestep: the scheduler's, fractional ones too.
            following: timesteps that will be needed next; they are computed in the same calls.
        """
        plain = None if self.plain is None else self.plain.expand(self.layers, -1, -1, -1)
        if plain is not None and not len(self.varying):
            return LayerContexts(plain, plain, self.pooled, self.context_of_layer)
        if timestep not in self.cache:
            self._compute([timestep, *following])
        keys, rows, pooled = self.cache[timestep]
        values = keys.clone()
        values[:, self.position] = rows
        if plain is not None:
            keys, values = (torch.cat([part, plain], dim=1)[:, self.order] for part in (keys, values))
            if pooled is not None and self.pooled is not None:
                pooled = torch.cat([pooled, self.pooled])[self.order]
        return LayerContexts(keys, values, pooled, self.context_of_layer)

    def _compute(self, timesteps: Sequence[float]) -> None:
        """Compute the contexts of ``timesteps`` that are not cached, as many as one call may hold."""
        n, layers, device = len(self.varying), self.layers, self.text.device
        missing = [t for t in dict.fromkeys(timesteps) if t not in self.cache]
        times = missing[: max(1, self.rows_per_call // (layers * n))]
        at = torch.tensor(times, device=device).repeat_interleave(n * layers)
        layer = torch.arange(layers, device=device).repeat(len(times) * n)
        used = {token for part in self.tokenized for token in part.positions}
        words = {token: mapper(at, layer) for token, mapper in self.mappers.items() if token in used}
        rows = torch.arange(n).repeat(len(times))
        made = layer_contexts(
            self.text, [part.rows(rows) for part in self.tokenized], words, layers, self.context_of_layer
        )
        size = made.keys.nbytes
        if size + sum(keys.nbytes + rows.nbytes for keys, rows, _ in self.cache.values()) > self.max_bytes:
            self.cache.clear()
        for i, t in enumerate(times):
            here = slice(i * n, (i + 1) * n)
            # Copies: views would keep the memory of the whole call.
            pooled = None if made.pooled is None else made.pooled[here].clone()
            self.cache[t] = made.keys[:, here].clone(), made.values[:, here][:, self.position], pooled


def truncated(
    mapper: Any, truncation: int | Envelope | None, layers: int, blocks: Sequence[int]
) -> Callable[[Tensor, Tensor], Word]:
    """A mapper as a function of timesteps [b] and layers [b] alone, with ``truncation`` applied.

    Args:
        mapper: any mapper of words.
        truncation: units that are kept, or an `Envelope` of them.
        layers: how many layers the function is called for. A mapper that was learned for fewer knows blocks alone.
        blocks: the block of each layer.
    """

    def word(timesteps: Tensor, layer: Tensor) -> Word:
        if mapper.layers < layers:
            layer = torch.tensor(blocks, device=layer.device)[layer]
        units = truncation
        if isinstance(truncation, Envelope):
            units = truncation.units(timesteps, layer, mapper.hidden)
        return mapper(timesteps, layer, truncation=units)

    return word
