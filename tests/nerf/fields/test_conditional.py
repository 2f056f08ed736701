"""The conditional field: what each code can and cannot change."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nerf.fields.conditional import PRESETS, ConditionalConfig, ConditionalField
from nerf.fields.mlp import positional_encoding

BOUNDS = torch.tensor([[-1.0, -0.8, -0.6], [1.0, 0.9, 0.7]])
TINY = ConditionalConfig(shape_code=6, appearance_code=5, width=24, layers=2, deform_width=16, color_width=16)
modes = pytest.mark.parametrize("mode", ["modulation", "warp", "concat"])


def field_of(mode: str, *, deforming: bool = True) -> ConditionalField:
    torch.manual_seed(0)
    field = ConditionalField(BOUNDS, dataclasses.replace(TINY, mode=mode))
    if deforming and mode != "concat":
        torch.nn.init.normal_(field.deform.last.weight, std=2.0)
    return field


def asked(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = BOUNDS[0] + torch.rand(count, 3, generator=generator) * (BOUNDS[1] - BOUNDS[0])
    return points, torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)


@modes
@torch.no_grad()
def test_appearance_leaves_density_alone_to_the_bit(mode: str) -> None:
    field = field_of(mode)
    points, views = asked(100_000)
    shape = torch.randn(6).expand(len(points), -1)
    one, other = (field(points, views, shape, torch.full((len(points), 5), value)) for value in (0.0, 3.0))
    assert torch.equal(one[0], other[0])
    assert (one[1] - other[1]).abs().max() > 1e-3
    moved = field(points, views, shape + 1, torch.zeros(len(points), 5))
    assert (moved[0] - one[0]).abs().max() > 1e-3


@torch.no_grad()
def test_the_modulation_shifts_every_channel_by_at_most_one() -> None:
    field = field_of("modulation")
    position = torch.rand(1000, 3) * 2 - 1
    encoded = positional_encoding(position, TINY.octaves)
    shift = field.deformed(encoded, position, 5 * torch.randn(1000, 6)) - encoded
    assert float(shift.abs().max()) <= 1 + 1e-5
    assert float(shift.abs().max()) > 0.5


@pytest.mark.parametrize("mode", ["modulation", "warp"])
@torch.no_grad()
def test_a_fresh_field_deforms_nothing(mode: str) -> None:
    field = field_of(mode, deforming=False)
    position = torch.rand(50, 3) * 2 - 1
    encoded = positional_encoding(position, TINY.octaves)
    assert torch.equal(field.deformed(encoded, position, torch.randn(50, 6)), encoded)


@modes
def test_a_field_at_codes_is_an_ordinary_one_that_lets_gradients_through(mode: str) -> None:
    field = field_of(mode)
    points, views = asked(64)
    shape, appearance = torch.randn(6, requires_grad=True), torch.randn(5, requires_grad=True)
    density, color = field.at(shape, appearance)(points, views)
    direct = field(points, views, shape.expand(64, -1), appearance.expand(64, -1))
    torch.testing.assert_close(density, direct[0])
    torch.testing.assert_close(color, direct[1])
    of_density = torch.autograd.grad(density.sum(), (shape, appearance), allow_unused=True, retain_graph=True)
    assert float(of_density[0].abs().sum()) > 0
    assert of_density[1] is None
    assert float(torch.autograd.grad(color.sum(), appearance)[0].abs().sum()) > 0
    # Outside the box there is nothing, as in every field.
    assert float(field.at(shape, appearance)(points + 5, views)[0].detach().max()) < 1e-4


def test_codes_that_cannot_be_are_refused() -> None:
    field = field_of("concat")
    with pytest.raises(ValueError, match="shape_code must be 6 finite numbers"):
        field.at(torch.zeros(5), torch.zeros(5))
    with pytest.raises(ValueError, match="appearance_code must be 5 finite numbers"):
        field.at(torch.zeros(6), torch.full((5,), torch.nan))
    with pytest.raises(ValueError, match="width must be at least 1"):
        ConditionalConfig(width=0)


def test_the_paper_has_its_sizes() -> None:
    config = PRESETS["paper"]
    field = ConditionalField(BOUNDS, config)
    assert (config.shape_code, config.appearance_code, config.mode) == (128, 128, "modulation")
    assert [layer.out_features for layer in field.trunk] == [256] * 8 + [257]
    assert [layer.out_features for layer in field.deform] == [256] * 4 + [63]
