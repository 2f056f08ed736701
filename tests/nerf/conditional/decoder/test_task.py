"""The auto-decoder objective: held-out pairs stay unseen, supervision between objects teaches, runs resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from mappers.training.draws import Draws
from mappers.training.train_config import TrainConfig
from mappers.training.trainer import fit
from nerf.conditional.decoder.task import DecoderTask
from nerf.conditional.settings import CategoryConfig
from nerf.fields.conditional import ConditionalConfig

TINY = CategoryConfig(
    shapes=8, palettes=4, size=16, rays=24, taught_steps=3, points=32, intervals=24, grid=8, grid_every=2,
    field=ConditionalConfig(shape_code=6, appearance_code=5, width=24, layers=2, deform_width=16, color_width=16),
    train=TrainConfig(steps=6, batch_size=2, learning_rate=3e-3, save_every=4, cpu=True),
)  # fmt: skip


def task_of(config: CategoryConfig = TINY) -> DecoderTask:
    torch.manual_seed(0)
    return DecoderTask(config)


def test_held_out_pairs_are_never_drawn() -> None:
    task = task_of()
    for step in range(60):
        batch = task.batch(Draws(0, step, range(8)))
        assert not task.split.held_out_pairs[batch.shape, batch.palette].any()


def test_lessons_agree_with_the_solids_between_two_objects_and_pictures_with_the_renderer() -> None:
    task = task_of()
    batch = task.batch(Draws(0, 0, range(4)))
    supervision, table = batch.supervision, task.split.shapes
    for i, share in enumerate(batch.share):
        own = supervision.owner[: len(supervision.full)] == i
        shape = (1 - share) * table[batch.shape[i, 0]] + share * table[batch.shape[i, 1]]
        inside = task.family.inside(shape.clamp(0, 1), supervision.points[: len(own)][own])
        assert torch.equal(inside, supervision.full[own])
    assert 0.1 < float(supervision.full.float().mean()) < 0.9
    assert batch.pictures is None
    pictures = task.batch(Draws(0, 3, range(4))).pictures
    assert pictures is not None
    missed = (pictures.target == pictures.background).all(-1)
    assert 0 < int(missed.sum()) < len(missed)


def test_lessons_have_codes_between_those_of_two_objects_and_pictures_the_objects_own() -> None:
    task = task_of()
    draws = Draws(0, 3, range(4))
    batch = task.batch(draws)
    assert batch.pictures is not None
    asked = []

    def field(points: Tensor, views: Tensor, shape_code: Tensor, appearance_code: Tensor) -> tuple[Tensor, Tensor]:
        asked.extend([shape_code, appearance_code])
        return task.field(points, views, shape_code, appearance_code)

    task.loss({**task.modules, "field": field}, batch, draws)
    count, of = len(batch.supervision.points), batch.supervision.owner
    for codes, table, number in zip(asked, task.codes.parameters(), (batch.shape, batch.palette), strict=True):
        share = batch.share[of, None]
        wanted = (1 - share) * table[number[of, 0]] + share * table[number[of, 1]]
        assert torch.allclose(codes[:count], wanted, atol=1e-6)
        drawn = (codes[count:, None] == table[number[:, 0]]).all(-1)
        assert bool(drawn.any(1).all())
        assert bool(drawn.any(0).all())


def test_shares_reach_past_both_ends() -> None:
    task = task_of()
    share = torch.cat([task.batch(Draws(0, step, range(8))).share for step in range(20)])
    assert -0.25 <= float(share.min()) < -0.1
    assert 1.1 < float(share.max()) <= 1.25


def test_training_lowers_the_loss_on_new_lessons_and_new_pictures() -> None:
    for taught in (10**6, 0):
        config = dataclasses.replace(TINY, taught_steps=taught, shapes=2, palettes=2, rays=64, points=128)
        task = task_of(config)

        @torch.no_grad()
        def error(task: DecoderTask = task) -> float:
            draws = Draws(99, 1, range(16))
            return float(task.loss(task.modules, task.batch(draws), draws)["loss"])

        before = error()
        fit(task, TrainConfig(steps=60, batch_size=2, learning_rate=5e-3, cpu=True))
        assert error() < 0.7 * before


def test_a_resumed_run_is_the_uninterrupted_one(resumes: Callable[..., None]) -> None:
    resumes(task_of, TINY.train)
