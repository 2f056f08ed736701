"""Supervision at points: its loss in closed form, and points that agree with the family's solids."""

from __future__ import annotations

import math

import pytest
import torch

from mappers.training.draws import Draws
from nerf.conditional.decoder.point_supervision import DENSITY_WEIGHT, STEP, PointSupervision, sample_supervision
from nerf.conditional.families import FAMILIES


def test_the_loss_is_squared_error_of_colour_and_cross_entropy_of_density() -> None:
    """An optical depth of 1 over `STEP` gives even odds of being inside."""
    points, grey = torch.zeros(4, 3), torch.full((2, 3), 0.5)
    full = torch.tensor([True, False])
    supervision = PointSupervision(torch.zeros(4, dtype=torch.long), points, points, full, grey)
    found = supervision.loss(torch.full((4,), 1 / STEP), torch.ones(4, 3))
    assert float(found["entropy"]) == pytest.approx(math.log(2), rel=1e-5)
    assert float(found["mse"]) == pytest.approx(0.25)
    assert float(found["loss"]) == pytest.approx(0.25 + DENSITY_WEIGHT * math.log(2), rel=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_points_agree_with_the_solids_and_do_not_depend_on_the_batch(name: str) -> None:
    family = FAMILIES[name]
    shapes, palettes = family.shapes(2, seed=1), family.palettes(2, seed=2)
    both = sample_supervision(family, shapes, palettes, 40, Draws(0, 0, range(2)))
    second = sample_supervision(family, shapes[1:], palettes[1:], 40, Draws(0, 0, (1,)))
    assert len(both.full) == 80
    assert both.rgb.shape == (20, 3)
    density, mine = both.owner[:80] == 1, both.owner == 1
    assert torch.equal(both.full[density], family.inside(shapes[1], both.points[:80][density]))
    assert torch.equal(both.full[density], second.full)
    torch.testing.assert_close(both.points[mine], second.points)
    low, high = family.bounds
    assert bool(((both.points >= low - 1e-4) & (both.points <= high + 1e-4)).all())
    assert 0 <= float(both.rgb.min()) <= float(both.rgb.max()) <= 1
