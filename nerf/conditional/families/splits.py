"""Which shapes, palettes and pairs of them are trained on, and which are kept for measuring."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .family import Family

TRAIN_SHAPES, HELD_OUT_SHAPES, TRAIN_PALETTES, HELD_OUT_PALETTES = 100, 200, 300, 400
"""Seeds."""
HELD_OUT = 64
"""Held-out shapes, and palettes, that are there to be measured."""


@dataclass(frozen=True)
class Split:
    """A family's training and held-out data; fixed by the numbers of shapes and palettes."""

    shapes: Float[Tensor, "n p"]
    palettes: Float[Tensor, "m q"]
    held_out_shapes: Float[Tensor, "64 p"]
    held_out_palettes: Float[Tensor, "64 q"]
    held_out_pairs: Bool[Tensor, "n m"]
    """Pairs of a training shape and a training palette that are never shown together: a diagonal."""


def split_of(family: Family, shapes: int = 256, palettes: int = 32) -> Split:
    """The split of so many training shapes and palettes.

    The diagonal holds the pairs with (shape - palette) divisible by 8 or, with fewer palettes than that, by all.
    """
    diagonal = (torch.arange(shapes)[:, None] - torch.arange(palettes)) % min(8, max(palettes, 2)) == 0
    return Split(
        family.shapes(shapes, TRAIN_SHAPES),
        family.palettes(palettes, TRAIN_PALETTES),
        family.shapes(HELD_OUT, HELD_OUT_SHAPES),
        family.palettes(HELD_OUT, HELD_OUT_PALETTES),
        diagonal,
    )
