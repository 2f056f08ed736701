"""Measures a student: against its teacher, against the photos, and against training on the photos for the same time."""

from __future__ import annotations

import dataclasses
import math

import torch
from accelerate.utils import broadcast_object_list

from ..evaluation import evaluate_views, psnr_between
from ..runs import Run
from ..scenes import Scene
from ..settings import radiance_settings
from ..training import train

VIEWS = 8
"""Random views in which student and teacher are compared when there are no test views."""
FIRST_STEPS, LONGER, ENOUGH = 10, 8, 0.9
"""Training for a given time: steps of the first try, how many times more the next may have, and the share of the time
that is close enough."""


def compare_student(student: Run, teacher: Run, *, scratch: bool, seed: int) -> dict[str, float | str]:
    """Metrics of a student by name; a sentence says why one cannot be measured.

    Args:
        student: the run after distilling.
        teacher: whose scene is opened for test views and photos.
        scratch: whether the same family and size is to be trained on the photos for as many seconds.
        seed: of that training.
    """
    figures: dict[str, float | str] = {}
    try:
        scene = teacher.photos()
        cameras = scene.split("test").cameras
    except (OSError, ValueError) as error:
        cameras = teacher.viewpoints.draw(VIEWS, torch.Generator().manual_seed(seed))
        figures["psnr_to_teacher"] = psnr_between(student.draw, teacher.draw, cameras)
        return {**figures, "psnr": f"not measured: {error}", "scratch_psnr": f"not run: {error}"}
    figures["psnr_to_teacher"] = psnr_between(student.draw, teacher.draw, cameras)
    figures["psnr"] = evaluate_views(student.draw, scene)["psnr"]
    figures["teacher_psnr"] = evaluate_views(teacher.draw, scene)["psnr"]
    if not scratch:
        return {**figures, "scratch_psnr": "not run; ask for it with --scratch"}
    run = from_scratch(student, scene, seed=seed)
    figures["scratch_psnr"] = evaluate_views(run.draw, scene)["psnr"]
    return {
        **figures,
        "scratch_steps": run.report.steps,
        "scratch_processor_seconds": run.figures["processor_seconds"],
    }


def from_scratch(student: Run, scene: Scene, *, seed: int) -> Run:
    """The student's family and size trained on photos for about as many processor seconds.

    Its own settings, but for the number of steps: the schedule has to end when the time does. Longer and
    longer trainings determine this number; the last one counts.
    """
    family, size = student.field.name, student.field.config
    config = radiance_settings(family, moving=student.field.moves)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, validate_every=None))
    seconds = _of_first_process(float(student.figures["processor_seconds"]))
    steps, before = FIRST_STEPS, (0, 0.0)
    while True:
        run = train(scene, family, size=size, config=config, steps=steps, seed=seed)
        spent = _of_first_process(float(run.figures["processor_seconds"]))
        if spent > ENOUGH * seconds:
            return run
        # Early steps are slow, while the grid is full: what counts is how long the latest ones took.
        rate = max(spent - before[1], 1e-3) / (steps - before[0])
        before = (steps, spent)
        steps = min(steps + math.ceil((seconds - spent) / rate), LONGER * steps)


def _of_first_process(value: float) -> float:
    """The first process's value: processes that train together must agree on the duration."""
    return broadcast_object_list([value])[0]
