"""The order in which a datum's blocks are sent, shared by encoder and decoder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from .coding.shared_randomness import permutations
from .description import Tiling
from .model.codec import CodecModel
from .model.gaussians import DiagonalGaussian

NEVER = 1 << 40
"""Place of a latent number that is never sent."""
Key = tuple[int, int, int]
"""Minus the level, the number and the component of a block: blocks are sent in the order of their keys."""


@dataclass(frozen=True)
class Block:
    """One block of a level, for all rows of a datum that have a component: places from ``first`` on."""

    level: int
    component: int
    number: int
    columns: Int[Tensor, " d"]
    rows: Int[Tensor, "places d"]
    """Of each place, the row that each column is taken from: a random order for every column, so that easy and hard
    patches share blocks (arXiv 2309.17182, section 3.4)."""
    first: int

    @property
    def key(self) -> Key:
        """Blocks are sent in rising order of their keys."""
        return -self.level, self.number, self.component

    @property
    def address(self) -> tuple[int, int, int]:
        """What its candidates are drawn for: level, component and number."""
        return self.level, self.component, self.number


@lru_cache(maxsize=64)
def block_order_of(model: CodecModel, rate: int, tiling: Tiling, components: tuple[int, ...]) -> BlockOrder:
    """The order of a datum; the items of a pack often share one."""
    return BlockOrder(model, rate, tiling, components)


class BlockOrder:
    """Blocks from the whole datum down to its patches; of a level the most informative first, each for all rows.

    Args:
        model: the codec.
        rate: which of its rates.
        tiling: the datum's.
        components: of the prior, which one each patch has.
    """

    def __init__(self, model: CodecModel, rate: int, tiling: Tiling, components: tuple[int, ...]):
        self.tiling, self.columns, self.components = tiling, model.description.columns, components
        of_rows = [torch.tensor(components), *(torch.zeros(rows, dtype=torch.int64) for rows in tiling.rows[1:])]
        self.priors: list[DiagonalGaussian] = [
            prior[chosen] for prior, chosen in zip(model.rates[rate].prior, of_rows, strict=True)
        ]
        found: list[Block] = []
        for level, chosen in enumerate(of_rows):
            for component in sorted(set(chosen.tolist())):
                rows = torch.nonzero(chosen == component)[:, 0]
                permutation = permutations(model.key, level, component, len(rows), self.columns[level])
                places = rows[torch.from_numpy(permutation)]
                for number, columns in enumerate(model.rates[rate].members(level, component)):
                    found.append(Block(level, component, number, columns, places[:, columns], 0))
        self.blocks: dict[Key, Block] = {}
        self.count = 0
        for block in sorted(found, key=lambda block: block.key):
            self.blocks[block.key] = dataclasses.replace(block, first=self.count)
            self.count += len(block.rows)

    @cached_property
    def places(self) -> list[Int[Tensor, "rows columns"]]:
        """Place in the order of every latent number of each level, or `NEVER`."""
        places = [
            torch.full((rows, columns), NEVER) for rows, columns in zip(self.tiling.rows, self.columns, strict=True)
        ]
        for block in self.blocks.values():
            here = block.first + torch.arange(len(block.rows))[:, None]
            places[block.level][block.rows, block.columns] = here.expand_as(block.rows)
        return places
