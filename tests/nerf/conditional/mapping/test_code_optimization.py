"""Optimisation of codes for one prompt."""

from __future__ import annotations

import torch

from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.mapping.code_optimization import OptimizerConfig, PromptOptimizer
from nerf.conditional.mapping.objective import ObjectiveConfig

WHITE = torch.tensor([[0.0, 1.0]])
"""Embedding of a white picture in the space of `Brightness`."""


def test_optimisation_finds_white_and_leaves_the_shape(balls: ConditionalModel, brightness: Scorer) -> None:
    wanted = ObjectiveConfig(size=8, plausibility_weight=0.0, change_weight=0.0)
    config = OptimizerConfig(steps=8, views=1, objective=wanted)
    optimizer = PromptOptimizer(balls, brightness, config)
    codes = balls.shape_codes[3:4], balls.appearance_codes[1:2]
    shape, appearance = optimizer.edit(WHITE, *codes, shape=False)
    assert shape is codes[0]
    assert appearance[0, 0] > codes[1][0, 0] + 0.05
    none = optimizer.edit(WHITE, *codes, strength=0.0)
    assert all(torch.equal(a, b) for a, b in zip(none, codes, strict=True))
    twice = optimizer.edit(WHITE, *codes, shape=False, strength=2.0)[1]
    torch.testing.assert_close(twice - codes[1], 2 * (appearance - codes[1]))
