"""Distillation at paper sizes beside 90 minutes on photos: ``python benchmarks/distillation_paper.py --scene DIR JOB``.

Jobs, to be run in this order but for those that do not need each other (two fit beside each other on two cores):
``mlp``, ``vm`` (from scratch, 90 processor minutes), ``mlp-short``, ``vm-short`` (a tenth of the steps, each with a
whole schedule of its own), ``hash`` (the teacher), then ``hash-mlp``, ``hash-vm`` and ``vm-mlp``. Trainings from
scratch go on where they were interrupted; students begin again, for their seconds count from before their closed-form
start. Results, and the curves of trainings from scratch over processor seconds of one thread, go to
``docs/results/distillation_paper.json``; all that are there are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from distillation import timed

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
RATES = {"mlp": 1e-3}
"""Learning rates other than the settings': the small perceptron's is too high for one of 8 layers."""
LOOKS = 30
"""How often a training from scratch is judged, by three test views."""


def from_scratch(scene: Scene, family: str, steps: int, folder: Path) -> dict[str, Any]:
    """Train on photos; figures, with processor seconds and PSNR at each look over all stages as a curve."""
    config = load_settings(RadianceConfig, family, task="train")
    every = max(steps // LOOKS, 1)
    settings = config.train.given(
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


def taught(scene: Scene, teacher: Run, family: str, steps: int) -> dict[str, Any]:
    """Distil a teacher; figures."""
    config = load_settings(DistillConfig, family, task="distill")
    config = dataclasses.replace(config, train=config.train.given(learning_rate=RATES.get(family)))
    run, seconds = timed(lambda: distill(teacher, family, size="paper", steps=steps, config=config))
    nearness = psnr_between(run.draw, teacher.draw, scene.split("test").cameras)
    return {**figures(run, seconds, scene), "to_teacher": round(nearness, 2)}


def figures(run: Run, seconds: float, scene: Scene) -> dict[str, Any]:
    return {
        "psnr": round(evaluate(run.draw, scene)["psnr"], 2),
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
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation_paper.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    job = arguments.job
    scene = load_scene(arguments.scene, downscale=arguments.downscale)
    first, *second = job.split("-")
    if job in PAIRS:
        found = taught(scene, load_run(arguments.runs / first), second[0], PAIRS[job])
    else:
        found = from_scratch(scene, first, STEPS[first] // (SHORT if second else 1), arguments.runs / job)
    # Read only now: another job may have ended meanwhile.
    saved = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {"jobs": {}}
    saved |= {"scene": arguments.scene.name, "torch": torch.__version__, "threads": 1}
    saved["jobs"][job] = found
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    report(saved["jobs"])


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
