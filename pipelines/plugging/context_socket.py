"""Words in Stable Diffusion 1, 2 and XL: networks with cross-attention that read CLIP text encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from mappers.neti import Word

from ..personalization.contexts import ContextTable, truncated
from ..personalization.regions import read_mask
from ..personalization.text_encoding import Prompt, TextEncoders
from . import sites
from .denoiser import Denoiser
from .fingerprint import Fingerprint, fingerprint
from .hooks import unwrapped
from .prompts import MIDDLE, Record, RecordedRows
from .socket import SIDES, PluggedWord, Socket, listed


class ContextSocket(Socket):
    """Gives each cross-attention the contexts that its word has there, at each timestep."""

    def _read_pipe(self) -> Fingerprint:
        _check_kind(self.pipe)
        self.order = sites.cross_attentions(unwrapped(self.pipe.unet))
        self.blocks = sites.blocks_of(self.order)
        return fingerprint(unwrapped(self.pipe.unet), self._text().encoders, len(self.order))  # pyright: ignore[reportArgumentType]

    def forget_prompts(self) -> None:
        """Recognize no prompt that was encoded before."""
        self.recorded = RecordedRows()

    def check_token(self, token: str) -> None:
        """Refuse a token that cannot name a new word.

        Raises:
            ValueError: it is a word of the vocabulary, or the tokenizer cannot read it as one.
        """
        self._text().check_token(token)

    @property
    def records(self) -> Sequence[Record]:
        """Encoded prompts that are recognized."""
        return self.recorded.records

    @property
    def pixels(self) -> int:
        """Pixels of the picture along a side of one latent."""
        return int(self.pipe.vae_scale_factor)

    def encode(
        self, prompt: str | Sequence[str], negative_prompt: str | Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Encode prompts once, to draw them with many seeds: ``pipe(**socket.encode("a <cat>"), ...)``.

        Args:
            prompt: one or several prompts, with words or without.
            negative_prompt: what to move away from, one or as many as prompts; None: from the empty prompt.

        Returns:
            ``prompt_embeds`` [b, s, d] and ``negative_prompt_embeds``; of Stable Diffusion XL the pooled ones [b, p]
            too. They have to be handed over unchanged: the denoiser recognizes the words by them.
        """
        if isinstance(negative_prompt, str) and not isinstance(prompt, str):
            negative_prompt = [negative_prompt] * len(prompt)
        made = self.encode_prompt(
            prompt=prompt,
            negative_prompt=negative_prompt,
            device=self.pipe._execution_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
        )
        names = [f"{side}_embeds" for side in SIDES]
        names += [name.replace("prompt_embeds", "pooled_prompt_embeds") for name in names]
        return dict(zip(names, made, strict=False))

    def encode_prompt(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The pipeline's own ``encode_prompt``; of prompts with words the rows are such that the denoiser knows them.

        Raises:
            ValueError: a word stands where the text encoder reads no more.
        """
        self._attach()
        bound = self.signature.bind_partial(*args, **kwargs)
        given = {name: value for name, value in bound.arguments.items() if name.removesuffix("_2") in SIDES}
        if not any(self.has_word(text) for value in given.values() for text in listed(value)):
            return self.original(*args, **kwargs)
        # The start mark is one token, as a word is, so that the stock call cuts prompts where they are cut for words.
        mark = self.pipe.tokenizer.bos_token
        for name, value in given.items():
            plain = ["".join(mark if token else piece for piece, token in self.pieces(t)) for t in listed(value)]
            bound.arguments[name] = plain[0] if isinstance(value, str) else plain if value else value
        made = list(self.original(*bound.args, **bound.kwargs))
        self.recorded.begin()
        self._put_words(made, given, bound.arguments)
        return tuple(made)

    def _put_words(self, made: list[Any], given: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Exchange the rows of prompts with words for those that the denoiser will recognize."""
        texts = {side: self._texts(given.get(side), given.get(f"{side}_2")) for side in SIDES}
        weak = any(abs(word.scale) < 0.5 for word in self.words.values())
        held = list(dict.fromkeys(text for side in texts.values() for text in side if self.has_word(*text)))
        with self._lora_scaled(arguments.get("lora_scale")):
            table = self._table(held, arguments.get("clip_skip") or 0)
            middle = table.at(MIDDLE)
        table.cache.clear()
        for i, side in enumerate(SIDES):
            if made[i] is None or not any(text in held for text in texts[side]):
                continue
            made[i] = made[i].clone()
            pooled = i + len(SIDES)
            if middle.pooled is not None:
                made[pooled] = made[pooled].clone()
            each = len(made[i]) // len(texts[side])
            for row, text in enumerate(text for text in texts[side] for _ in range(each)):
                if text in held:
                    index = held.index(text)
                    made[i][row] = middle.keys[:, index].mean(0).to(made[i])
                    if middle.pooled is not None:
                        made[pooled][row] = middle.pooled[index].to(made[pooled])
                    self.recorded.add(Record(made[i][row].clone(), table, index, weak, self._regions(table, index)))

    def _texts(self, first: Any, second: Any) -> list[tuple[str, ...]]:
        """Prompts as each text encoder reads them."""
        firsts = listed(first)
        seconds = listed(second) or firsts
        pairs = zip(firsts, seconds * (len(firsts) if len(seconds) == 1 else 1), strict=True)
        return [pair[: len(_text_parts(self.pipe))] for pair in pairs]

    def _table(self, prompts: Sequence[Prompt], clip_skip: int) -> ContextTable:
        text = self._text(clip_skip)
        found = {token for prompt in prompts for one in prompt for _, token in self.pieces(one)}
        used = {token: word for token, word in self.words.items() if token in found}
        mappers = {token: word.concept.mapper.to(text.device) for token, word in used.items()}
        count = max(self.blocks) + 1
        by_block = count < len(self.order) and all(m.layers == count for m in mappers.values())
        readers = self.blocks if by_block else None
        layers = count if by_block else len(self.order)
        words = {
            token: _scaled(truncated(mappers[token], word.truncation, layers, self.blocks), word, text)
            for token, word in used.items()
        }
        return ContextTable(text, prompts, words, layers, readers)

    def _regions(self, table: ContextTable, index: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Where in a prompt the words with regions stand, and the regions."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for token, word in self.words.items():
            places = [part.positions[token][index] for part in table.tokenized if token in part.positions]
            if word.region is not None and places:
                mask = read_mask(token, word.region)
                found[token] = torch.stack(places).any(0).to(table.text.device), mask.to(table.text.device)
        return found

    def _text(self, clip_skip: int = 0) -> TextEncoders:
        pairs = _text_parts(self.pipe)
        tokenizers, encoders = ([pair[i] for pair in pairs] for i in range(2))
        return TextEncoders(tokenizers, encoders, self.pipe._execution_device, clip_skip=clip_skip, truncate=True)

    def _nets(self) -> list[nn.Module]:
        """The networks that read text, as the pipeline calls them."""
        control = getattr(self.pipe, "controlnet", None)
        controls = [] if control is None else [*getattr(control, "nets", [control])]
        return [self.pipe.unet, *controls]

    def _hooks(self, net: nn.Module) -> Denoiser:
        return Denoiser.of(net, {name: i for i, name in enumerate(self.order)})

    @contextmanager
    def _lora_scaled(self, scale: float | None) -> Iterator[None]:
        """LoRA in the text encoders at the strength of the call."""
        encoders = [] if scale is None or scale == 1 else self._text().encoders
        for encoder in encoders:
            scale_lora_layers(encoder, scale or 0.0)
        try:
            yield
        finally:
            for encoder in encoders:
                unscale_lora_layers(encoder, scale)


def _text_parts(pipe: Any) -> list[tuple[Any, Any]]:
    """The tokenizers and text encoders that there are."""
    names = [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
    pairs = [(getattr(pipe, first, None), getattr(pipe, second, None)) for first, second in names]
    return [pair for pair in pairs if pair[1] is not None]


def _check_kind(pipe: Any) -> None:
    name = type(pipe).__name__
    if not callable(getattr(pipe, "encode_prompt", None)) or not _text_parts(pipe):
        raise ValueError(f"{name} has no text encoder, so it reads no prompts; load it with its text encoder")
    for _, encoder in _text_parts(pipe):
        if not isinstance(encoder, CLIPTextModel | CLIPTextModelWithProjection):
            raise ValueError(
                f"{name} reads prompts by {type(encoder).__name__}; words plug into pipelines with CLIP text encoders, "
                "such as those of Stable Diffusion 1, 2 and XL"
            )
    unet = getattr(pipe, "unet", None)
    if unet is None or not sites.cross_attentions(unwrapped(unet)):
        raise ValueError(
            f"{name} has no UNet with cross-attention to text; "
            "words plug into pipelines of Stable Diffusion 1, 2 and XL"
        )


def _scaled(
    mapper: Callable[[Tensor, Tensor], Word], word: PluggedWord, text: TextEncoders
) -> Callable[[Tensor, Tensor], Word]:
    """A word between its category and itself."""
    if word.scale == 1:
        return mapper
    start = torch.cat([part.to(text.device) for part in text.category_embedding(word.concept.category)])

    def between(timesteps: Tensor, layers: Tensor) -> Word:
        whole = mapper(timesteps, layers)
        return Word(start + word.scale * (whole.embedding - start), whole.bypass, word.scale)

    return between
