"""The order in which the blocks of a datum are sent; encoder and decoder compute the same one."""

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
"""The place of a latent number that is never sent."""
Key = tuple[int, int, int]
"""Minus the level of a block, its number and its component: blocks are sent in rising order of their keys."""


@dataclass(frozen=True)
class Block:
    """Some columns of a level, coded together, for all rows of a datum that have one component of the prior.

    Each row takes one index; the indices have consecutive places, from ``first`` on.
    """

    level: int
    component: int
    number: int
    columns: Int[Tensor, " d"]
    rows: Int[Tensor, "places d"]
    """For each place, the row that each column is taken from: a random order for every column, so that easy and hard
    patches share blocks (arXiv 2309.17182, section 3.4)."""
    first: int

    @property
    def key(self) -> Key:
        """What blocks are sorted by."""
        return -self.level, self.number, self.component

    @property
    def address(self) -> tuple[int, int, int]:
        """Level, component and number: what its candidates depend on."""
        return self.level, self.component, self.number


@lru_cache(maxsize=64)
def block_order_of(model: CodecModel, rate: int, tiling: Tiling, components: tuple[int, ...]) -> BlockOrder:
    """The block order of a datum, cached, since items of a pack often share one."""
    return BlockOrder(model, rate, tiling, components)


class BlockOrder:
    """Blocks from the highest level, the whole datum, to its patches; within a level, the most informative first.

    Args:
        model: the codec.
        rate: number of the rate.
        tiling: the patches of the datum.
        components: the prior's component of each patch.
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
    def places(self) -> list[Int[Tensor, "_rows _columns"]]:
        """The place of every latent number of each level, or `NEVER`."""
        places = [
            torch.full((rows, columns), NEVER) for rows, columns in zip(self.tiling.rows, self.columns, strict=True)
        ]
        for block in self.blocks.values():
            here = block.first + torch.arange(len(block.rows))[:, None]
            places[block.level][block.rows, block.columns] = here.expand_as(block.rows)
        return places
