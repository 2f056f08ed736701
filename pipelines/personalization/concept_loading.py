"""Which learned words a pipeline knows."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from ..plugging.fingerprint import Fingerprint, fingerprint
from . import concepts
from .concepts import Concept
from .text_encoding import TextEncoders

logger = logging.getLogger(__name__)


class ConceptLoaderMixin:
    """Loads, saves and forgets learned words, which are kept apart from the model and never change it."""

    concepts: dict[str, Concept]
    unet: UNet2DConditionModel
    text: TextEncoders
    layers: int
    _execution_device: torch.device

    @property
    def base(self) -> Fingerprint:
        """Fingerprint of the frozen model."""
        return fingerprint(self.unet, self.text.encoders, self.layers)

    def load_concept(self, concept: Concept | str | Path, *, token: str | None = None, any_base: bool = False) -> str:
        """Make a learned word usable in prompts and return its token.

        Args:
            concept: a concept or its file.
            token: another name for the word, when its own is taken.
            any_base: also load a word that was learned on other weights, such as those that a model was fine-tuned
                from, with a warning. The layout must be the same.

        Raises:
            FileNotFoundError, ValueError: the file is missing, damaged, or of another base model; the token is
                a word of the vocabulary, or differs from a loaded one in capitals alone.
        """
        loaded = concept if isinstance(concept, Concept) else concepts.load_concept(Path(concept))
        base = self.base
        difference = loaded.base.difference(base)
        if difference:
            where = f"the concept {loaded.token} was learned on another base model ({loaded.model or 'unknown'})"
            if not loaded.base.same_layout(base):
                raise ValueError(f"{where}: {difference}; load it with that model")
            if not any_base:
                raise ValueError(
                    f"{where}: {difference}; load it with that model, or insist with --any-base (any_base=True)"
                )
            logger.warning("%s: %s. The pictures may resemble the thing less.", where, difference)
        token = token or loaded.token
        self.text.check_token(token)
        alike = [known for known in self.concepts if known != token and known.casefold() == token.casefold()]
        if alike:
            raise ValueError(
                f"token {token!r} differs from the loaded word {alike[0]!r} in capitals alone, which prompts do not "
                "tell apart; choose another by token="
            )
        loaded.mapper.to(self._execution_device).eval().requires_grad_(False)
        self.concepts[token] = loaded
        return token

    def concept(self, token: str) -> Concept:
        """A loaded word.

        Raises:
            ValueError: no such word is loaded.
        """
        if token not in self.concepts:
            raise ValueError(f"no concept {token!r} is loaded; loaded are {sorted(self.concepts)}")
        return self.concepts[token]

    def unload_concept(self, token: str) -> None:
        """Forget a word; the model was never changed by it.

        Raises:
            ValueError: no such word is loaded.
        """
        self.concept(token)
        del self.concepts[token]

    def save_concept(self, token: str, path: str | Path) -> Path:
        """Write a loaded word to ``path`` (safetensors); see `pipelines.personalization.concepts.save_concept`.

        Raises:
            ValueError: no such word is loaded.
        """
        return concepts.save_concept(self.concept(token), Path(path))
