"""From prompts with placeholders to what every cross-attention layer attends to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from mappers.neti import Word

from .attention import LayerContexts

BYPASS_SCALE = 0.2
"""Length of the textual bypass relative to the embedding it is added to (arXiv 2305.15391, section 4.4)."""


@dataclass
class TokenizedPrompts:
    """Prompts as token ids, and where each concept's word stands.

    The tokenizer is never changed: prompts are cut at the placeholders and the pieces tokenized.
    """

    ids: Int[Tensor, "n s"]
    """Token ids; a placeholder's own id is the end mark, which its embedding replaces."""
    places: dict[str, Bool[Tensor, "n s"]]
    """For each token that occurs, where."""

    def rows(self, index: Tensor) -> TokenizedPrompts:
        """Some of the prompts, in any order and number."""
        return TokenizedPrompts(self.ids[index], {token: place[index] for token, place in self.places.items()})

    @property
    def anywhere(self) -> Bool[Tensor, "n s"]:
        """Where any word stands."""
        return torch.stack([torch.zeros_like(self.ids, dtype=torch.bool), *self.places.values()]).any(0)


def tokenize(tokenizer: CLIPTokenizer, prompts: Sequence[str], tokens: Sequence[str]) -> TokenizedPrompts:
    """Token ids of ``prompts``, padded to the model's length, with the places of ``tokens`` in them.

    Raises:
        ValueError: a prompt is longer than the text encoder takes.
    """
    length = tokenizer.model_max_length
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = torch.full((len(prompts), length), pad)
    places = {token: torch.zeros(len(prompts), length, dtype=torch.bool) for token in tokens}
    # The longest token first, so that <cat> cannot hide in <cat>s.
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    for row, prompt in enumerate(prompts):
        pieces = re.split(f"({pattern})", prompt) if tokens else [prompt]
        at = [start]
        for piece in pieces:
            if piece in places:
                if len(at) < length:
                    places[piece][row, len(at)] = True
                at.append(end)
            else:
                at.extend(tokenizer(piece, add_special_tokens=False).input_ids)
        at.append(end)
        if len(at) > length:
            raise ValueError(
                f"the prompt {prompt!r} has {len(at) - 2} tokens, the model reads {length - 2}; shorten it"
            )
        ids[row, : len(at)] = torch.tensor(at)
    return TokenizedPrompts(ids, {token: place for token, place in places.items() if place.any()})


def encode_rows(
    text_encoder: CLIPTextModel, prompts: TokenizedPrompts, words: Mapping[str, Word]
) -> tuple[Float[Tensor, "n s d"], Float[Tensor, "n s d"]]:
    """Key and value contexts of prompts whose n rows have a word each, in one text-encoder call.

    The word's input embedding stands in for the placeholder. Its bypass is added before the final LayerNorm,
    h + 0.2 |h| v/|v| (arXiv 2305.15391, section 4.4), to what becomes the values; keys do without.

    Returns:
        Keys and values, [n, s, d]. They differ only where a word with a bypass stands.
    """
    device = next(text_encoder.parameters()).device
    places = {token: place.to(device) for token, place in prompts.places.items()}
    replacements = [(place, words[token].embedding) for token, place in places.items()]
    with _replaced_embeddings(text_encoder, replacements), _captured_final_norm(text_encoder) as captured:
        keys = text_encoder(input_ids=prompts.ids.to(device)).last_hidden_state
    values = keys
    for token, place in places.items():
        bypass = words[token].bypass
        if bypass is None:
            continue
        row, _column = place.nonzero(as_tuple=True)
        before = captured[0][place]
        step = BYPASS_SCALE * before.norm(dim=-1, keepdim=True) * F.normalize(bypass[row].to(before.dtype), dim=-1)
        bypassed = _final_norm(text_encoder)(before + step).to(values.dtype)
        values = values.masked_scatter(place[..., None], bypassed)
    return keys, values


def layer_contexts(
    text_encoder: CLIPTextModel, prompts: TokenizedPrompts, words: Mapping[str, Word], layers: int
) -> LayerContexts:
    """The contexts of prompts that are each seen at one timestep, by all layers, in one text-encoder call.

    Args:
        text_encoder: CLIP's text model.
        prompts: n tokenized prompts.
        words: for each token, its word at (prompt, layer), prompt-major: n * layers rows.
        layers: cross-attention layers.
    """
    every = torch.arange(len(prompts.ids)).repeat_interleave(layers)
    keys, values = encode_rows(text_encoder, prompts.rows(every), words)
    return LayerContexts(*(x.unflatten(0, (-1, layers)).transpose(0, 1) for x in (keys, values)))


class ContextTable:
    """What all layers attend to for some prompts, by timestep: made in large calls when first asked for, and kept.

    Prompts without a learned word have one context for all timesteps and layers. Of the others keys are kept whole, and
    of the values only the rows where a word stands, for they differ nowhere else.

    Args:
        text_encoder: CLIP's text model.
        prompts: n tokenized prompts.
        mappers: for each token in them, what gives its word at timesteps [b] and layers [b].
        layers: cross-attention layers.
    """

    rows_per_call = 256
    """Sequences that one call of the text encoder takes; bounds the memory of making."""
    max_bytes = 1 << 30
    """Contexts beyond this are forgotten and made again: 100 timesteps of two prompts of Stable Diffusion 1."""

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        prompts: TokenizedPrompts,
        mappers: Mapping[str, Callable[[Tensor, Tensor], Word]],
        layers: int,
    ):
        self.text_encoder, self.mappers, self.layers = text_encoder, mappers, layers
        self.device = next(text_encoder.parameters()).device
        varying = prompts.anywhere.any(1)
        self.varying, self.fixed = (flag.nonzero()[:, 0].to(self.device) for flag in (varying, ~varying))
        self.order = torch.cat([self.varying, self.fixed]).argsort()
        self.prompts = prompts.rows(varying)
        self.place = self.prompts.anywhere.to(self.device)
        plain = prompts.ids[~varying].to(self.device)
        with torch.no_grad():
            if len(plain):
                self.plain = text_encoder(input_ids=plain).last_hidden_state
            else:
                self.plain = text_encoder.get_input_embeddings().weight.new_zeros(
                    0, plain.shape[1], text_encoder.config.hidden_size
                )
        self.kept: dict[float, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def at(self, timestep: float, following: Sequence[float] = ()) -> LayerContexts:
        """The contexts of all n prompts, [layers, n, s, d] each.

        Args:
            timestep: the scheduler's, fractional ones too.
            following: timesteps that will be asked for next, which are then made in the same calls.
        """
        plain = self.plain.expand(self.layers, -1, -1, -1)
        if not len(self.varying):
            return LayerContexts(plain, plain)
        if timestep not in self.kept:
            self._make([timestep, *following])
        keys, rows = self.kept[timestep]
        values = keys.clone()
        values[:, self.place] = rows
        return LayerContexts(*(torch.cat([part, plain], dim=1)[:, self.order] for part in (keys, values)))

    def _make(self, timesteps: Sequence[float]) -> None:
        """Contexts of as many of ``timesteps`` as one call may hold; those that are there are left out."""
        n, layers = len(self.varying), self.layers
        missing = [t for t in dict.fromkeys(timesteps) if t not in self.kept]
        times = missing[: max(1, self.rows_per_call // (layers * n))]
        at = torch.tensor(times, device=self.device).repeat_interleave(n * layers)
        layer = torch.arange(layers, device=self.device).repeat(len(times) * n)
        words = {token: self.mappers[token](at, layer) for token in self.prompts.places}
        made = layer_contexts(
            self.text_encoder, self.prompts.rows(torch.arange(n).repeat(len(times))), words, layers
        )  # fmt: skip
        size = made.keys.nbytes
        if size + sum(keys.nbytes + rows.nbytes for keys, rows in self.kept.values()) > self.max_bytes:
            self.kept.clear()
        for i, t in enumerate(times):
            here = slice(i * n, (i + 1) * n)
            # Copies, for views would keep the memory of the whole call.
            self.kept[t] = made.keys[:, here].clone(), made.values[:, here][:, self.place]


def _final_norm(text_encoder: CLIPTextModel) -> nn.Module:
    return next(m for name, m in text_encoder.named_modules() if name.endswith("final_layer_norm"))


@contextmanager
def _replaced_embeddings(
    text_encoder: CLIPTextModel, replacements: list[tuple[Bool[Tensor, "r s"], Float[Tensor, "r d"]]]
) -> Iterator[None]:
    """Let the token table answer with the words' embeddings at their places; the table itself stays."""

    def replace(_module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for place, embedding in replacements:
            output = torch.where(place[..., None], embedding[:, None].to(output.dtype), output)
        return output

    hook = text_encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _captured_final_norm(text_encoder: CLIPTextModel) -> Iterator[list[Tensor]]:
    """Collect what goes into the final LayerNorm, where the bypass is added."""
    captured: list[Tensor] = []
    hook = _final_norm(text_encoder).register_forward_pre_hook(lambda _m, args: captured.append(args[0]))
    try:
        yield captured
    finally:
        hook.remove()
