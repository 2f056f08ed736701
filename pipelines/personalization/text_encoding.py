"""Prompts with placeholders through one text encoder, or through both text encoders of Stable Diffusion XL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from mappers.neti import Word

from .tokens import category_embedding, check_token, split_at_tokens

BYPASS_SCALE = 0.2
"""Length of the textual bypass relative to the embedding it is added to (arXiv 2305.15391, section 4.4)."""


Prompt = str | tuple[str, ...]
"""A prompt for all tokenizers, or one for each."""


@dataclass
class TokenizedPrompts:
    """Prompts as token ids, and the positions of each learned word.

    The tokenizer is never changed: prompts are cut at the placeholders and the pieces tokenized.
    """

    ids: Int[Tensor, "n s"]
    """Token ids; a placeholder's own id is the start mark, which its embedding replaces. (The end mark would be taken
    for the end of the prompt, whose state is the pooled embedding.)"""
    positions: dict[str, Bool[Tensor, "n s"]]
    """For each token that occurs, where."""

    def rows(self, index: Tensor) -> TokenizedPrompts:
        """Some of the prompts, in any order and number."""
        positions = {token: position[index] for token, position in self.positions.items()}
        return TokenizedPrompts(
            self.ids[index], {token: position for token, position in positions.items() if position.any()}
        )

    @property
    def has_word(self) -> Bool[Tensor, "n s"]:
        """Where any word stands."""
        return torch.stack([torch.zeros_like(self.ids, dtype=torch.bool), *self.positions.values()]).any(0)


class Encoded(NamedTuple):
    """Encodings of n prompts, for a UNet's cross-attentions and, in SDXL, its timestep embedding."""

    keys: Float[Tensor, "n s d"]
    values: Float[Tensor, "n s d"]
    """Equal to the keys except at a word's position, where the bypass is added."""
    pooled: Float[Tensor, "n p"] | None
    """The projected state of the end mark; None where the text encoder has no projection."""


def tokenize(
    tokenizer: CLIPTokenizer, prompts: Sequence[str], tokens: Sequence[str], length: int, *, truncate: bool = False
) -> TokenizedPrompts:
    """Token ids of ``prompts``, padded to ``length``, with the positions of ``tokens`` in them.

    Several vectors that `load_textual_inversion` has read for one token all take their places.

    Args:
        tokenizer: the text encoder's.
        prompts: n prompts.
        tokens: all learned words.
        length: tokens that the text encoder reads.
        truncate: cut the end of a prompt that is too long, as diffusers does, if no learned word is in it.

    Raises:
        ValueError: a prompt is longer than the text encoder takes.
    """
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = torch.full((len(prompts), length), pad)
    positions = {token: torch.zeros(len(prompts), length, dtype=torch.bool) for token in tokens}
    vectors = TextualInversionLoaderMixin()
    for row, prompt in enumerate(prompts):
        at, cut = [start], ""
        for piece, token in split_at_tokens(prompt, tokens):
            if token is not None:
                if len(at) < length - 1:
                    positions[token][row, len(at)] = True
                else:
                    cut = cut or token
                at.append(start)
            else:
                piece = vectors.maybe_convert_prompt(piece, tokenizer)
                at.extend(tokenizer(piece, add_special_tokens=False).input_ids)
        at.append(end)
        if cut and truncate:
            raise ValueError(
                f"the model reads {length - 2} tokens of a prompt, and the word {cut} stands after them in {prompt!r}; "
                "write it earlier, or shorten the prompt"
            )
        if len(at) > length and truncate:
            at = [*at[: length - 1], end]
        if len(at) > length:
            raise ValueError(
                f"the prompt {prompt!r} has {len(at) - 2} tokens, the model reads {length - 2}; shorten it"
            )
        ids[row, : len(at)] = torch.tensor(at)
    return TokenizedPrompts(ids, {token: position for token, position in positions.items() if position.any()})


def encode_rows(
    text_encoder: CLIPTextModel | CLIPTextModelWithProjection,
    prompts: TokenizedPrompts,
    words: Mapping[str, Word],
    *,
    penultimate: bool = False,
    clip_skip: int = 0,
    device: torch.device | None = None,
) -> Encoded:
    """Key and value contexts of prompts whose n rows have a word each, in one text-encoder call.

    The word's input embedding replaces the placeholder's. Its bypass is added to what becomes the values,
    h + 0.2 |h| v/|v| (arXiv 2305.15391, section 4.4), before the final LayerNorm; keys do without.

    Args:
        text_encoder: CLIP's text model.
        prompts: n tokenized prompts.
        words: for each token, n words.
        penultimate: take the states before the last layer, as Stable Diffusion XL does. No LayerNorm follows them.
        clip_skip: last layers that are left out in addition; the pooled embedding keeps them.
        device: where the text encoder computes; None: where its weights are.
    """
    device = device or next(text_encoder.parameters()).device
    replacements = [(position, words[token].embedding) for token, position in prompts.positions.items()]
    with _replaced_embeddings(text_encoder, replacements), _captured_final_norm(text_encoder) as captured:
        output = text_encoder(input_ids=prompts.ids.to(device), output_hidden_states=penultimate or bool(clip_skip))
    states = output.hidden_states[-1 - clip_skip - penultimate] if penultimate or clip_skip else captured[0]
    finish = nn.Identity() if penultimate else _final_norm(text_encoder)
    keys = values = finish(states) if penultimate or clip_skip else output.last_hidden_state
    for token, position in prompts.positions.items():
        position = position.to(keys.device)
        bypass = words[token].bypass
        if bypass is None:
            continue
        row, _column = position.nonzero(as_tuple=True)
        before = states[position]
        step = (
            BYPASS_SCALE
            * words[token].strength
            * before.norm(dim=-1, keepdim=True)
            * F.normalize(bypass[row].to(before.dtype), dim=-1)
        )
        values = values.masked_scatter(position[..., None], finish(before + step).to(values.dtype))
    return Encoded(keys, values, getattr(output, "text_embeds", None))


class TextEncoders:
    """A model's tokenizer and text encoder, or SDXL's two of each, concatenated along their width.

    A word's vectors for both are concatenated likewise.

    Args:
        tokenizers: one or two.
        encoders: as many; of two, both give their penultimate states and the second the pooled embedding.
        device: where they compute; None: where their weights are, which offloading puts elsewhere between calls.
        clip_skip: last layers that are left out; see `encode_rows`.
        truncate: whether prompts that are too long are cut; see `tokenize`.
    """

    def __init__(
        self,
        tokenizers: Sequence[CLIPTokenizer],
        encoders: Sequence[CLIPTextModel],
        device: torch.device | None = None,
        *,
        clip_skip: int = 0,
        truncate: bool = False,
    ):
        self.tokenizers, self.encoders = tuple(tokenizers), tuple(encoders)
        self.widths = [int(encoder.config.hidden_size) for encoder in self.encoders]
        weight = next(self.encoders[0].parameters())
        self.device, self.dtype = device or weight.device, weight.dtype
        self.clip_skip, self.truncate = clip_skip, truncate

    def tokenize(self, prompts: Sequence[Prompt], tokens: Sequence[str]) -> list[TokenizedPrompts]:
        """Token ids and positions, by each tokenizer; see `tokenize`."""
        made = []
        for i, (tokenizer, encoder) in enumerate(zip(self.tokenizers, self.encoders, strict=True)):
            own = [prompt if isinstance(prompt, str) else prompt[i] for prompt in prompts]
            made.append(tokenize(tokenizer, own, tokens, _length(tokenizer, encoder), truncate=self.truncate))
        return made

    def encode(self, prompts: Sequence[TokenizedPrompts], words: Mapping[str, Word]) -> Encoded:
        """Contexts of n prompts; see `encode_rows`."""
        two = len(self.encoders) > 1
        parts = []
        options = {"clip_skip": self.clip_skip, "device": self.device}
        for i, (encoder, tokenized) in enumerate(zip(self.encoders, prompts, strict=True)):
            own = {token: self._part(word, i) for token, word in words.items()}
            parts.append(encode_rows(encoder, tokenized, own, penultimate=two, **options))
        if not two:
            return parts[0]._replace(pooled=None)
        keys, values = (torch.cat(part, dim=-1) for part in list(zip(*parts, strict=True))[:2])
        return Encoded(keys, values, parts[-1].pooled)

    def _part(self, word: Word, i: int) -> Word:
        bypass = None if word.bypass is None else word.bypass.split(self.widths, dim=-1)[i]
        return Word(word.embedding.split(self.widths, dim=-1)[i], bypass, word.strength)

    def category_embedding(self, category: str) -> list[Float[Tensor, " _d"]]:
        """Input embeddings of a category word, one for each encoder; see `tokens.category_embedding`."""
        pairs = zip(self.tokenizers, self.encoders, strict=True)
        return [category_embedding(tokenizer, encoder, category) for tokenizer, encoder in pairs]

    def check_token(self, token: str) -> None:
        """Refuse a token that cannot name a new word; see `tokens.check_token`."""
        for tokenizer in self.tokenizers:
            check_token(token, tokenizer)


def check_text_encoders(unet: Any, first: Any, second: Any) -> None:
    """Refuse a model whose text encoders do not have the width that its UNet reads.

    Raises:
        ValueError: one is missing.
    """
    if unet.config.addition_embed_type == "text_time":
        if first is None or second is None:
            missing = "text_encoder" if first is None else "text_encoder_2"
            raise ValueError(
                f"the UNet is of Stable Diffusion XL's kind, but the model has no {missing}; add that folder"
            )
        found = first.config.hidden_size + second.config.hidden_size
    else:
        found = first.config.hidden_size
    if found != unet.config.cross_attention_dim:
        raise ValueError(
            f"the text encoders are {found} wide together, the UNet reads {unet.config.cross_attention_dim}; "
            "they do not belong to one model"
        )


def _length(tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> int:
    """Tokens of a sequence: of the encoder where the tokenizer's settings do not say, as in converted models."""
    return min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))


def _final_norm(text_encoder: CLIPTextModel) -> nn.Module:
    return next(m for name, m in text_encoder.named_modules() if name.endswith("final_layer_norm"))


@contextmanager
def _replaced_embeddings(
    text_encoder: CLIPTextModel, replacements: list[tuple[Bool[Tensor, "_r s"], Float[Tensor, "_r _d"]]]
) -> Iterator[None]:
    """Replace the token table's output by the words' embeddings at their positions; the table itself is unchanged."""

    def replace(_module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        for position, embedding in replacements:
            position = position.to(output.device)
            output = torch.where(position[..., None], embedding[:, None].to(output.dtype), output)
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
