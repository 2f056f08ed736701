"""Gaussians that are moved leave the picture as it is."""

from __future__ import annotations

import math

import torch

from nerf.cameras import orbit
from nerf.fields.splat import SplatConfig, SplatField
from nerf.rendering.rasterizer import draw_splats
from nerf.splats.relocation import relocate, shared

BOUNDS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def test_copies_are_as_opaque_in_the_middle_as_the_one_was() -> None:
    opacity = torch.tensor([0.1, 0.5, 0.9])
    for copies in (1, 2, 5):
        alone, shrink = shared(opacity, torch.full((3,), copies))
        torch.testing.assert_close(1 - (1 - alone) ** copies, opacity)
        assert (shrink <= 1 + 1e-6).all()
    torch.testing.assert_close(shared(opacity, torch.ones(3).long())[0], opacity)


def test_moving_dead_gaussians_hardly_changes_a_picture() -> None:
    torch.manual_seed(0)
    field = SplatField(BOUNDS, SplatConfig(count=80, degree=1))
    with torch.no_grad():
        field.log_scales.fill_(math.log(0.1))
        field.opacity_logits.fill_(0.5)
        field.opacity_logits[60:] = -9.0
        field.harmonics.normal_(0, 0.3)
    camera = orbit(1, radius=4.0, elevation=20, width=40, height=40, focal=50.0)
    before = draw_splats(field, camera).color
    assert relocate(field, torch.Generator().manual_seed(1)) == 20
    after = draw_splats(field, camera).color
    assert (field.opacity_logits.sigmoid() > 0.005).all()
    assert float((after - before).abs().mean()) < 0.01
    assert not torch.equal(after, before)
    assert relocate(field, torch.Generator().manual_seed(1)) == 0
