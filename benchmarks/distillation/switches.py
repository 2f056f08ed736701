"""What PVD's switches are worth: ``python -m benchmarks.distillation.switches [--students mlp vm]``.

The three pools of hard examples of PVD-AL, the stage that matches features, and all three pools together are compared
with the settings that ship. All have the same teacher and equally many rays, several seeds each, on one thread. PSNR of
test views against the photos and against the teacher, and processor seconds; ± is the standard deviation over seeds.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.results import RUNS, Results, Row, Table, result_path
from benchmarks.distillation.all_pairs import batch_size, uninterrupted
from mappers.command_line import run_script
from mappers.yaml_settings import load_settings
from nerf.distillation.training import distill
from nerf.evaluation import evaluate_views, psnr_between
from nerf.runs import Run, load_run
from nerf.scenes import Scene, load_scene
from nerf.settings import DistillConfig
from nerf.training import train

OUTPUT = result_path(__file__)
POOLS = ("hard_cameras", "hard_rays", "hard_points")
SWITCHES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    **{pool: {pool: True} for pool in POOLS},
    "all three pools": dict.fromkeys(POOLS, True),
    "features for a tenth": {"features_until": 0.1},
}


def main(*, scene: str = "robot", teacher: str = "hash", students: tuple[str, ...] = ("mlp", "vm"), seeds: int = 3,
         distill_rays: int = 307_200, runs: Path = RUNS / "distillation_switches", output: Path = OUTPUT,
         ) -> None:  # fmt: skip
    """Compare the settings of distillation with each switch.

    Args:
        scene: Shipped scene or folder.
        teacher: Family of the teacher.
        students: Families of the students.
        seeds: Seeds of each row.
        distill_rays: Rays that a student is distilled on.
        runs: Folder of the trained teacher.
        output: Results.
    """
    torch.set_num_threads(1)
    loaded = load_scene(scene)
    results = Results(output, {"scene": scene, "teacher": teacher, "distill_rays": distill_rays})
    folder = runs / teacher
    if not (folder / "report.json").is_file():
        train(loaded, teacher, output_dir=folder, resume="auto")
    taught_by = load_run(folder)
    for student in students:
        steps = distill_rays // batch_size(DistillConfig, student)
        base = load_settings(DistillConfig, student, task="distill")
        for label, changes in SWITCHES.items():
            config = dataclasses.replace(base, **changes)
            for seed in range(seeds):
                results.row(
                    f"{student}: {label}: seed {seed}",
                    lambda student=student, seed=seed, steps=steps, config=config: measure(
                        loaded, taught_by, student, seed, steps, config
                    ),
                )
    results.report(*tables(results.rows))


def measure(scene: Scene, teacher: Run, student: str, seed: int, steps: int, config: DistillConfig) -> Row:
    """Distill once and measure the student."""
    run, seconds = uninterrupted(lambda: distill(teacher, student, steps=steps, seed=seed, config=config))
    to_teacher = psnr_between(run.draw, teacher.draw, scene.split("test").cameras)
    return {"psnr": round(evaluate_views(run.draw, scene)["psnr"], 2), "to_teacher": round(to_teacher, 2),
            "seconds": round(seconds, 2)}  # fmt: skip


def tables(rows: Mapping[str, Row]) -> list[Table]:
    """A table for each student: mean and deviation over seeds, a row for every switch."""
    found = []
    for student in dict.fromkeys(key.split(": ")[0] for key in rows):
        lines = []
        for label in SWITCHES:
            seeds = [row for key, row in rows.items() if key.startswith(f"{student}: {label}: seed ")]
            if seeds:
                cells = [_spread([row[name] for row in seeds]) for name in ("psnr", "to_teacher")]
                lines.append([label, *cells, f"{statistics.mean(row['seconds'] for row in seeds):.0f}"])
        found.append(
            Table(f"Student {student}", ["switch", "PSNR in dB", "PSNR against the teacher", "seconds"], lines)
        )
    return found


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.pstdev(values):.2f}"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
