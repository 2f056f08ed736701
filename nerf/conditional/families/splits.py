"""Training data and held-out data of a family: shapes, palettes, and pairs of both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .family import Family

TRAIN_SHAPES, HELD_OUT_SHAPES, TRAIN_PALETTES, HELD_OUT_PALETTES = 100, 200, 300, 400
"""Seeds of the four tables."""
HELD_OUT = 64
"""Number of held-out shapes, and of held-out palettes."""


@dataclass(frozen=True)
class Split:
    """A family's training and held-out data, which depend only on the numbers of shapes and palettes."""

    shapes: Float[Tensor, "n p"]
    palettes: Float[Tensor, "m q"]
    held_out_shapes: Float[Tensor, "64 p"]
    held_out_palettes: Float[Tensor, "64 q"]
    held_out_pairs: Bool[Tensor, "n m"]
    """True for the pairs of a training shape and a training palette that no training picture combines: diagonals."""


def split_of(family: Family, shapes: int = 256, palettes: int = 32) -> Split:
    """The split with these numbers of training shapes and palettes.

    Held-out pairs are those with (shape - palette) divisible by 8, or by the number of palettes if that is below 8.
    """
    diagonal = (torch.arange(shapes)[:, None] - torch.arange(palettes)) % min(8, max(palettes, 2)) == 0
    return Split(
        family.shapes(shapes, TRAIN_SHAPES),
        family.palettes(palettes, TRAIN_PALETTES),
        family.shapes(HELD_OUT, HELD_OUT_SHAPES),
        family.palettes(HELD_OUT, HELD_OUT_PALETTES),
        diagonal,
    )
