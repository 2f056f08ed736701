"""Regions of words, for the rows of one call of a denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..personalization.regions import Regions, check_size
from .prompts import Record


def regions_of(rows: Sequence[Record | None], size: tuple[int, int]) -> Regions | None:
    """Where the words of these rows act; None: everywhere.

    Args:
        rows: for each row of the batch its record, None for prompts without words.
        size: width and height of the picture.

    Raises:
        ValueError: a region is not as large as the picture.
    """
    masks: dict[str, Tensor] = {}
    for record in rows:
        for word, (_, mask) in ({} if record is None else record.regions).items():
            check_size(word, (mask.shape[1], mask.shape[0]), size)
            masks[word] = mask
    if not masks:
        return None
    length = next(len(record.row) for record in rows if record is not None)
    device = next(iter(masks.values())).device
    nowhere = torch.zeros(length, dtype=torch.bool, device=device)
    positions = [
        torch.stack([nowhere if r is None or word not in r.regions else r.regions[word][0] for r in rows])
        for word in masks
    ]
    return Regions(positions, list(masks.values()))
