"""The auto-decoder objective: held-out pairs stay unseen, lessons and pictures teach, runs resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from mappers.draws import Draws
from mappers.train_config import TrainConfig
from mappers.trainer import fit
from nerf.conditional.settings import CategoryConfig
from nerf.conditional.task import DecoderTask, Pictures
from nerf.conditional.teaching import Lesson
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
        assert not task.split.held_pairs[batch.shape, batch.palette].any()


def test_lessons_agree_with_the_solids_and_pictures_with_the_renderer() -> None:
    task = task_of()
    batch = task.batch(Draws(0, 0, range(4)))
    assert isinstance(batch.content, Lesson)
    lesson = batch.content
    for i in range(4):
        own = lesson.of[: len(lesson.full)] == i
        inside = task.family.inside(task.split.shapes[batch.shape[i]], lesson.points[: len(own)][own])
        assert torch.equal(inside, lesson.full[own])
    assert 0.1 < float(lesson.full.float().mean()) < 0.9
    batch = task.batch(Draws(0, 3, range(4)))
    assert isinstance(batch.content, Pictures)
    missed = (batch.content.target == batch.content.background).all(-1)
    assert 0 < int(missed.sum()) < len(missed)


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
