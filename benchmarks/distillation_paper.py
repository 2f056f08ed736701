"""Distillation at paper sizes beside 90 minutes on photos: ``python benchmarks/distillation_paper.py --scene DIR JOB``.

Jobs, to be run in this order but for those that do not need each other (two fit beside each other on two cores):
``mlp``, ``vm`` (from scratch, 90 processor minutes), ``mlp-short``, ``vm-short`` (a tenth of the steps, each with a
whole schedule of its own), ``hash`` (the teacher), then ``hash-mlp``, ``hash-vm`` and ``vm-mlp``. Each goes on where it
was interrupted; results and the curves over processor seconds of one thread go to
``docs/results/distillation_paper.json``. ``report`` prints the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from mappers.files import replacing
from mappers.settings import load_settings
from nerf.distillation import distill
from nerf.evaluation import evaluate, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig, RadianceConfig
from nerf.training import train

ROOT = Path(__file__).parents[1]
STEPS = {"mlp": 16_000, "vm": 5_300, "hash": 2_000}
"""From scratch; 90 processor minutes of the machine that the figures are of, but for the hash grid's."""
SHORT = 10
"""How many times fewer the short trainings have."""
PAIRS = {"hash-mlp": 3_000, "hash-vm": 600, "vm-mlp": 3_000}
"""Steps of the students."""
RATES = {"mlp": 1e-3, "vm": 2e-2, "hash": 1e-2}
"""Learning rates; the small perceptron's is too high for one of 8 layers."""
LOOKS = 30
"""How often a training from scratch is judged, by three test views."""


def from_scratch(scene: Scene, family: str, steps: int, folder: Path) -> Run:
    config = load_settings(RadianceConfig, family, task="train")
    every = max(steps // LOOKS, 1)
    settings = dataclasses.replace(
        config.train, learning_rate=RATES[family], log_every=every, validate_every=every, save_every=every
    )
    config = dataclasses.replace(config, train=settings)
    return train(scene, family, size="paper", steps=steps, output_dir=folder, resume="auto", config=config)


def taught(teacher: Run, family: str, steps: int, folder: Path) -> Run:
    config = load_settings(DistillConfig, family, task="distill")
    settings = dataclasses.replace(config.train, log_every=max(steps // LOOKS, 1), validate_every=None)
    if family == "mlp":
        settings = dataclasses.replace(settings, learning_rate=RATES[family])
    config = dataclasses.replace(config, train=settings)
    return distill(teacher, family, size="paper", steps=steps, output_dir=folder, resume="auto", config=config)


def curve(folder: Path) -> list[tuple[float, float]]:
    """Processor seconds and PSNR at each look, over all stages."""
    points, begun = [], 0.0
    for log in sorted(folder.rglob("metrics.jsonl")):
        spent: dict[int, float] = {}  # of a step that was run again after an interruption the latest counts
        quality: dict[int, float] = {}
        for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            if "train/processor_seconds" in row:
                spent[row["step"]] = row["train/processor_seconds"]
            if "val/psnr" in row:
                quality[row["step"]] = row["val/psnr"]
        for step in sorted(spent):
            begun += spent[step]
            if step in quality:
                points.append((round(begun, 1), round(quality[step], 2)))
    return points


def processor_seconds(folder: Path) -> float:
    rows = {
        (str(log), row["step"]): row["train/processor_seconds"]
        for log in folder.rglob("metrics.jsonl")
        for row in map(json.loads, log.read_text(encoding="utf-8").splitlines())
        if "train/processor_seconds" in row
    }
    return sum(rows.values())


def figures(run: Run, scene: Scene, folder: Path, teacher: Run | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "psnr": round(evaluate(run.draw, scene)["psnr"], 2),
        "seconds": round(processor_seconds(folder), 1),
        "steps": run.report.steps,
        "parameters": sum(p.numel() for p in run.field.parameters()),
    }
    if teacher is not None:
        found["to_teacher"] = round(psnr_between(run.draw, teacher.draw, scene.split("test").cameras), 2)
    return {**found, "curve": curve(folder)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Distillation at paper sizes beside 90 minutes on photos.")
    jobs = [*STEPS, *(f"{family}-short" for family in ("mlp", "vm")), *PAIRS, "report"]
    parser.add_argument("job", choices=jobs)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--downscale", type=float, default=1.28, help="nerf_renders has 128 pixels")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation_paper")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation_paper.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    job, folder = arguments.job, arguments.runs / arguments.job
    if job == "report":
        report(json.loads(arguments.output.read_text(encoding="utf-8"))["jobs"])
        return
    scene = load_scene(arguments.scene, downscale=arguments.downscale)
    teacher = None
    if job in PAIRS:
        name, student = job.split("-")
        teacher = load_run(arguments.runs / name)
        run = taught(teacher, student, PAIRS[job], folder)
    else:
        family, *short = job.split("-")
        run = from_scratch(scene, family, STEPS[family] // (SHORT if short else 1), folder)
    if run.report.stopped == "signal":
        return
    found = figures(run, scene, folder, teacher)
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {"jobs": {}}
    saved |= {"scene": arguments.scene.name, "torch": torch.__version__, "threads": 1}
    saved["jobs"][job] = found
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    print(job, {name: value for name, value in found.items() if name != "curve"}, flush=True)


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


if __name__ == "__main__":
    main()
