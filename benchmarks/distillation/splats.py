"""Splats as students and teachers: ``python -m benchmarks.distillation.splats``.

A hash grid is trained on each scene's photos. It teaches splats, and those splats teach other families. For comparison,
splats are trained on the photos for as many steps as the students. Figures: PSNR of test views against the photos and
against the teacher, processor seconds of one thread, bytes of files, and milliseconds of a training step.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.common.results import RUNS, Results, Row, Table, result_path
from benchmarks.distillation.all_pairs import uninterrupted
from mappers.command_line import run_script
from mappers.training.draws import Draws
from nerf.distillation.training import distill
from nerf.distillation.views import drawn_scene
from nerf.evaluation import evaluate_views, psnr_between
from nerf.fields.splat import SplatConfig, SplatField
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import distill_settings, radiance_settings
from nerf.splats.files import WRITERS, write_splats
from nerf.splats.start import splats_on_surface
from nerf.splats.training import SplatTask
from nerf.training import train

OUTPUT = result_path(__file__)
STUDENTS = ("hash", "voxel", "vm")
LARGE = SplatConfig(count=20_000, degree=1)
"""The cloud whose step is timed."""
STEPS = 9
"""Timed steps, of which the median counts."""


def main(*, scenes: tuple[str, ...] = ("robot", "lighthouse", "still-life"), runs: Path = RUNS / "splats",
         output: Path = OUTPUT) -> None:  # fmt: skip
    """Distill hash grids into splats and splats into other families.

    Args:
        scenes: Shipped scenes or folders.
        runs: Folder of the trained teachers and splats.
        output: Results.
    """
    torch.set_num_threads(1)
    results = Results(output, {"sizes": "small"})
    for name in scenes:
        scene, folder = load_scene(name), runs / name
        results.row(
            f"{name}: hash from photos", lambda n=name, s=scene, f=folder: photos(n, s, "hash", None, f / "hash")
        )
        results.row(f"{name}: hash to splat", lambda s=scene, f=folder: student(s, f / "hash", "splat", f / "splat"))
        results.row(f"{name}: splat step", lambda f=folder: step_time(load_run(f / "hash")))
        results.row(f"{name}: files", lambda f=folder: file_sizes(load_run(f / "splat")))
        steps = distill_settings("splat").train.steps
        results.row(f"{name}: splat from photos", lambda n=name, s=scene, k=steps: photos(n, s, "splat", k, None))
        for family in STUDENTS:
            results.row(
                f"{name}: splat to {family}", lambda s=scene, f=folder, to=family: student(s, f / "splat", to, None)
            )
    results.report(table(results.rows, scenes))


def photos(name: str, scene: Scene, family: str, steps: int | None, folder: Path | None) -> Row:
    """Train a family on photos and measure it."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left was not timed
    run, seconds = uninterrupted(lambda: train(name, family, steps=steps, output_dir=folder))
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "seconds": round(seconds, 1)}


def student(scene: Scene, teacher: Path, family: str, folder: Path | None) -> Row:
    """Distill a teacher into a family and measure the student. Its seconds leave out the measuring."""
    taught_by = load_run(teacher)
    run, seconds = uninterrupted(lambda: distill(taught_by, family))
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run.save(folder, None)
    to_teacher = psnr_between(run.draw, taught_by.draw, scene.split("test").cameras)
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "to_teacher": round(to_teacher, 2),
            "seconds": round(seconds, 1)}  # fmt: skip


def file_sizes(run: Run) -> Row:
    """Bytes of a cloud in each kind of file."""
    field = run.splats()
    with tempfile.TemporaryDirectory() as folder:
        sizes = {}
        for ending in WRITERS:
            write_splats(field, Path(folder) / f"cloud{ending}")
            sizes[ending] = (Path(folder) / f"cloud{ending}").stat().st_size
    return {"gaussians": field.config.count, **sizes}


def step_time(teacher: Run) -> Row:
    """Milliseconds of processor time of a training step of 20,000 Gaussians, without the optimizer's part."""
    generator = torch.Generator().manual_seed(0)
    scene, points, colors = drawn_scene(teacher, teacher.viewpoints.draw(8, generator))
    field: SplatField = splats_on_surface(points, colors, scene.bounds, LARGE, generator)
    task = SplatTask(scene, field, radiance_settings("splat", moving=False))
    times = []
    for step in range(STEPS):
        draws = Draws(0, step, range(1))
        started = time.process_time()
        task.loss(task.modules, task.batch(draws), draws)["loss"].backward()
        times.append(1000 * (time.process_time() - started))
    return {"gaussians": LARGE.count, "milliseconds": round(statistics.median(times), 1)}


def table(rows: Mapping[str, Row], scenes: tuple[str, ...]) -> Table:
    """One line for each conversion and scene."""
    lines = []
    for name in scenes:
        for key in ("hash from photos", "splat from photos", "hash to splat", *(f"splat to {to}" for to in STUDENTS)):
            row = rows[f"{name}: {key}"]
            to_teacher = f"{row['to_teacher']:.1f}" if "to_teacher" in row else ""
            lines.append([name, key, f"{row['psnr']:.1f}", to_teacher, f"{row['seconds']:.0f}"])
    return Table("Splats", ["scene", "conversion", "PSNR in dB", "against the teacher", "seconds"], lines)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
