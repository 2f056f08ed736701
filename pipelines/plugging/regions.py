"""Regions of words, for the rows of one call of a denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..images import load_images
from ..personalization.regions import Regions
from .prompts import Record


def read_mask(word: str, picture: Image.Image) -> Float[Tensor, "h w"]:
    """A region as numbers in 0..1, 1 where the word acts.

    Raises:
        ValueError: it is all black.
    """
    (mask,) = load_images([picture])
    white = torch.from_numpy(np.array(mask.convert("L"))).float() / 255
    if not white.any():
        raise ValueError(f"the region of {word} is black, so the word would act nowhere; mark its place in white")
    return white


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
            found = mask.shape[1], mask.shape[0]
            if found != size:
                has, wanted = (f"{w}x{h}" for w, h in (found, size))
                raise ValueError(
                    f"the region of {word} has {has} pixels, the picture that is drawn {wanted}; "
                    "make them the same size"
                )
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
