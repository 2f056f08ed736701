"""Which learned words a pipeline knows."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from . import concepts
from .concepts import Concept
from .text_encoding import TextEncoders


class ConceptLoaderMixin:
    """Loads, saves and forgets learned words, which are kept apart from the model and never change it."""

    concepts: dict[str, Concept]
    unet: UNet2DConditionModel
    text: TextEncoders
    layers: int
    _execution_device: torch.device

    @property
    def base(self) -> concepts.Fingerprint:
        """Fingerprint of the frozen model."""
        return concepts.fingerprint(self.unet, self.text.encoders, self.layers)

    def load_concept(self, concept: Concept | str | Path, *, token: str | None = None) -> str:
        """Make a learned word usable in prompts and return its token.

        Args:
            concept: a concept or its file.
            token: another name for the word, when its own is taken.

        Raises:
            FileNotFoundError, ValueError: the file is missing, damaged, or of another base model; the token is
                a word of the vocabulary.
        """
        loaded = concept if isinstance(concept, Concept) else concepts.load_concept(Path(concept))
        difference = loaded.base.difference(self.base)
        if difference:
            raise ValueError(
                f"the concept {loaded.token} was learned on another base model "
                f"({loaded.model or 'unknown'}): {difference}; load it with that model"
            )
        token = token or loaded.token
        self.text.check_token(token)
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
