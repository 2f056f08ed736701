"""What PVD's switches are worth: ``python -m benchmarks.distillation.switches [--teacher hash] [--students mlp vm]``.

The three pools of PVD-AL, the stage of features, and all three pools together, beside the settings that ship; several
seeds each, a teacher and equally many rays for all of them, one thread. PSNR on test views to the truth and to the
teacher with the standard deviation over seeds, and processor seconds. Prints a table and writes
its results; goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks.distillation.all_pairs import ROOT, Table, batch_size, timed
from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, psnr_between
from nerf.runs import load_run
from nerf.scenes import load_scene
from nerf.settings import DistillConfig
from nerf.training import train

POOLS = ("hard_cameras", "hard_rays", "hard_points")
SWITCHES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    **{pool: {pool: True} for pool in POOLS},
    "all three pools": dict.fromkeys(POOLS, True),
    "features for a tenth": {"features_until": 0.1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What PVD's switches are worth.")
    parser.add_argument("--scene", default="robot")
    parser.add_argument("--teacher", default="hash")
    parser.add_argument("--students", nargs="+", default=["mlp", "vm"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--distill-rays", type=int, default=307_200)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distillation_switches")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "distillation" / "switches.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene)
    kept = ("scene", "teacher", "distill_rays")
    table = Table(arguments.output, {name: str(getattr(arguments, name)) for name in kept})
    folder = arguments.runs / arguments.teacher
    if not (folder / "report.json").is_file():
        train(scene, arguments.teacher, output_dir=folder, resume="auto")
    teacher = load_run(folder)
    for student in arguments.students:
        steps = arguments.distill_rays // batch_size(DistillConfig, student)
        for label, changes in SWITCHES.items():
            for seed in range(arguments.seeds):
                base = load_settings(DistillConfig, student, task="distill")
                config = dataclasses.replace(base, **changes)

                def measure(
                    student: str = student, steps: int = steps, seed: int = seed, config: DistillConfig = config
                ) -> dict[str, float]:
                    run, seconds = timed(lambda: distill(teacher, student, steps=steps, seed=seed, config=config))
                    nearness = psnr_between(run.draw, teacher.draw, scene.split("test").cameras)
                    return {"psnr": evaluate_views(run.draw, scene)["psnr"], "to_teacher": nearness, "seconds": seconds}

                table.cell(f"{student}: {label}: seed {seed}", measure)
    report(table, arguments.students, arguments.seeds)


def report(table: Table, students: list[str], seeds: int) -> None:
    """Mean and deviation over seeds, a row for every switch."""
    for student in students:
        print(f"\n| {student} | PSNR | to the teacher | seconds |\n|---|---|---|---|")
        for label in SWITCHES:
            rows = [table.cells[f"{student}: {label}: seed {seed}"] for seed in range(seeds)]
            psnr, near = ([row[name] for row in rows] for name in ("psnr", "to_teacher"))
            print(
                f"| {label} | {statistics.mean(psnr):.2f} ± {statistics.pstdev(psnr):.2f} |"
                f" {statistics.mean(near):.2f} ± {statistics.pstdev(near):.2f} |"
                f" {statistics.mean(row['seconds'] for row in rows):.0f} |"
            )


if __name__ == "__main__":
    main()
