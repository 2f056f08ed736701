"""What is held out is never trained on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nerf.conditional.families import FAMILIES
from nerf.conditional.families.splits import split_of


def rows(table: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in table.tolist()}


@pytest.mark.parametrize("name", FAMILIES)
def test_training_and_held_out_objects_are_disjoint(name: str) -> None:
    split = split_of(FAMILIES[name], 256, 128)
    assert len(rows(split.shapes)) == 256
    assert len(rows(split.palettes)) == 128
    assert len(rows(split.held_out_shapes)) == len(rows(split.held_out_palettes)) == 64
    assert not rows(split.shapes) & rows(split.held_out_shapes)
    assert not rows(split.palettes) & rows(split.held_out_palettes)


@pytest.mark.parametrize(("shapes", "palettes"), [(256, 128), (256, 32), (32, 8), (20, 5), (7, 3)])
def test_held_pairs_are_a_diagonal(shapes: int, palettes: int) -> None:
    """Every shape and every palette is trained on, and each shape is held out with some palette."""
    held = split_of(FAMILIES["chairs"], shapes, palettes).held_out_pairs
    assert held.shape == (shapes, palettes)
    assert held.any(1).all()
    assert (~held).any(1).all()
    assert (~held).any(0).all()
    share = 1 / min(8, palettes)
    assert float(held.float().mean()) == pytest.approx(share, abs=0.06)
    assert torch.equal(held[1:, 1:], held[:-1, :-1])


def test_a_split_is_fixed_by_its_numbers() -> None:
    one, two = (split_of(FAMILIES["cars"], 16, 8) for _ in range(2))
    for name in ("shapes", "palettes", "held_out_shapes", "held_out_palettes", "held_out_pairs"):
        assert torch.equal(getattr(one, name), getattr(two, name))
