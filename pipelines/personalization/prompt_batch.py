"""Which prompts one call of the pipeline reads, and which of them each row of the UNet's batch follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class PromptBatch:
    """The prompts of a call and the rows of its batch.

    With classifier-free guidance the first half of the rows follows the negative prompts, the second half the prompts.
    """

    texts: tuple[str | None, ...]
    """The prompts, then with guidance the negative ones; None represents a context of zeros."""
    rows: Int[Tensor, " r"]
    """For each row of the UNet's batch its index in ``texts``."""
    guided: bool
    """Whether classifier-free guidance doubles the rows."""

    @property
    def count(self) -> int:
        """Pictures that the call generates."""
        return len(self.rows) // (2 if self.guided else 1)

    def rows_in(self, texts: Sequence[str | None]) -> Int[Tensor, " r"]:
        """For each row the index of its prompt in ``texts``, which may hold others too."""
        if tuple(texts) == self.texts:
            return self.rows
        return torch.tensor([texts.index(text) for text in self.texts], device=self.rows.device)[self.rows]

    @classmethod
    def of(
        cls,
        prompt: str | Sequence[str],
        negative: str | Sequence[str] | None,
        per_prompt: int,
        *,
        guided: bool,
        empty: str | None,
        device: torch.device,
    ) -> PromptBatch:
        """Lay out the rows of a call.

        Args:
            prompt: one or several prompts.
            negative: one negative prompt, or as many as prompts; None takes ``empty``.
            per_prompt: pictures of each prompt.
            guided: whether negative prompts are read at all.
            empty: the negative prompt that the model was made for: "", or None for a context of zeros.
            device: where the rows are.

        Raises:
            ValueError: there is no prompt, no picture, or another number of negative prompts.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = [negative] if isinstance(negative, str) else [empty] if negative is None else list(negative)
        if not prompts:
            raise ValueError("prompt is empty; give at least one prompt")
        if len(negatives) not in (1, len(prompts)):
            raise ValueError(
                f"negative_prompt has {len(negatives)} entries for {len(prompts)} prompts; give one or as many"
            )
        if per_prompt < 1:
            raise ValueError(f"num_images_per_prompt must be at least 1, got {per_prompt}")
        rows = torch.arange(len(prompts), device=device).repeat_interleave(per_prompt)
        if not guided:
            return cls(tuple(prompts), rows, guided)
        away = rows if len(negatives) == len(prompts) else torch.zeros_like(rows)
        return cls((*prompts, *negatives), torch.cat([len(prompts) + away, rows]), guided)
