"""The loss of edited codes: each term equals its closed form."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.mapping.objective import EditTarget, Objective, ObjectiveConfig

WHITE = torch.tensor([[0.0, 1.0]])
"""Embedding of a white picture in the space of `Brightness`."""


def test_the_loss_is_the_weighted_sum_of_its_terms(balls: ConditionalModel, brightness: Scorer) -> None:
    """Plausibility is the mean square of whitened codes, a reached target costs 0, the direction needs a source."""
    codes = balls.shape_codes[:1] + 0.1, balls.appearance_codes[:1]
    cameras, ground = balls.camera(0, 30, 8), torch.full((1, 3), 0.3)
    config = ObjectiveConfig(size=8, clip_weight=2.0, plausibility_weight=3.0)
    objective = Objective(balls, brightness, config)
    shown = objective.embed_renders(*codes, cameras, ground)
    found = objective(codes, codes, EditTarget(shown), cameras, ground)
    expected = sum(
        float(balls.prior(kind).whiten(code).square().mean())
        for kind, code in (("shape", codes[0]), ("appearance", codes[1]))
    )
    assert float(found["clip"]) == pytest.approx(0, abs=1e-6)
    assert float(found["loss"]) == pytest.approx(3 * expected / 2, rel=1e-4)
    directed = Objective(balls, brightness, dataclasses.replace(config, direction_weight=1.0))
    with pytest.raises(ValueError, match="direction_weight needs"):
        directed(codes, codes, EditTarget(WHITE), cameras, ground)
    brighter = codes[0], codes[1] + torch.tensor([[0.3, 0.0, 0.0]])
    moved = balls.appearance_prior.whiten(brighter[1]) - balls.appearance_prior.whiten(codes[1])
    changed = objective(codes, brighter, EditTarget(shown), cameras, ground)["change"]
    torch.testing.assert_close(changed, moved.square().mean() / 2)  # of two codes one stayed
    assert float(found["change"]) == 0
    right, wrong = (
        directed(codes, brighter, EditTarget(target, WHITE.flip(1)), cameras, ground)["direction"]
        for target in (WHITE, torch.tensor([[2.0, -1.0]]))
    )
    assert float(right) < 0.5 < 1.5 < float(wrong)
