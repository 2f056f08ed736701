"""The learned words of one pipeline: what is the same for all kinds of models."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn

from mappers.neti import Envelope

from ..personalization.tokens import split_at_tokens
from .fingerprint import Fingerprint
from .hooks import NetworkHooks, is_compiled, unwrapped

if TYPE_CHECKING:
    from ..personalization.concepts import Concept

SIDES = ("prompt", "negative_prompt")
"""Arguments of ``encode_prompt`` that hold texts, in the order of the embeddings that it returns."""


@dataclass
class PluggedWord:
    """One word of a socket. Its settings may be changed; they are read when a prompt is encoded."""

    concept: Concept
    scale: float = 1.0
    """1 is the word as it was learned, 0 the category word, and between them a mixture of both."""
    truncation: int | Envelope | None = None
    """Units of the mapper that are kept, from 0 (most editable) to its hidden size; or an `Envelope`."""
    region: Image.Image | None = None
    """Where the word acts, in white, as large as the picture; None: everywhere."""


class Socket(ABC):
    """The learned words of one pipeline, which stays what it is: its classes, processors and tokenizers are its own.

    Use `Concept.plug`. As a context manager it is unplugged at the end.

    Args:
        pipe: a pipeline whose text the socket's class can read.

    Raises:
        ValueError: ``pipe`` is not of this kind.
    """

    def __init__(self, pipe: DiffusionPipeline):
        self.pipe: Any = pipe
        self.words: dict[str, PluggedWord] = {}
        """The words by token, with their settings."""
        self.base = self._read_pipe()
        self.denoisers: list[NetworkHooks[Any]] = []
        self.original: Callable[..., Any] = self.pipe.encode_prompt
        self.signature = inspect.signature(self.original)
        self.forget_prompts()

    @abstractmethod
    def _read_pipe(self) -> Fingerprint:
        """What is plugged into.

        Raises:
            ValueError: the pipeline is not of this kind.
        """

    @abstractmethod
    def forget_prompts(self) -> None:
        """Recognize no prompt that was encoded before."""

    @abstractmethod
    def check_token(self, token: str) -> None:
        """Refuse a token that cannot name a new word.

        Raises:
            ValueError: it cannot.
        """

    @abstractmethod
    def encode_prompt(self, *args: Any, **kwargs: Any) -> Any:
        """The pipeline's own ``encode_prompt``, with rows by which the denoiser recognizes words."""

    @abstractmethod
    def _nets(self) -> list[nn.Module]:
        """The networks that read text, as the pipeline calls them."""

    @abstractmethod
    def _hooks(self, net: nn.Module) -> NetworkHooks[Any]:
        """The hooks of one of them."""

    def add(self, token: str, word: PluggedWord) -> None:
        """Plug in one more word.

        Raises:
            ValueError: it was learned on another model; the token is taken, or a word of the vocabulary.
        """
        concept = word.concept
        difference = concept.base.difference(self.base)
        if difference:
            raise ValueError(
                f"the concept {concept.token} was learned on another base model "
                f"({concept.model or 'unknown'}): {difference}; plug it into a pipeline of that model"
            )
        if token.casefold() in {known.casefold() for known in self.words}:
            raise ValueError(
                f"a word {token} is plugged into this pipeline already; unplug it, or plug with token= another name"
            )
        self.check_token(token)
        if not self.words:
            _forget_compiled(self._nets())
        self.words[token] = word
        self.pipe.encode_prompt = self.encode_prompt
        self._attach()

    def unplug(self, token: str | None = None) -> None:
        """Take out one word, or all; without words nothing of the socket is left in the pipeline.

        Raises:
            ValueError: no such word is plugged in.
        """
        if token is not None and token not in self.words:
            raise ValueError(f"no word {token!r} is plugged in; plugged in are {sorted(self.words)}")
        for gone in [*self.words] if token is None else [token]:
            del self.words[gone]
        # Prompts that were encoded with the word would still be recognized.
        self.forget_prompts()
        for denoiser in self.denoisers:
            denoiser.forget()
        if self.words:
            return
        for denoiser in self.denoisers:
            denoiser.leave(self)
        self.denoisers = []
        self.pipe.__dict__.pop("encode_prompt", None)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unplug()

    def following(self, timestep: float) -> list[float]:
        """Timesteps of the schedule that come after ``timestep``."""
        schedule = [float(t) for t in self.pipe.scheduler.timesteps]
        return schedule[schedule.index(timestep) + 1 :] if timestep in schedule else []

    def pieces(self, text: str) -> list[tuple[str, str | None]]:
        """A prompt in pieces: text with None, and words as they are written with the token that each is."""
        return split_at_tokens(text, list(self.words))

    def has_word(self, *texts: str) -> bool:
        """Whether one of ``texts`` has a word in it."""
        return any(token for text in texts for _, token in self.pieces(text))

    def _attach(self) -> None:
        """Hooks where they are missing: the user may have put in other networks, adapters or compiled wrappers."""
        nets = self._nets()
        wanted = [self._hooks(net) for net in nets]
        for denoiser in self.denoisers:
            if not any(denoiser is one for one in wanted):
                denoiser.leave(self)
        self.denoisers = wanted
        for denoiser, net in zip(wanted, nets, strict=True):
            denoiser.join(self)
            denoiser.attach(net)


def listed(value: Any) -> list[str]:
    """Prompts as a list, whether one, several or none were given."""
    return [value] if isinstance(value, str) else list(value or [])


def _forget_compiled(nets: Sequence[nn.Module]) -> None:
    """A network that has run compiled would go on without hooks: its graphs are dropped."""
    compiled = [net for net in nets if is_compiled(net)]
    if compiled:
        torch.compiler.reset()
        warnings.warn(
            f"{type(unwrapped(compiled[0])).__name__} is compiled: all compiled graphs were dropped, so that it reads "
            "the word, and the next call compiles anew; plug before compiling to avoid it",
            stacklevel=4,
        )
