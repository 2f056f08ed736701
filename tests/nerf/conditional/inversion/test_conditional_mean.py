"""Codes from parameters: polynomials are found again, small tables are no trouble, and unseen objects are guessed."""

from __future__ import annotations

import pytest
import torch

from nerf.conditional import ConditionalModel
from nerf.conditional.families import FAMILIES
from nerf.conditional.families.splits import split_of
from nerf.conditional.inversion.conditional_mean import ConditionalMean


def test_a_straight_map_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    known, others = torch.rand(60, 4, generator=generator) * 3 + 5, torch.rand(20, 4, generator=generator) * 3 + 5
    straight = torch.randn(4, 3, generator=generator)
    guess = ConditionalMean(known, known @ straight - 2)
    torch.testing.assert_close(guess(others), others @ straight - 2, atol=1e-3, rtol=0)


def test_products_are_found_where_there_is_enough_to_see_them() -> None:
    parameters = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1))
    codes = torch.stack([parameters[:, 0] * parameters[:, 1], parameters[:, 2].square()], 1)
    missed = (ConditionalMean(parameters[:3000], codes[:3000])(parameters[3000:]) - codes[3000:]).square().mean(0)
    assert bool((missed < 0.002 * codes.var(0)).all())


def test_fewer_objects_than_parameters() -> None:
    generator = torch.Generator().manual_seed(2)
    parameters, codes = torch.rand(5, 11, generator=generator), torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(ConditionalMean(parameters, codes)(parameters), codes, atol=0.01, rtol=0)
    alone = ConditionalMean(parameters[:1].expand(2, -1), codes[:1].expand(2, -1))
    torch.testing.assert_close(alone(parameters[:1]), codes[:1], atol=0.01, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_codes_of_unseen_objects(family: str) -> None:
    model = ConditionalModel.load(f"nano-{family}")
    split = split_of(model.family, len(model.shape_codes), len(model.appearance_codes))
    for parameters, codes in (
        (model.family.traits_of(split.shapes), model.shape_codes),
        (split.palettes, model.appearance_codes),
    ):
        known = len(codes) * 3 // 4
        missed = (ConditionalMean(parameters[:known], codes[:known])(parameters[known:]) - codes[known:]).square().sum()
        assert float(missed) < 0.1 * float((codes[known:] - codes[:known].mean(0)).square().sum())
