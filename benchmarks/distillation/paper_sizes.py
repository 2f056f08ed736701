"""Distillation at paper sizes and 90 minutes on photos: ``python -m benchmarks.distillation.paper_sizes JOB``.

Jobs: ``mlp`` and ``vm`` are trained on photos from scratch (90 processor minutes each), ``mlp-short`` and ``vm-short``
in a tenth of the steps with a whole schedule of their own, ``hash`` is the teacher, and ``hash-mlp``, ``hash-vm`` and
``vm-mlp`` are students, which need their teacher's job first. Trainings from scratch go on where they were interrupted.
Students begin again, because their seconds count from before their closed-form start. One thread.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from matplotlib.figure import Figure

from benchmarks.common.results import IMAGES, RUNS, Results, Row, Table, result_path
from benchmarks.distillation.all_pairs import uninterrupted
from mappers.command_line import run_script
from mappers.files import replacing
from mappers.quality import psnr
from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import VALIDATION_VIEWS, evaluate_views, picture_of, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import train

OUTPUT = result_path(__file__)
Job = Literal["mlp", "vm", "hash", "mlp-short", "vm-short", "hash-mlp", "hash-vm", "vm-mlp"]
STEPS = {"mlp": 16_000, "vm": 5_300, "hash": 2_000}
"""From scratch. Those of "mlp" and "vm" took 90 processor minutes where the figures were measured."""
SHORT = 10
"""How many times fewer the short trainings have."""
PAIRS = {"hash-mlp": 3_000, "hash-vm": 600, "vm-mlp": 3_000}
"""Steps of the students."""
RATES = {"mlp": 1e-3}
"""Learning rates other than the settings': the small perceptron's is too high for one of 8 layers."""
LOOKS = 30
"""How often a training from scratch is measured, on a few test views."""


def from_scratch(scene: Scene, family: str, steps: int, folder: Path) -> Row:
    """Train on photos; figures, and a curve of (processor seconds, PSNR) over all stages."""
    config = load_settings(RadianceConfig, family, task="train")
    every = max(steps // LOOKS, 1)
    settings = config.train.with_overrides(
        learning_rate=RATES.get(family), log_every=every, validate_every=every, save_every=every
    )
    config = dataclasses.replace(config, train=settings)
    trained = train(scene, family, size="paper", steps=steps, output_dir=folder, resume="auto", config=config)
    if trained.report.stopped == "signal":
        raise KeyboardInterrupt
    seconds, curve = 0.0, []
    for log in sorted(folder.rglob("metrics.jsonl")):
        for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            seconds += row.get("train/processor_seconds", 0.0)
            if "val/psnr" in row:
                curve.append((round(seconds, 1), round(row["val/psnr"], 2)))
    return {**figures(trained, seconds, scene), "curve": curve}


def distilled(scene: Scene, teacher: Run, family: str, steps: int, folder: Path) -> Row:
    """Distill a teacher and save the student; figures."""
    config = load_settings(DistillConfig, family, task="distill")
    config = dataclasses.replace(config, train=config.train.with_overrides(learning_rate=RATES.get(family)))
    student, seconds = uninterrupted(lambda: distill(teacher, family, size="paper", steps=steps, config=config))
    student.save(folder, config)
    to_teacher = psnr_between(student.draw, teacher.draw, scene.split("test").cameras)
    return {**figures(student, seconds, scene), "to_teacher": round(to_teacher, 2), "look": look(student, scene)}


def look(run: Run, scene: Scene) -> float:
    """PSNR as the curves have it: of a few test views."""
    test = scene.split("test")
    views = [psnr(run.draw(test.cameras[i]).color.cpu(), test.picture(i)) for i in range(VALIDATION_VIEWS)]
    return round(sum(views) / VALIDATION_VIEWS, 2)


def figures(run: Run, seconds: float, scene: Scene) -> Row:
    return {
        "psnr": round(evaluate_views(run.draw, scene)["psnr"], 2),
        "seconds": round(seconds, 1),
        "steps": run.report.steps,
        "parameters": run.figures["parameters"],
    }


def main(job: tyro.conf.Positional[Job], /, *, scene: Path, downscale: float = 1.28,
         runs: Path = RUNS / "distillation_paper", output: Path = OUTPUT,
         images: Path = IMAGES / "distillation") -> None:  # fmt: skip
    """Train or distill one field of paper size, and report on all that are there.

    Args:
        job: What is trained.
        scene: Folder of a scene.
        downscale: Factor by which photos are made smaller; the scenes of nerf_renders have 128 pixels.
        runs: Folder of the trained fields.
        output: Results.
        images: Folder of the plot and of the test views.
    """
    torch.set_num_threads(1)
    loaded = load_scene(scene, downscale=downscale)
    results = Results(output, {"scene": scene.name})
    first, *second = job.split("-")
    if job in PAIRS:
        row = distilled(loaded, load_run(runs / first), second[0], PAIRS[job], runs / job)
    else:
        row = from_scratch(loaded, first, STEPS[first] // (SHORT if second else 1), runs / job)
    results.put(job, row)
    plot(results.rows, images / "paper_sizes.png")
    show(loaded, runs, list(results.rows), images / "paper_sizes_views.png")
    results.report(*tables(results.rows))


def seconds_to(goal: float, points: list[tuple[float, float]]) -> float | None:
    """The first look that reaches ``goal``."""
    return next((spent for spent, quality in points if quality >= goal), None)


def tables(jobs: dict[str, Row]) -> list[Table]:
    """Every job, and each student next to its family from scratch."""
    lines = [
        [name, f"{one['parameters'] / 1e6:.1f} M", one["psnr"], one.get("to_teacher"), f"{one['seconds']:.0f}"]
        for name, one in jobs.items()
    ]
    compared = []
    for pair in PAIRS:
        whole = jobs.get(pair.split("-")[1])
        if pair in jobs and whole:
            spent = seconds_to(0.99 * whole["curve"][-1][1], whole["curve"])  # the curve's own scale: fewer views
            compared.append([pair, jobs[pair]["psnr"], f"{jobs[pair]['seconds']:.0f}", whole["psnr"], spent])
    return [
        Table("Fields of paper size",
              ["field", "parameters", "PSNR in dB", "PSNR against the teacher", "seconds"], lines),
        Table("Students compared with training on photos",
              ["student", "PSNR in dB", "seconds", "PSNR from photos", "seconds to 99 % of it"], compared),
    ]  # fmt: skip


def plot(jobs: dict[str, Any], path: Path) -> None:
    """PSNR over processor seconds: curves of trainings on photos, a point for each student."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, one in jobs.items():
        if name in PAIRS:
            axes.plot(one["seconds"], one["look"], "*", markersize=12, label=name)
        else:
            axes.plot(*zip(*one["curve"], strict=True), label=f"{name}, photos")
    axes.set(xscale="log", xlabel="processor seconds", ylabel=f"PSNR of {VALIDATION_VIEWS} test views (dB)")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def show(scene: Scene, runs: Path, jobs: list[str], path: Path) -> None:
    """The first test view: photo, then every job whose run is here, in the order of the results."""
    test = scene.split("test")
    found = [load_run(runs / job) for job in jobs if (runs / job / "report.json").is_file()]
    views = [run.draw(test.cameras[0]).color.cpu() for run in found]
    with replacing(path) as temporary:
        picture_of(torch.cat([test.picture(0), *views], 1)).save(temporary)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
