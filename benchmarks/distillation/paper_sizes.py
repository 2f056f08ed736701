"""Distillation at paper sizes and 90 minutes on photos: ``python -m benchmarks.distillation.paper_sizes JOB``.

Jobs, to be run in this order but for those that do not need each other (two fit beside each other on two cores):
``mlp``, ``vm`` (from scratch, 90 processor minutes), ``mlp-short``, ``vm-short`` (a tenth of the steps, each with a
whole schedule of its own), ``hash`` (the teacher), then ``hash-mlp``, ``hash-vm`` and ``vm-mlp``. Trainings from
scratch go on where they were interrupted; students begin again, for their seconds count from before their closed-form
start. Results, and the curves of trainings from scratch over processor seconds of one thread, go to
its results; all that are there are printed, plotted, and a test view of each is shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.distillation.all_pairs import timed
from mappers.files import replacing
from mappers.quality import psnr
from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, picture_of, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import VALIDATION_VIEWS, train

ROOT = Path(__file__).parents[2]
STEPS = {"mlp": 16_000, "vm": 5_300, "hash": 2_000}
"""From scratch; 90 processor minutes of the machine that the figures are of, but for the hash grid's."""
SHORT = 10
"""How many times fewer the short trainings have."""
PAIRS = {"hash-mlp": 3_000, "hash-vm": 600, "vm-mlp": 3_000}
"""Steps of the students."""
RATES = {"mlp": 1e-3}
"""Learning rates other than the settings': the small perceptron's is too high for one of 8 layers."""
LOOKS = 30
"""How often a training from scratch is judged, by three test views."""


def from_scratch(scene: Scene, family: str, steps: int, folder: Path) -> dict[str, Any]:
    """Train on photos; figures, with processor seconds and PSNR at each look over all stages as a curve."""
    config = load_settings(RadianceConfig, family, task="train")
    every = max(steps // LOOKS, 1)
    settings = config.train.with_overrides(
        learning_rate=RATES.get(family), log_every=every, validate_every=every, save_every=every
    )
    config = dataclasses.replace(config, train=settings)
    run = train(scene, family, size="paper", steps=steps, output_dir=folder, resume="auto", config=config)
    if run.report.stopped == "signal":
        raise KeyboardInterrupt
    seconds, curve = 0.0, []
    for log in sorted(folder.rglob("metrics.jsonl")):
        for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            seconds += row.get("train/processor_seconds", 0.0)
            if "val/psnr" in row:
                curve.append((round(seconds, 1), round(row["val/psnr"], 2)))
    return {**figures(run, seconds, scene), "curve": curve}


def taught(scene: Scene, teacher: Run, family: str, steps: int, folder: Path) -> dict[str, Any]:
    """Distil a teacher and save the student; figures."""
    config = load_settings(DistillConfig, family, task="distill")
    config = dataclasses.replace(config, train=config.train.with_overrides(learning_rate=RATES.get(family)))
    run, seconds = timed(lambda: distill(teacher, family, size="paper", steps=steps, config=config))
    run.save(folder, config)
    nearness = psnr_between(run.draw, teacher.draw, scene.split("test").cameras)
    return {**figures(run, seconds, scene), "to_teacher": round(nearness, 2), "look": look(run, scene)}


def look(run: Run, scene: Scene) -> float:
    """PSNR as the curves have it: of a few test views."""
    test = scene.split("test")
    views = [psnr(run.draw(test.cameras[i]).color.cpu(), test.picture(i)) for i in range(VALIDATION_VIEWS)]
    return round(sum(views) / VALIDATION_VIEWS, 2)


def figures(run: Run, seconds: float, scene: Scene) -> dict[str, Any]:
    return {
        "psnr": round(evaluate_views(run.draw, scene)["psnr"], 2),
        "seconds": round(seconds, 1),
        "steps": run.report.steps,
        "parameters": run.figures["parameters"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Distillation at paper sizes beside 90 minutes on photos.")
    parser.add_argument("job", choices=[*STEPS, "mlp-short", "vm-short", *PAIRS])
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--downscale", type=float, default=1.28, help="nerf_renders has 128 pixels")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation_paper")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation" / "paper_sizes.json")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images" / "distillation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    job = arguments.job
    scene = load_scene(arguments.scene, downscale=arguments.downscale)
    first, *second = job.split("-")
    if job in PAIRS:
        found = taught(scene, load_run(arguments.runs / first), second[0], PAIRS[job], arguments.runs / job)
    else:
        found = from_scratch(scene, first, STEPS[first] // (SHORT if second else 1), arguments.runs / job)
    # Read only now: another job may have ended meanwhile.
    saved: dict[str, Any] = (
        json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {"jobs": {}}
    )
    saved |= {"scene": arguments.scene.name, "torch": torch.__version__, "threads": 1}
    saved["jobs"][job] = found
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    report(saved["jobs"])
    plot(saved["jobs"], arguments.images / "paper_sizes.png")
    show(scene, arguments.runs, list(saved["jobs"]), arguments.images / "paper_sizes_views.png")


def seconds_to(goal: float, points: list[tuple[float, float]]) -> float | None:
    """The first look that reaches ``goal``."""
    return next((spent for spent, quality in points if quality >= goal), None)


def report(jobs: dict[str, Any]) -> None:
    """Every job, and each student beside its family from scratch."""
    print("| | parameters | PSNR | to its teacher | seconds |\n|---|---|---|---|---|")
    for name, one in jobs.items():
        print(
            f"| {name} | {one['parameters'] / 1e6:.1f} M | {one['psnr']} | {one.get('to_teacher', '')} |"
            f" {one['seconds']:.0f} |"
        )
    for pair in PAIRS:
        whole = jobs.get(pair.split("-")[1])
        if pair in jobs and whole:
            spent = seconds_to(0.99 * whole["curve"][-1][1], whole["curve"])  # the looks' own scale: fewer views
            print(f"\n{pair}: {jobs[pair]['psnr']} dB in {jobs[pair]['seconds']:.0f} s; photos come to"
                  f" {whole['psnr']} dB, and to 99 % of that ({0.99 * whole['psnr']:.2f} dB) in {spent} s")  # fmt: skip


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
    main()
