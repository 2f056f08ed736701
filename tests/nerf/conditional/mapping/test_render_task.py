"""The second stage of a mapper's training: what learns, and that a sample does not depend on its batch."""

from __future__ import annotations

import dataclasses

import torch

from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.conditional import ConditionalModel
from nerf.conditional.clip.scorer import Scorer
from nerf.conditional.mapping.objective import ObjectiveConfig
from nerf.conditional.mapping.render_task import MapperConfig, MapperTask

FEW = TrainConfig(steps=3, batch_size=2, learning_rate=1e-2, weight_decay=0.0, cpu=True, log_every=1)
SMALL = MapperConfig(hidden=8, prompts=6, objective=ObjectiveConfig(size=8), library=FEW, train=FEW)
WHITE = torch.tensor([[0.0, 1.0]])
"""Embedding of a white picture in the space of `Brightness`."""


def test_stage_two_moves_the_mapper_alone(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    frozen = [{k: v.clone() for k, v in m.state_dict().items()} for m in (untrained.field, tiny_clip.towers.model)]
    task = MapperTask(untrained, tiny_clip, SMALL)
    before = {k: v.clone() for k, v in task.mapper.state_dict().items()}
    fit(task, FEW)
    for module, state in zip((untrained.field, tiny_clip.towers.model), frozen, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert not all(torch.equal(value, before[name]) for name, value in task.mapper.state_dict().items())


def test_an_edit_of_one_kind_teaches_its_own_mapper_only(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    task = MapperTask(untrained, tiny_clip, SMALL)
    draws = Draws(0, 0, range(2))
    for of_shape in (True, False):
        batch = dataclasses.replace(task.batch(draws), of_shape=torch.full((2,), of_shape))
        task.mapper.zero_grad()
        task.loss({"mapper": task.mapper}, batch, draws)["loss"].backward()
        learned = {kind: any(bool(p.grad.any()) for p in net.parameters() if p.grad is not None)
                   for kind, net in task.mapper.nets.items()}  # fmt: skip
        assert learned == {"shape": of_shape, "appearance": not of_shape}


def test_a_sample_does_not_depend_on_its_batch(untrained: ConditionalModel, tiny_clip: Scorer) -> None:
    """So that several processes learn what one learns; with the direction, whose captions are drawn too."""
    config = dataclasses.replace(SMALL, objective=ObjectiveConfig(size=8, direction_weight=1.0))
    task = MapperTask(untrained, tiny_clip, config)
    both, second = (task.batch(Draws(0, 3, indices)) for indices in ((0, 1), (1,)))
    assert both.target.source is not None
    assert second.target.source is not None
    torch.testing.assert_close(both.target.source[1:], second.target.source)
    for name in ("of_shape", "background", "jitter"):
        assert torch.equal(getattr(both, name)[1:], getattr(second, name))
    assert torch.equal(both.cameras.poses[1:], second.cameras.poses)
    assert all(torch.equal(a[1:], b) for a, b in zip(both.codes, second.codes, strict=True))
    draws = Draws(0, 3, (1,))
    assert task.loss({"mapper": task.mapper}, second, draws)["direction"].isfinite()


def test_a_mapper_learns_to_whiten_balls(balls: ConditionalModel, brightness: Scorer) -> None:
    """The grey of the mapped appearance rises for a bright target and falls for a dark one."""
    train = dataclasses.replace(FEW, steps=25, batch_size=6, learning_rate=3e-2)
    objective = ObjectiveConfig(size=8, plausibility_weight=0.0, change_weight=0.0)
    task = MapperTask(balls, brightness, dataclasses.replace(SMALL, objective=objective, train=train, prompts=60))
    fit(task, train)
    grey = balls.appearance_codes[1:2]
    moved = [task.mapper.edit(target, balls.shape_codes[:1], grey)[1][0, 0] for target in (WHITE, WHITE.flip(1))]
    assert moved[0] > grey[0, 0] > moved[1]
