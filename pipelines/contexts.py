"""From prompts with placeholders to what every cross-attention layer attends to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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


def encode_words(
    text_encoder: CLIPTextModel, prompts: TokenizedPrompts, words: Mapping[str, Word], points: int
) -> tuple[Float[Tensor, "p n s d"], Float[Tensor, "p n s d"]]:
    """Key and value contexts of all prompts at ``points`` (timestep, layer) points, in one text-encoder call.

    Args:
        text_encoder: CLIP's text model.
        prompts: n tokenized prompts.
        words: for each token, its word; rows are the points, or point-major (point, prompt) pairs.
        points: number p of points.

    Returns:
        Keys and values, [p, n, s, d]. They differ only where a word with a bypass stands.
    """
    n, length = prompts.ids.shape
    device = next(text_encoder.parameters()).device
    ids = prompts.ids.to(device).repeat(points, 1)
    places = {token: place.to(device).repeat(points, 1) for token, place in prompts.places.items()}
    rows = {token: _per_prompt(words[token], points, n) for token in places}
    replacements = [(place, rows[token].embedding) for token, place in places.items()]
    with _replaced_embeddings(text_encoder, replacements), _captured_final_norm(text_encoder) as captured:
        keys = text_encoder(input_ids=ids).last_hidden_state
    values = keys
    for token, place in places.items():
        bypass = rows[token].bypass
        if bypass is None:
            continue
        row, _column = place.nonzero(as_tuple=True)
        before = captured[0][place]
        step = BYPASS_SCALE * before.norm(dim=-1, keepdim=True) * F.normalize(bypass[row].to(before.dtype), dim=-1)
        bypassed = _final_norm(text_encoder)(before + step).to(values.dtype)
        values = values.masked_scatter(place[..., None], bypassed)
    return keys.view(points, n, length, -1), values.view(points, n, length, -1)


def layer_contexts(
    text_encoder: CLIPTextModel, prompts: TokenizedPrompts, words: Mapping[str, Word], layers: int, timesteps: int
) -> list[LayerContexts]:
    """The contexts of ``layers`` at each of ``timesteps``; points are timestep-major."""
    keys, values = encode_words(text_encoder, prompts, words, timesteps * layers)
    keys, values = keys.unflatten(0, (timesteps, layers)), values.unflatten(0, (timesteps, layers))
    return [LayerContexts(k, v) for k, v in zip(keys, values, strict=True)]


def _per_prompt(word: Word, points: int, prompts: int) -> Word:
    """The word once per (point, prompt)."""
    if len(word.embedding) == points * prompts:
        return word
    bypass = None if word.bypass is None else word.bypass.repeat_interleave(prompts, 0)
    return Word(word.embedding.repeat_interleave(prompts, 0), bypass)


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
