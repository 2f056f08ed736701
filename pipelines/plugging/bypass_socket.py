"""Words in diffusion transformers, whatever text encoders they read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..personalization.contexts import truncated
from ..personalization.tokens import check_token
from .conventions import CONVENTIONS
from .encoders import Places, PrivateTokenizers, places_in, text_parts
from .fingerprint import Fingerprint, site_fingerprint
from .hooks import unwrapped
from .socket import PluggedWord, Socket, listed
from .transformer_hooks import TransformerHooks

PROMPT = re.compile(r"(negative_)?prompt(_\d)?")
"""Arguments of ``encode_prompt`` that hold texts."""
KEPT = 64
"""Rows of earlier prompts that are still recognized."""


class BypassSocket(Socket):
    """Moves a word's rows at each site, in a direction of the site and the noise level."""

    def _read_pipe(self) -> Fingerprint:
        net = _transformer(self.pipe)
        sites = CONVENTIONS[type(net).__name__].sites(net)
        self.layers = {name: i for i, name in enumerate(sites)}
        return site_fingerprint(net, sites)

    def forget_prompts(self) -> None:
        """Recognize no prompt that was encoded before."""
        self.records: Sequence[Places] = []
        self.tokenizers: PrivateTokenizers | None = None

    def check_token(self, token: str) -> None:
        """Refuse a token that cannot name a new word.

        Raises:
            ValueError: it is a word of the vocabulary, or has a mark of a tokenizer in it.
        """
        for name, _ in text_parts(self.pipe):
            tokenizer = getattr(self.pipe, name)
            check_token(token, getattr(tokenizer, "tokenizer", tokenizer))

    def directions(self, word: PluggedWord, time: Tensor) -> Tensor:
        """The directions [sites, width] of a word at a noise level in 0..1000."""
        count = len(self.layers)
        mapper = word.concept.mapper.to(time.device)
        at: Callable[..., Any] = truncated(mapper, word.truncation, count, range(count))
        made = at(time.expand(count), torch.arange(count, device=time.device))
        return word.scale * made.embedding

    def encode_prompt(self, *args: Any, **kwargs: Any) -> Any:
        """The pipeline's own ``encode_prompt``, with rows by which the denoiser recognizes words.

        Raises:
            ValueError: a word stands where the text encoders read no more, or has a region.
        """
        self._attach()
        bound = self.signature.bind_partial(*args, **kwargs)
        given = {name: value for name, value in bound.arguments.items() if PROMPT.fullmatch(name)}
        if not any(self.has_word(text) for value in given.values() for text in listed(value)):
            return self.original(*args, **kwargs)
        confined = [token for token, word in self.words.items() if word.region is not None]
        if confined:
            raise ValueError(
                f"the word {confined[0]} has a region, and {type(self.pipe).__name__} has a transformer, where words "
                "act everywhere; leave region out"
            )
        categories = {token: word.concept.category for token, word in self.words.items()}
        if self.tokenizers is None or self.tokenizers.categories != categories:
            self.tokenizers = PrivateTokenizers(self.pipe, categories)
        for name, value in given.items():
            texts = [self.tokenizers.written(self.pieces(text)) for text in listed(value)]
            bound.arguments[name] = texts[0] if isinstance(value, str) else texts if value else value
        with self.tokenizers.in_use() as reads:
            made = self.original(*bound.args, **bound.kwargs)
        # The settings of now: they may be changed before these prompts are drawn.
        words = [dataclasses.replace(word) for word in self.words.values()]
        found = [places for row in _rows(made) if (places := places_in(row, reads, words)) is not None]
        self._check_found(given, found)
        fresh: list[Places] = []
        for places in found:
            if not any(places.same(other) for other in fresh):
                fresh.append(places)
        older = [places for places in self.records if not any(places.same(other) for other in fresh)]
        self.records = [*older, *fresh][-KEPT:]
        for denoiser in self.denoisers:
            denoiser.forget()
        return made

    def _check_found(self, given: dict[str, Any], found: Sequence[Places]) -> None:
        tokens = {token for value in given.values() for t in listed(value) for _, token in self.pieces(t) if token}
        there = {id(word.concept) for places in found for word in places.words}
        missing = [token for token in tokens if id(self.words[token].concept) not in there]
        if missing:
            raise ValueError(
                f"the word {missing[0]} stands where {type(self.pipe).__name__} reads no more tokens of a prompt; "
                "shorten the prompt, or move the word to its front"
            )

    def _nets(self) -> list[nn.Module]:
        """The networks that read text, as the pipeline calls them."""
        names = ("transformer", "transformer_2", "controlnet")
        parts = [part for name in names if (part := getattr(self.pipe, name, None)) is not None]
        nets = [net for part in parts for net in getattr(part, "nets", [part])]
        return [net for net in nets if type(unwrapped(net)).__name__ in CONVENTIONS]

    def _hooks(self, net: nn.Module) -> TransformerHooks:
        return TransformerHooks.of(net, self.layers)


def _rows(made: Any) -> list[Tensor]:
    """All rows [s, d] of encoded prompts in what ``encode_prompt`` returns."""
    rows = []
    for part in made:
        if isinstance(part, list | tuple):
            rows += [row for row in part if isinstance(row, Tensor) and row.ndim == 2]
        elif isinstance(part, Tensor) and part.ndim == 3 and part.is_floating_point():
            rows += list(part)
    return rows


def _transformer(pipe: Any) -> nn.Module:
    """The pipeline's transformer.

    Raises:
        ValueError: it has none, of a known class, or reads no text.
    """
    name, net = type(pipe).__name__, getattr(pipe, "transformer", None)
    if not callable(getattr(pipe, "encode_prompt", None)) or not text_parts(pipe):
        raise ValueError(f"{name} has no text encoder, so it reads no prompts; load it with its text encoder")
    kind = type(unwrapped(net)).__name__
    if net is None or kind not in CONVENTIONS:
        what = "has no transformer" if net is None else f"has a {kind}, which is not known"
        raise ValueError(f"{name} {what}; `mapfield models --supported` lists the classes that words plug into")
    return unwrapped(net)
