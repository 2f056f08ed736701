"""The order in which a datum's blocks are sent, shared by encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from .descriptions import Tiling
from .model import CodecModel
from .randomness import permutations

NEVER = 1 << 40
"""Place of a latent number that is never sent."""


@dataclass(frozen=True)
class Block:
    """One block of a level, for all rows of a datum: places ``first`` to ``first + rows - 1``."""

    level: int
    number: int
    columns: Int[Tensor, " d"]
    rows: Int[Tensor, "rows d"]
    """Of each place, the row that each column is taken from: a random order for every column, so that easy and hard
    patches share blocks (arXiv 2309.17182, section 3.4)."""
    first: int


class Sequence:
    """Blocks from the whole datum down to its patches; of a level the most informative first, each for all rows.

    Args:
        model: the codec.
        rate: which of its rates.
        tiling: the datum's.
    """

    def __init__(self, model: CodecModel, rate: int, tiling: Tiling):
        self.tiling, self.columns = tiling, model.description.columns
        self.blocks: list[Block] = []
        first = 0
        for level in reversed(range(len(self.columns))):
            count = tiling.rows[level]
            order = torch.from_numpy(permutations(model.key, level, count, self.columns[level]))
            for number, columns in enumerate(model.rates[rate].members(level)):
                self.blocks.append(Block(level, number, columns, order[:, columns], first))
                first += count
        self.count = first

    @cached_property
    def places(self) -> list[Int[Tensor, "rows columns"]]:
        """Place in the sequence of every latent number of each level, or `NEVER`."""
        places = [
            torch.full((rows, columns), NEVER) for rows, columns in zip(self.tiling.rows, self.columns, strict=True)
        ]
        for block in self.blocks:
            here = block.first + torch.arange(len(block.rows))[:, None]
            places[block.level][block.rows, block.columns] = here.expand_as(block.rows)
        return places
