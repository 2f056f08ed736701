"""Rows of encoded prompts that hold learned words, by which a denoiser recognizes them among the rows it is given."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..personalization.contexts import ContextTable

KEPT = 64
"""Rows of earlier prompts that are still recognized."""
NEARLY = 0.999
"""Cosine between two rows above which one is taken for a changed copy of the other."""


@dataclass(frozen=True)
class Record:
    """One encoded prompt that holds a word."""

    row: Float[Tensor, "s d"]
    """What the pipeline hands to the denoiser: the mean over layers of the prompt's contexts at `MIDDLE`."""
    table: ContextTable
    index: int
    """Of the prompt in ``table``."""
    weak: bool = False
    """Whether a word of it is scaled so far down that a plain prompt with the category word resembles it."""
    regions: dict[str, tuple[Bool[Tensor, " s"], Float[Tensor, "h w"]]] = field(default_factory=dict)
    """For each word of the prompt that has a region: where it stands, and the region, 1 where it acts."""


MIDDLE = 500.5
"""The timestep of `Record.row`, which no schedule has: its contexts are in no denoiser's way."""


class RecordedRows:
    """The rows of the latest prompts, and of some before them."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def begin(self) -> None:
        """Prepare for new prompts: contexts of the earlier ones are dropped, and made again if they are drawn again."""
        self.records = self.records[-KEPT:]
        for record in self.records:
            record.table.cache.clear()

    def add(self, record: Record) -> None:
        """Remember a row; an equal one is replaced."""
        same = [r for r in self.records if r.row.shape == record.row.shape and torch.equal(r.row, record.row)]
        self.records = [r for r in self.records if not any(r is s for s in same)] + [record]


def match(texts: Float[Tensor, "b s d"], records: list[Record]) -> list[Record | None]:
    """The record that each row of ``texts`` is, None for others.

    Warns of rows that are a record's but for small changes.
    """
    same = [record for record in records if record.row.shape == texts.shape[1:]]
    if not same:
        return [None] * len(texts)
    known = torch.stack([record.row.to(texts) for record in same])
    hits = torch.stack([(texts == row).flatten(1).all(1) for row in known], dim=1)
    where = torch.where(hits.any(1), hits.int().argmax(1), -1)
    weak = torch.tensor([record.weak for record in same], device=texts.device)
    # The first token, the start mark, is alike in all prompts.
    mine, theirs = (torch.nn.functional.normalize(rows[:, 1:].flatten(1).float(), dim=-1) for rows in (texts, known))
    if ((mine @ theirs.T > NEARLY) & (where < 0)[:, None] & ~weak).any():
        warnings.warn(
            "prompt embeddings that hold a learned word were changed after they were encoded, so the mean of the word "
            "over layers and timesteps is drawn; hand them over as encode_prompt or socket.encode gave them",
            stacklevel=2,
        )
    return [None if i < 0 else same[i] for i in where.tolist()]
